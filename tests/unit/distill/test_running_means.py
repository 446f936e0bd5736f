from __future__ import annotations

import pytest
import torch

from ser_kd.distill.running_means import RunningMeans


def test_means_are_weighted_and_begin_anew() -> None:
    means = RunningMeans()
    means.add({"loss": torch.tensor(1.0), "other": 5.0}, 3)
    means.add({"loss": torch.tensor(5.0)}, 1)
    assert means.finish() == means.finished == {"loss": 2.0, "other": 5.0}
    means.add({"loss": torch.tensor(7.0)}, 2)
    assert means.finish() == {"loss": 7.0}


def test_an_interruption_in_between_changes_nothing() -> None:
    values = torch.rand(9, generator=torch.Generator().manual_seed(0))
    whole, first, second = RunningMeans(), RunningMeans(), RunningMeans()
    for value in values:
        whole.add({"loss": value}, 2)
    for value in values[:4]:
        first.add({"loss": value}, 2)
    second.load_state_dict(first.state_dict())
    for value in values[4:]:
        second.add({"loss": value}, 2)
    assert second.finish() == whole.finish()
    assert whole.finished["loss"] == pytest.approx(float(values.mean()))


def test_processes_are_summed() -> None:
    means = RunningMeans()
    means.add({"loss": torch.tensor(1.0)}, 1)
    other = torch.tensor([9.0, 3.0], dtype=torch.float64)  # three clips with a mean of 3 on the other rank
    assert means.finish(lambda part: part + other) == {"loss": 2.5}


def test_what_a_checkpoint_holds_of_all_processes_is_counted_once() -> None:
    here, there = RunningMeans(), RunningMeans()
    here.add({"loss": torch.tensor(1.0)}, 1)
    there.add({"loss": torch.tensor(3.0)}, 3)
    other = there.state_dict()["sums"]["loss"]
    kept = here.state_dict(lambda part: part + other)
    first, second = RunningMeans(), RunningMeans()
    first.load_state_dict(kept)
    second.load_state_dict(kept, is_first=False)
    rest = second.state_dict()["sums"]["loss"]
    assert first.finish(lambda part: part + rest) == {"loss": 2.5}


def test_it_holds_no_graph() -> None:
    means = RunningMeans()
    weight = torch.ones((), requires_grad=True)
    means.add({"loss": 2 * weight}, 1)
    assert not any(part.requires_grad for part in means.state_dict()["sums"].values())
