"""ECAPA-TDNN beside a plain second form of it; what it shares with other encoders stands in test_feature_encoders."""

import pytest
import torch
from torch.nn import functional

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.ecapa_tdnn import EcapaTdnn

SMALL = {"channels": 8, "embedding_width": 5, "attention_width": 6, "bottleneck_width": 4, "scale": 4}


@pytest.mark.parametrize(("input_width", "sizes", "expected"), [
    (80, {}, 6_194_048), (768, {}, 7_955_328), (1024, {}, 8_610_688), (1536, {}, 9_921_408), (2048, {}, 11_232_128),
    (80, {"channels": 1024}, 20_767_552), (1024, {"channels": 1024}, 25_600_832),
    (80, {"attention_width": 64, "embedding_width": 96}, 5_505_632),
])  # fmt: skip
def test_it_has_the_published_size(input_width, sizes, expected):
    with torch.device("meta"):
        encoder = EcapaTdnn(input_width, **sizes)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == expected


def answer_plainly(encoder, frames):
    """What the published network gives for one whole clip (1, F, M) in evaluation, step by step."""

    def delay(layer, maps):
        taps, dilation = layer.convolution.kernel_size[0], layer.convolution.dilation[0]
        span = taps // 2 * dilation
        maps = functional.pad(maps, (span, span), mode="reflect") if span else maps
        return norm(layer.norm, torch.relu(functional.conv1d(maps, layer.convolution.weight, layer.convolution.bias, dilation=dilation)))

    def norm(part, maps):
        return functional.batch_norm(maps, part.running_mean, part.running_var, part.weight, part.bias)

    def describe(maps, shares):
        mean = (maps * shares).sum(dim=2)
        return mean, ((maps - mean[:, :, None]) ** 2 * shares).sum(dim=2).clamp(1e-12).sqrt()

    maps = delay(encoder.entry, frames.transpose(1, 2))
    answers = []
    for block in encoder.blocks:
        heard = maps
        groups = delay(block.first, maps).chunk(block.middle.scale, dim=1)
        said = [groups[0]]
        for number, layer in enumerate(block.middle.layers, start=1):
            said.append(delay(layer, groups[number] + (said[-1] if number > 1 else 0)))
        maps = delay(block.last, torch.cat(said, dim=1))
        gate = torch.sigmoid(block.gate.excite(torch.relu(block.gate.squeeze(maps.mean(dim=2)))))
        maps = gate[:, :, None] * maps + heard
        answers.append(maps)
    maps = delay(encoder.aggregation, torch.cat(answers, dim=1))
    mean, deviation = describe(maps, torch.full_like(maps, 1 / maps.shape[2]))
    everything = torch.cat([maps, *(part[:, :, None].expand_as(maps) for part in (mean, deviation))], dim=1)
    statistics = encoder.statistics
    matrix = torch.cat([statistics.frame.weight, statistics.context.weight], dim=1)
    scores = torch.relu(functional.conv1d(everything, matrix[:, :, None], statistics.frame.bias))
    scores = functional.conv1d(torch.tanh(norm(statistics.norm, scores)), statistics.score.weight[:, :, None], statistics.score.bias)
    pooled = torch.cat(describe(maps, scores.softmax(dim=2)), dim=1)
    return encoder.embedding(norm(encoder.norm, pooled)), maps.transpose(1, 2)


def test_it_is_the_published_network(make_features, give_running_statistics):
    torch.manual_seed(0)
    encoder = give_running_statistics(EcapaTdnn(7, **SMALL)).eval().double()
    lengths = [30, 12, 9]
    features = make_features(lengths, 7)
    encoded = encoder(Features(features.frames.double(), features.lengths))
    for row, length in enumerate(lengths):
        embedding, frames = answer_plainly(encoder, features.frames[row : row + 1, :length].double())
        torch.testing.assert_close(encoded.embedding[row], embedding[0])
        torch.testing.assert_close(encoded.frames[row, :length], frames[0])


def test_batch_statistics_know_valid_frames_only(make_features):
    encoder = EcapaTdnn(7, **SMALL).train()
    heard = []
    encoder.entry.convolution.register_forward_hook(lambda module, inputs, output: heard.append(torch.relu(output)))
    lengths = [20, 11]
    encoder(make_features(lengths, 7, frames=40))
    valid = torch.cat([row[:, :length] for row, length in zip(heard[0], lengths, strict=True)], dim=1)
    torch.testing.assert_close(encoder.entry.norm.running_mean, 0.1 * valid.mean(dim=1))
    torch.testing.assert_close(encoder.entry.norm.running_var, 0.9 + 0.1 * valid.var(dim=1))


def test_a_clip_alone_in_its_training_batch_is_heard_by_the_running_statistics(make_features, give_running_statistics):
    encoder = give_running_statistics(EcapaTdnn(7, **SMALL)).train()
    before = encoder.norm.running_var.clone()
    encoder(make_features([20], 7)).embedding.sum().backward()
    assert torch.equal(encoder.norm.running_var, before)
    assert encoder.entry.convolution.weight.grad.abs().max() > 0
    encoder(make_features([20, 20], 7))
    assert not torch.equal(encoder.norm.running_var, before)


def test_half_precision_is_near(make_features, give_running_statistics):
    torch.manual_seed(0)
    encoder = give_running_statistics(EcapaTdnn(7, **SMALL)).train()
    features = make_features([30, 12, 9], 7)
    expected = encoder.eval()(features).embedding
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder(features).embedding.float()
        encoder.train()(features).embedding.float().square().sum().backward()
    assert 0 < (found - expected).norm() / expected.norm() < 0.03
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_a_clip_of_one_frame_has_a_finite_gradient(make_features):
    encoder = EcapaTdnn(7, **SMALL).train()
    encoder(make_features([1, 1, 8], 7)).embedding.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@pytest.mark.parametrize("wrong", [{"scale": 3}, {"scale": 1}, {"dilations": ()}, {"channels": 0}])
def test_a_layout_that_does_not_fit_is_refused(wrong):
    with pytest.raises(ConfigError, match="EcapaTdnn cannot be built"):
        EcapaTdnn(7, **{**SMALL, **wrong})
