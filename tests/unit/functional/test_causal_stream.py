import pytest
import torch

from ser_kd.functional.causal_stream import run_causal_stream


def make_stream(channels=3, frames=6, clips=2, taps=2, blocks=2):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    parameters = []
    for _ in range(2 * blocks):
        parameters += [draw(channels, channels, taps), draw(channels), 1 + 0.1 * draw(channels), 0.5 + 0.1 * draw(channels)]
    kept = 1.25 * (torch.rand(2 * blocks, channels, clips, generator=generator) > 0.2).double()
    return draw(channels, frames, clips), [parameter.requires_grad_() for parameter in parameters], kept


@pytest.mark.parametrize("taps", [1, 2, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_written_out_is_that_of_small_steps(taps, masked):
    maps, parameters, kept = make_stream(taps=taps)
    valid = torch.tensor([[1.0, 1.0]] * 4 + [[1.0, 0.0]] * 2, dtype=torch.float64) if masked else None

    def run(maps, *parameters):
        return run_causal_stream(maps, parameters, (1, 4), 1e-3, kept, valid)[0]

    assert torch.autograd.gradcheck(run, (maps.requires_grad_(), *parameters), atol=1e-6)


def test_a_tap_that_reaches_before_the_first_frame_learns_nothing():
    maps, parameters, kept = make_stream(frames=4, blocks=1)
    run_causal_stream(maps, parameters, (4,), 1e-3, kept)[0].sum().backward()
    assert torch.equal(parameters[0].grad[:, :, 0], torch.zeros(3, 3, dtype=torch.float64))
    assert (parameters[0].grad[:, :, 1] != 0).any()


def test_what_a_backward_pass_needs_survives_it():
    maps, parameters, kept = make_stream()
    averages = run_causal_stream(maps, parameters, (1, 2), 1e-3, kept)[0]
    first = torch.autograd.grad(averages.sum(), parameters, retain_graph=True)
    second = torch.autograd.grad(averages.sum(), parameters)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_statistics_are_those_of_the_frames_that_count():
    maps, parameters, kept = make_stream(taps=1, blocks=1)
    valid = torch.ones(6, 2, dtype=torch.float64)
    valid[3:, 1] = 0.0
    _, means, variances = run_causal_stream(maps, parameters, (1,), 1e-3, kept, valid)
    kernel, bias = parameters[0][:, :, 0], parameters[1]
    sums = (torch.einsum("ci,ifb->cfb", kernel, maps) + bias[:, None, None])[:, valid.bool()]
    torch.testing.assert_close(means[0], sums.mean(dim=1).detach())
    torch.testing.assert_close(variances[0], sums.var(dim=1, correction=0).detach())
    assert not means.requires_grad
    assert not variances.requires_grad
