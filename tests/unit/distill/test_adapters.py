import torch

from ser_kd.distill.adapters import LinearAdapter

FRAMES = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))


def test_layers_of_one_width_and_rate_pass_as_they_are():
    adapter = LinearAdapter(3, 3)
    assert not list(adapter.parameters())
    assert torch.equal(adapter(FRAMES, None, 6, None), FRAMES)


def test_frames_are_averaged_or_repeated_to_the_teachers_rate():
    adapter = LinearAdapter(3, 3)
    torch.testing.assert_close(adapter(FRAMES, None, 3, None), FRAMES.view(2, 3, 2, 3).mean(dim=2))
    torch.testing.assert_close(adapter(FRAMES, None, 12, None), FRAMES.repeat_interleave(2, dim=1))


def test_each_clip_keeps_its_own_stretch():
    mask = torch.arange(6) < torch.tensor([6, 4])[:, None]
    target = torch.arange(3) < torch.tensor([3, 2])[:, None]
    padded = FRAMES.masked_fill(~mask[..., None], torch.nan)
    found = LinearAdapter(3, 3)(padded, mask, 3, target)
    torch.testing.assert_close(found[1, :2], FRAMES[1, :4].view(2, 2, 3).mean(dim=1))
    assert found[1, 2].abs().sum() == 0.0


def test_the_map_is_learned():
    adapter = LinearAdapter(3, 5)
    assert adapter(FRAMES, None, 4, None).shape == (2, 4, 5)
    adapter(FRAMES, None, 4, None).sum().backward()
    assert adapter.projection.weight.grad.abs().sum() > 0
