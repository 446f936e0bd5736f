import pytest
import torch

from ser_kd.contracts.outputs import Features


@pytest.fixture
def make_features():
    def make(lengths, width, frames=None, seed=0):
        """Random frames with NaN behind each length."""
        size = frames or max(lengths)
        made = torch.randn(len(lengths), size, width, generator=torch.Generator().manual_seed(seed))
        for row, length in zip(made, lengths, strict=True):
            row[length:] = float("nan")
        return Features(made, torch.tensor(lengths))

    return make


@pytest.fixture
def give_running_statistics():
    def give(module, seed=0):
        """Running statistics that differ from 0 and 1, as after training, so that padding could show."""
        generator = torch.Generator().manual_seed(seed)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
        for name, parameter in module.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        return module

    return give
