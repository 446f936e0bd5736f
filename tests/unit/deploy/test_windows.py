"""Windows cut from a stream are slices of the whole."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ser_kd.contracts.errors import ConfigError
from ser_kd.deploy.windows import WindowCutter, resolve_window
from tests.tiny_models import METADATA


def slice_windows(total: int, window: int | None, hop: int) -> list[tuple[int, int]]:
    """The plain second form: first and last sample of each window, from the length alone."""
    if window is None or total <= window:
        return [(0, total)] if total else []
    starts = [*range(0, total - window + 1, hop)]
    if starts[-1] + window < total:
        starts.append(total - window)
    return [(start, start + window) for start in starts]


@given(
    total=st.integers(0, 400),
    window=st.one_of(st.none(), st.integers(1, 90)),
    share=st.floats(0.01, 1),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
@example(total=91, window=90, share=1.0, cuts=[90])
@settings(max_examples=150, deadline=None)
def test_windows_are_slices_however_the_samples_come(total, window, share, cuts):
    samples = np.arange(total, dtype=np.float32)
    hop = max(1, int(share * (window or 1)))
    cutter = WindowCutter(window, hop)
    got = [found for part in np.split(samples, sorted(min(cut, total) for cut in cuts)) for found in cutter.push(part)]
    got += cutter.finish()
    wanted = slice_windows(total, window, hop)
    assert [(start, start + len(piece)) for start, piece in got] == wanted
    for (_, piece), (start, end) in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(piece, samples[start:end])


def test_window_and_hop_in_samples():
    assert resolve_window(METADATA, None, None) == (400, 200)
    assert resolve_window(METADATA, 0.25, None) == (250, 125)
    assert resolve_window(METADATA, 1.0, 1.0) == (1000, 1000)
    assert resolve_window(METADATA, "whole", None) == (None, 1)


@pytest.mark.parametrize(
    ("window_s", "hop_s", "told"),
    [
        (0.04, None, "cannot hear such a window"),
        (0.0, None, "'window_s' is no length of time"),
        (float("nan"), None, "'window_s' is no length of time"),
        (None, 0.5, "leaves gaps"),
        (None, -1.0, "'hop_s' is no length of time"),
        ("whole", 0.1, "has no hop"),
    ],
)
def test_windows_that_cannot_be_are_told(window_s, hop_s, told):
    with pytest.raises(ConfigError, match=told):
        resolve_window(METADATA, window_s, hop_s)


def test_a_model_that_crops_hears_no_longer_window():
    fixed = dataclasses.replace(METADATA, crops=True)
    assert resolve_window(fixed, 0.4, None) == (400, 200)
    for longer in (0.5, "whole"):
        with pytest.raises(ConfigError, match=r"cuts what is longer|such a window"):
            resolve_window(fixed, longer, None)
