from __future__ import annotations

import pytest
import torch

from ser_kd.data.resumable_loader import ResumableLoader
from ser_kd.data.sampling import KeyedBatchSampler


class Places:
    """Gives back the place it was asked for."""

    def __getitem__(self, place: tuple[int, int]) -> tuple[int, int]:
        return place


def make_loader(workers: int = 0) -> ResumableLoader:
    return ResumableLoader(Places(), KeyedBatchSampler([1] * 11, 3, seed=1), collate_fn=list, num_workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("given", [0, 1, 3])
def test_another_loader_goes_on_where_one_stopped(workers: int, given: int) -> None:
    first = make_loader(workers)
    first.batch_sampler.set_epoch(4)
    whole = list(first)
    batches = iter(first)
    for _ in range(given):
        next(batches)
    state = first.state_dict()
    assert state == {"epoch": 4, "batches": given if given else len(whole)}  # what was not begun is still the pass before
    second = make_loader(workers)
    second.load_state_dict({"epoch": 4, "batches": given})
    second.batch_sampler.set_epoch(4)
    assert list(second) == whole[given:]
    second.batch_sampler.set_epoch(5)
    assert len(list(second)) == len(whole)  # only that one pass is shorter


def test_a_finished_pass_is_not_gone_on_with() -> None:
    loader = make_loader()
    loader.load_state_dict({"epoch": 0, "batches": len(loader)})
    assert len(list(loader)) == len(loader) == 4


def test_the_epoch_may_be_set_after_the_iterator_was_made() -> None:
    loader, expected = make_loader(workers=1), make_loader()
    batches = iter(loader)
    loader.batch_sampler.set_epoch(7)
    expected.batch_sampler.set_epoch(7)
    assert list(batches) == list(expected)


def test_an_iterator_moves_no_global_random_state() -> None:
    before = torch.get_rng_state()
    list(make_loader())
    assert torch.equal(torch.get_rng_state(), before)
