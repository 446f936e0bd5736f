"""TIM-Net trained as matrix products against the same network block by block."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.timnet import TimNet

SHAPES = [(None, 2), (None, 3), ([50, 31, 7, 50, 22, 13], 2), ([50, 31, 7, 50, 22, 13], 3)]


def build(matrix_products, kernel_size):
    torch.manual_seed(0)
    encoder = TimNet(9, filters=12, blocks=6, kernel_size=kernel_size, dropout=0.2)
    for stream in (encoder.forward_stream, encoder.backward_stream):
        stream.matrix_products = matrix_products
    return encoder


def train(encoder, features, steps):
    classes, head = torch.arange(len(features.frames)) % 3, torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    optimizer, losses = torch.optim.Adam(encoder.parameters(), lr=0.002), []
    torch.manual_seed(2)
    for _ in range(steps):
        loss = cross_entropy(encoder(features).embedding @ head, classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("lengths", "kernel_size"), SHAPES)
def test_losses_of_both_forms_are_equal(lengths, kernel_size):
    frames = torch.randn(6, 50, 9, generator=torch.Generator().manual_seed(0))
    features = Features(frames, None if lengths is None else torch.tensor(lengths))
    products, plain = build(True, kernel_size), build(False, kernel_size)
    torch.testing.assert_close(train(products, features, 20), train(plain, features, 20), rtol=0, atol=1e-5)
    for name, value in plain.state_dict().items():
        if "norm.running" in name or "tracked" in name:
            torch.testing.assert_close(products.state_dict()[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("lengths", "kernel_size"), SHAPES)
def test_gradients_of_both_forms_are_equal(lengths, kernel_size):
    frames = torch.randn(6, 50, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features = Features(frames, None if lengths is None else torch.tensor(lengths))
    found = []
    for matrix_products in (True, False):
        encoder = build(matrix_products, kernel_size).double()
        heard = frames.clone().requires_grad_()
        torch.manual_seed(2)
        encoder(Features(heard, features.lengths)).embedding.square().sum().backward()
        found.append({"input": heard.grad, **{name: parameter.grad for name, parameter in encoder.named_parameters()}})
    for name, gradient in found[1].items():
        # the masked plain form normalises in float32
        tolerance = {"rtol": 1e-9, "atol": 1e-12} if lengths is None else {"rtol": 1e-3, "atol": 1e-6}
        torch.testing.assert_close(found[0][name], gradient, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("reason", ["evaluation", "frozen statistics", "bfloat16", "autocast", "asked for"])
def test_elsewhere_it_runs_block_by_block(reason, monkeypatch):
    encoder = build(True, 2)
    monkeypatch.setattr("ser_kd.models.encoders.timnet.run_causal_stream", lambda *_: pytest.fail("ran as matrix products"))
    features = Features(torch.randn(3, 20, 9), None)
    if reason == "evaluation":
        encoder.eval()
    elif reason == "frozen statistics":
        for stream in (encoder.forward_stream, encoder.backward_stream):
            stream.blocks[0].first.norm.eval()
    elif reason == "bfloat16":
        encoder, features = encoder.bfloat16(), Features(features.frames.bfloat16(), None)
    elif reason == "asked for":
        encoder = build(False, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=reason == "autocast"):
        assert encoder(features).embedding.shape == (3, 12)
