import torch

from ser_kd.functional.masking import clear_frames, clear_padding, flip_valid, lengths_to_mask, masked_mean


def test_mask_ends_at_each_length():
    assert lengths_to_mask(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


def test_mean_sees_valid_frames_only():
    frames = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [float("nan"), 1e30]]], requires_grad=True)
    mean = masked_mean(frames, torch.tensor([[True, True, False]]))
    assert mean.tolist() == [[2.0, 4.0]]
    mean.sum().backward()
    assert frames.grad.tolist() == [[[0.5, 0.5], [0.5, 0.5], [0.0, 0.0]]]


def test_mean_without_mask_and_without_valid_frames():
    frames = torch.ones(2, 3, 4)
    assert torch.equal(masked_mean(frames, None), torch.ones(2, 4))
    assert torch.equal(masked_mean(frames, torch.zeros(2, 3, dtype=torch.bool)), torch.zeros(2, 4))


def test_flip_turns_the_valid_part_and_leaves_the_padding():
    frames = torch.arange(8.0).reshape(2, 4, 1)
    flipped = flip_valid(frames, torch.tensor([3, 4]))
    assert flipped[..., 0].tolist() == [[2.0, 1.0, 0.0, 3.0], [7.0, 6.0, 5.0, 4.0]]
    assert torch.equal(flip_valid(flipped, torch.tensor([3, 4])), frames)
    assert torch.equal(flip_valid(frames, None), frames.flip(1))


def test_padding_is_cleared_even_of_nan():
    waveforms = torch.tensor([[1.0, 2.0, float("nan")], [3.0, 4.0, 5.0]])
    assert clear_padding(waveforms, torch.tensor([2, 3])).tolist() == [[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]]
    assert clear_padding(waveforms, None) is waveforms
    mask = lengths_to_mask(torch.tensor([2, 3]), 3)
    assert clear_frames(waveforms.unsqueeze(-1), mask)[0, :, 0].tolist() == [1.0, 2.0, 0.0]
    assert clear_frames(waveforms, None) is waveforms
