from __future__ import annotations

import pytest
import torch

from ser_kd.contracts.errors import DataError
from ser_kd.functional.calibration import fit_temperature


def test_the_temperature_is_the_one_a_grid_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 4, generator=generator)
    classes = torch.distributions.Categorical(logits=logits).sample()
    logits, classes = torch.cat([logits, torch.randn(3, 4)]) * 5.0, torch.cat([classes, torch.tensor([-1, -1, -1])])
    grid = torch.linspace(1.0, 15.0, 1401, dtype=torch.float64)
    losses = [float(torch.nn.functional.cross_entropy(logits[:200].double() / t, classes[:200])) for t in grid]
    best = float(grid[min(range(len(grid)), key=losses.__getitem__)])
    assert fit_temperature(logits, classes) == pytest.approx(best, abs=0.02)
    assert 3.5 < best < 8.0  # the logits were five times too sure


def test_a_model_that_is_always_right_gets_the_end_of_the_range() -> None:
    assert 0.05 <= fit_temperature(torch.eye(3) * 2, torch.arange(3)) < 0.06


def test_clips_without_a_class_teach_nothing() -> None:
    with pytest.raises(DataError, match="labelled clips"):
        fit_temperature(torch.zeros(2, 3), torch.tensor([-1, -1]))
