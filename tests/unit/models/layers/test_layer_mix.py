import torch

from ser_kd.models.layers.layer_mix import LayerMix


def test_it_begins_as_the_mean_and_follows_its_weights():
    mix = LayerMix(3)
    states = [torch.randn(2, 5, 4) for _ in range(3)]
    torch.testing.assert_close(mix(states), torch.stack(states).mean(dim=0))
    mix.weights.data = torch.tensor([0.0, 1.0, -2.0])
    shares = mix.weights.exp() / mix.weights.exp().sum()
    torch.testing.assert_close(mix(states), sum(share * state for share, state in zip(shares, states, strict=True)))
    mix(states)[0, 0, 0].backward()
    assert mix.weights.grad.abs().min() > 0
