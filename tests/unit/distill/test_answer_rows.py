from __future__ import annotations

import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.distill.answer_rows import KeptParts, cut_row, join_rows
from ser_kd.functional.masking import lengths_to_mask

CPU = torch.device("cpu")
LENGTHS = torch.tensor([5, 8, 1])


def make_outputs(masked: bool = True) -> Outputs:
    generator = torch.Generator().manual_seed(0)
    frames, low, high = (torch.randn(3, 9, 4, generator=generator) for _ in range(3))
    return Outputs(
        logits=torch.randn(3, 2, generator=generator),
        dimensions=torch.rand(3, 3, generator=generator),
        embedding=torch.randn(3, 4, generator=generator),
        embeddings={"hidden": torch.randn(3, 2, generator=generator)},
        frames=frames,
        hidden_states={0: low, 6: high},
        frame_mask=lengths_to_mask(LENGTHS, 9) if masked else None,
    )


def go_around(kept: KeptParts, outputs: Outputs, order: list[int]) -> Outputs:
    reduced = kept.reduce(outputs)
    return join_rows([cut_row(reduced, row, kept.frames_dtype) for row in order], CPU)


@pytest.mark.parametrize("stride", [1, 3])
def test_what_was_cut_comes_back_in_another_order_and_ends_where_the_clips_end(stride: int) -> None:
    outputs, order = make_outputs(), [1, 2]
    joined = go_around(KeptParts(frames=True, layers=(6,), frame_stride=stride), outputs, order)
    for name in ("logits", "dimensions", "embedding"):
        torch.testing.assert_close(getattr(joined, name), getattr(outputs, name)[order], rtol=0, atol=0)
    torch.testing.assert_close(joined.embeddings["hidden"], outputs.embeddings["hidden"][order], rtol=0, atol=0)
    assert joined.hidden_states.keys() == {6}
    assert outputs.frame_mask is not None
    assert joined.frame_mask is not None
    mask = outputs.frame_mask[order, ::stride]
    size = joined.frame_mask.shape[1]
    assert size == int(mask.sum(1).max())
    assert torch.equal(joined.frame_mask, mask[:, :size])
    for mine, theirs in ((joined.frames, outputs.frames), (joined.hidden_states[6], outputs.hidden_states[6])):
        assert mine is not None
        assert theirs is not None
        torch.testing.assert_close(mine, theirs[order, ::stride][:, :size] * mask[:, :size, None], rtol=0, atol=0)


def test_only_what_is_kept_is_handed_on() -> None:
    outputs = make_outputs()
    small = KeptParts().reduce(outputs)
    assert (small.frames, small.hidden_states, small.frame_mask) == (None, {}, None)
    assert KeptParts(layers=None).reduce(outputs).hidden_states.keys() == {0, 6}
    assert KeptParts(layers=None).reduce(outputs).frames is None
    with pytest.raises(ConfigError, match="no such layer") as fault:
        KeptParts(layers=(3,)).reduce(outputs)
    assert "layers 0, 6" in fault.value.expected


def test_frames_without_a_mask_get_one_where_clips_differ_in_length() -> None:
    kept = KeptParts(frames=True)
    assert go_around(kept, make_outputs(masked=False), [0, 1]).frame_mask is None
    long, short = (kept.reduce(Outputs(frames=torch.ones(1, size, 4))) for size in (9, 4))
    joined = join_rows([cut_row(long, 0), cut_row(short, 0)], CPU)
    assert joined.frame_mask is not None
    assert joined.frame_mask.sum(1).tolist() == [9, 4]


def test_float16_rounds_frames_alone_and_refuses_what_does_not_fit() -> None:
    kept, outputs = KeptParts(frames=True, frames_dtype="float16"), make_outputs()
    reduced = kept.reduce(outputs)
    assert reduced.frames is not None
    assert reduced.frames.dtype == torch.float32
    assert cut_row(reduced, 0, "float16")["frames"].dtype == torch.float16
    joined = go_around(kept, outputs, [1])
    torch.testing.assert_close(joined.frames, reduced.frames[1:2, :8], rtol=0, atol=0)
    torch.testing.assert_close(joined.logits, outputs.logits[1:2], rtol=0, atol=0)
    assert outputs.frames is not None
    assert not torch.equal(joined.frames, outputs.frames[1:2, :8])
    outputs.frames[0, 6] = 1e6  # behind the end of its clip
    kept.reduce(outputs)
    outputs.frames[0, 2] = 1e6
    with pytest.raises(ConfigError, match="do not fit into float16"):
        kept.reduce(outputs)


def test_a_clip_without_a_valid_frame_and_half_precision_answers() -> None:
    outputs = Outputs(logits=torch.ones(2, 2).bfloat16(), frames=torch.ones(2, 3, 1), frame_mask=torch.tensor([[False] * 3, [True] * 3]))
    joined = go_around(KeptParts(frames=True), outputs, [0, 1])
    assert joined.logits is not None
    assert joined.logits.dtype == torch.float32
    assert joined.frame_mask is not None
    assert joined.frame_mask.tolist() == [[False] * 3, [True] * 3]
    alone = go_around(KeptParts(frames=True), outputs, [0])
    assert alone.frame_mask is not None
    assert alone.frame_mask.tolist() == [[False]]


def test_layers_of_other_frame_rates_keep_masks_of_their_own() -> None:
    mask, half = lengths_to_mask(torch.tensor([8, 5, 1]), 8), lengths_to_mask(torch.tensor([4, 3, 1]), 4)
    states = {1: torch.randn(3, 8, 2), 2: torch.randn(3, 4, 3)}
    kept = KeptParts(layers=(1, 2))
    joined = go_around(kept, Outputs(hidden_states=states, frame_mask=half, hidden_masks={1: mask, 2: half}), [1, 2])
    for layer, whole in ((1, mask), (2, half)):
        found = joined.mask_of(layer)
        assert found is not None
        size = found.shape[1]
        assert torch.equal(found, whole[[1, 2], :size])
        torch.testing.assert_close(joined.hidden_states[layer], states[layer][[1, 2], :size] * found[:, :, None])
    # one clip was asked alone, where every frame was valid and nothing was masked
    alone = kept.reduce(Outputs(hidden_states={1: states[1][:1], 2: states[2][:1]}))
    padded = kept.reduce(Outputs(hidden_states=states, frame_mask=half, hidden_masks={1: mask, 2: half}))
    for rows in ((cut_row(alone, 0), cut_row(padded, 1)), (cut_row(padded, 1), cut_row(alone, 0))):
        joined = join_rows(rows, CPU)
        assert sorted(joined.hidden_masks[1].sum(1).tolist()) == [5, 8]
        assert sorted(joined.hidden_masks[2].sum(1).tolist() if 2 in joined.hidden_masks else joined.frame_mask.sum(1).tolist()) == [3, 4]
