"""TIM-Net against a form written with loops over frames and taps."""

import numpy as np
import pytest
import torch

from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.timnet import TimNet

CLIPS = [11, 6, 1]


def plain_unit(frames, unit, dilation):
    """Causal convolution, batch norm by running statistics, ReLU; frames (F, C)."""
    kernel, bias = unit.convolution.weight.detach().double().numpy(), unit.convolution.bias.detach().double().numpy()
    norm = {name: value.double().numpy() for name, value in unit.norm.state_dict().items()}
    taps = kernel.shape[2]
    answer = np.zeros_like(frames)
    for frame in range(len(frames)):
        total = bias.copy()
        for tap in range(taps):
            source = frame - (taps - 1 - tap) * dilation
            if source >= 0:
                total += kernel[:, :, tap] @ frames[source]
        scaled = (total - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-3) * norm["weight"] + norm["bias"]
        answer[frame] = np.maximum(scaled, 0.0)
    return answer


def plain_embedding(encoder, clip):
    """One clip (F, M) without padding."""
    fusion = encoder.fusion.detach().double().numpy()
    embedding = np.zeros(encoder.width)
    for stream, heard in ((encoder.forward_stream, clip), (encoder.backward_stream, clip[::-1])):
        entry = stream.entry.weight.detach().double().numpy()[:, :, 0]
        frames = heard @ entry.T + stream.entry.bias.detach().double().numpy()
        for index, block in enumerate(stream.blocks):
            gate = plain_unit(plain_unit(frames, block.first, 2**index), block.second, 2**index)
            frames = frames / (1.0 + np.exp(-gate))
            embedding += fusion[index] * frames.mean(axis=0)
    return embedding


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_both_forms_agree(kernel_size):
    torch.manual_seed(0)
    encoder = TimNet(5, filters=7, blocks=4, kernel_size=kernel_size)
    encoder.train()
    for _ in range(5):  # so that the running statistics are not those of a new network
        encoder(Features(3.0 * torch.randn(4, 30, 5) + 1.0, None))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    encoder.eval()
    frames = torch.randn(len(CLIPS), max(CLIPS), 5)
    with torch.no_grad():
        ours = encoder(Features(frames, torch.tensor(CLIPS))).embedding
    for row, length in enumerate(CLIPS):
        np.testing.assert_allclose(ours[row].numpy(), plain_embedding(encoder, frames[row, :length].double().numpy()), rtol=1e-5, atol=1e-6)
