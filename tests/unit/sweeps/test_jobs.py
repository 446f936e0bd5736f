from __future__ import annotations

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.sweeps.jobs import Job, JobBoard, State


def board() -> JobBoard:
    return JobBoard(
        [Job("student", ("s",), needs=("teacher",)), Job("teacher", ("t",)), Job("alone", ()), Job("late", (), needs=("student",))]
    )


def test_a_job_waits_for_those_it_needs() -> None:
    jobs = board()
    assert [jobs.take().name, jobs.take().name] == ["teacher", "alone"]  # type: ignore[union-attr]
    assert jobs.take() is None
    jobs.settle("teacher", State.FINISHED)
    assert jobs.take().name == "student"  # type: ignore[union-attr]
    assert not jobs.is_done


def test_what_needs_a_failed_job_is_left_out_and_the_rest_goes_on() -> None:
    jobs = board()
    jobs.take()
    left_out = jobs.settle("teacher", State.FAILED, "broken")
    assert [(job.name, job.message) for job in left_out] == [("student", "needs teacher"), ("late", "needs student")]
    assert jobs.take().name == "alone"  # type: ignore[union-attr]
    jobs.settle("alone", State.FINISHED)
    assert jobs.is_done


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([Job("a", ()), Job("a", ())], "Two jobs have one name"),
        ([Job("a", (), needs=("b",))], "not there"),
        ([Job("a", (), needs=("b",)), Job("b", (), needs=("a",))], "circle"),
    ],
)
def test_what_can_never_be_done_is_refused(jobs: list[Job], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JobBoard(jobs)
