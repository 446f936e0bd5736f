"""Experiments on several folds in worker processes: teachers on the way, nothing done twice, one failure alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flows.conftest import SMALL

pytestmark = pytest.mark.slow

SMALLEST = [*SMALL, "corpus=demo", "datamodule.clip_samples=32000"]
BOTH = "experiments=[wav_to_mfcc/student,wav_to_mfcc/ce_kl]"


@pytest.fixture
def elsewhere(workplace: Path) -> list[str]:
    """Words that keep these runs apart from those of other flows."""
    return [f"paths.runs={workplace / 'cross_validated'}", "folds=[0,1]", "workers=2"]


def records(workplace: Path) -> dict[str, Path]:
    root = workplace / "cross_validated"
    return {path.relative_to(root).as_posix(): path for path in root.glob("*/*/*/fold=*/seed=*/record.json")}


def test_the_plan_names_teachers_that_are_missing_and_trains_nothing(workplace: Path, ser_kd, elsewhere: list[str]) -> None:
    code, output, errors = ser_kd("cross-validate", BOTH, *SMALLEST, *elsewhere, "dry_run=true")
    assert code == 0, errors
    assert "6 trainings" in output
    assert "2 of them because no finished run was found: wav_to_mfcc/teacher_scratch" in output
    assert "wav_to_mfcc/ce_kl fold=1 seed=0" in output
    assert not records(workplace)


def test_experiments_can_have_words_and_folds_seeds_of_their_own(ser_kd, elsewhere: list[str]) -> None:
    chosen = "experiments=[wav_to_mfcc/ce_kl,'wav_to_mfcc/ce_kl objective.alpha=0.3']"
    code, output, errors = ser_kd("cross-validate", chosen, "seeds={1:[0,4],others:[0]}", *SMALLEST, *elsewhere, "dry_run=true")
    assert code == 0, errors
    assert "9 trainings" in output
    assert "0, 4 on fold 1; 0 on the others" in output
    assert "wav_to_mfcc/ce_kl objective.alpha=0.3 fold=1 seed=4" in output
    assert "seed=4" not in "".join(line for line in output.splitlines() if "fold=0" in line.split("  ")[0])


def test_all_folds_are_trained_once_and_drawn_together(workplace: Path, ser_kd, elsewhere: list[str]) -> None:
    code, output, errors = ser_kd("cross-validate", BOTH, *SMALLEST, *elsewhere)
    assert code == 0, output + errors
    made = records(workplace)
    assert len(made) == 6
    assert all(json.loads(path.read_text())["status"] == "finished" for path in made.values())
    assert "6/6 finished" in output
    assert "2 (folds 0, 1)" in output  # the table pools them
    before = {name: path.stat().st_mtime_ns for name, path in made.items()}
    code, output, errors = ser_kd("cross-validate", BOTH, *SMALLEST, *elsewhere, f"out={workplace / 'elsewhere'}")
    assert code == 0, output + errors
    assert list((workplace / "elsewhere").glob("*.html"))
    assert "4 trainings" in output  # the teachers are there
    assert {name: path.stat().st_mtime_ns for name, path in records(workplace).items()} == before


def test_one_failure_stays_alone_and_is_listed(workplace: Path, ser_kd, elsewhere: list[str]) -> None:
    damaged = next(path for name, path in records(workplace).items() if "student" in name and "fold=1" in name)
    record = json.loads(damaged.read_text())
    damaged.write_text(json.dumps({**record, "status": "running"}))
    (damaged.parent / "checkpoints" / "last.ckpt").write_bytes(b"damaged")
    code, output, errors = ser_kd("cross-validate", BOTH, *SMALLEST, *elsewhere)
    assert code == 1
    assert "wav_to_mfcc/student fold=1 seed=0: failed" in errors
    assert "A checkpoint" in errors
    assert "1 of 4 trainings are missing from the table" in errors
    assert "3/4 finished" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fold=1"], "fold= is for one training"),
        (["folds=[0,0]"], "The same fold is named twice"),
        (["folds=[7]"], "There is no such fold"),
        (["seeds={7:[0],others:[0]}"], "a fold that is not trained"),
        (["folds=[0]", "seeds={1:[0],others:[0]}"], "a fold that is not trained"),
        (["experiments=[wav_to_mfcc/ce_kl,'wav_to_mfcc/ce_kl averaging=null']"], "the same training"),
        (
            ["experiments=[wav_to_mfcc/teacher_scratch,'wav_to_mfcc/teacher_scratch averaging=ema',wav_to_mfcc/ce_kl]"],
            "Which wav_to_mfcc/teacher_scratch is to teach is not clear",
        ),
        (["experiments='wav_to_mfcc/ce_kl teacher.experiment=wav_to_mfcc/ce_kl'"], "would teach itself"),
        (["seeds=[1,1]"], "The same seed is named twice"),
        (["trainer.max_epoch=1"], "did you mean"),
    ],
)
def test_what_cannot_be_planned_is_told_before_anything_is_trained(ser_kd, words: list[str], message: str) -> None:
    chosen = [] if any(word.startswith("experiments=") for word in words) else [BOTH]
    code, _, errors = ser_kd("cross-validate", *chosen, *SMALLEST, *words)
    assert code == 2
    assert message in errors


def test_overlapping_folds_are_refused(ser_kd) -> None:
    lists = "protocol.test_folds=[[1,2],[2,3]]"
    code, _, errors = ser_kd("cross-validate", "experiments=wav_to_mfcc/student", *SMALLEST, "protocol=listed_speakers", lists)
    assert code == 2
    assert "2" in errors
