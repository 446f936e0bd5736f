import pytest
import torch

from ser_kd.functional.keyed_random import hash_text
from ser_kd.models.layers.time_spans import draw_time_spans

KEYS = torch.tensor([hash_text(number) for number in range(400)])


def test_the_share_and_the_length_of_spans_are_those_asked_for():
    marked = draw_time_spans(KEYS, torch.full((400,), 200), 200, share=0.05, span=10)  # one span a clip
    assert torch.equal(marked.sum(dim=1), torch.full((400,), 10))
    starts = marked.int().argmax(dim=1)
    assert int(starts.min()) <= 3
    assert int(starts.max()) >= 187
    assert float(draw_time_spans(KEYS, torch.full((400,), 200), 200, 0.065, 10).sum(1).float().mean()) == pytest.approx(12.6, abs=0.7)


def test_spans_lie_in_valid_frames_and_follow_the_key_alone():
    lengths = torch.full((400,), 60)
    marked = draw_time_spans(KEYS, lengths, 200, share=0.5, span=5)
    assert not marked[:, 60:].any()
    assert torch.equal(draw_time_spans(KEYS[7:8], lengths[:1], 200, 0.5, 5), marked[7:8])


def test_a_clip_shorter_than_a_span_stays_whole_in_size():
    assert draw_time_spans(KEYS[:50], torch.full((50,), 3), 4, share=0.9, span=10).shape == (50, 4)
