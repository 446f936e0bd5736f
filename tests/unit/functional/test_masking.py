import torch

from ser_kd.functional.masking import clear_frames, clear_padding, flip_valid, lengths_to_mask, masked_mean, resample_valid


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


def test_parts_of_a_row_by_hand():
    values = torch.tensor([[1.0, 2.0, 6.0]])
    assert torch.equal(resample_valid(values, None, 3), values)
    torch.testing.assert_close(resample_valid(values, None, 1), torch.tensor([[3.0]]))
    torch.testing.assert_close(resample_valid(values, None, 2), torch.tensor([[4 / 3, 14 / 3]]))  # (1 + 2/2) / 1.5, (2/2 + 6) / 1.5
    torch.testing.assert_close(resample_valid(values, None, 6), torch.tensor([[1.0, 1, 2, 2, 6, 6]]))


def test_parts_equal_adaptive_pooling_where_frames_divide_evenly():
    values = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    for size in (2, 3, 4, 6):
        torch.testing.assert_close(resample_valid(values, None, size), torch.nn.functional.adaptive_avg_pool1d(values, size))


def test_parts_see_valid_frames_only_wherever_they_stand():
    values = torch.tensor([[5.0, 1.0, float("nan")], [float("nan"), 5.0, 1.0], [7.0, 7.0, 7.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, True, True], [False, False, False]])
    parts = resample_valid(values, mask, 4)
    torch.testing.assert_close(parts, torch.tensor([[5.0, 5, 1, 1], [5, 5, 1, 1], [0, 0, 0, 0]]))
    parts.sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([[2.0, 2, 0], [0, 2, 2], [0, 0, 0]]))


def test_padding_is_cleared_even_of_nan():
    waveforms = torch.tensor([[1.0, 2.0, float("nan")], [3.0, 4.0, 5.0]])
    assert clear_padding(waveforms, torch.tensor([2, 3])).tolist() == [[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]]
    assert clear_padding(waveforms, None) is waveforms
    mask = lengths_to_mask(torch.tensor([2, 3]), 3)
    assert clear_frames(waveforms.unsqueeze(-1), mask)[0, :, 0].tolist() == [1.0, 2.0, 0.0]
    assert clear_frames(waveforms, None) is waveforms
