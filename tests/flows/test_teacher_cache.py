"""A teacher's answers on disk: built ahead, read by a training that finds the same, refused where they are another's."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

TINY = ["corpus=demo", *SMALL, "datamodule=speech"]
WORDS = ["experiments=wav_to_mfcc/ce_kl", *TINY, "teacher.experiment=cached/teacher"]


@pytest.fixture
def trained(ser_kd, workplace: Path) -> None:
    for seed in (0, 1):
        if not list((workplace / "runs" / "cached" / "teacher").glob(f"*/fold=0/seed={seed}/record.json")):
            words = ["experiments=wav_to_mfcc/teacher_scratch", *TINY, "trainer.max_epochs=1", f"seed={seed}", "experiment=cached/teacher"]
            code, _, errors = ser_kd("train", *words)
            assert code == 0, errors


def read(workplace: Path, name: str) -> tuple[RunRecord, list[float], str]:
    folder = only_run(workplace, name)
    with (folder / "logs" / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    return RunRecord.from_json((folder / "record.json").read_text()), losses, folder.parents[1].name


def test_built_ahead_and_read_by_a_run_that_finds_the_same(ser_kd, trained: None, workplace: Path) -> None:
    code, output, errors = ser_kd("cache-teacher", *WORDS)
    assert code == 0, errors
    assert "answers, about" in output
    assert "training clips of fold 0" in output
    code, output, errors = ser_kd("cache-teacher", *WORDS)
    assert code == 0, errors
    assert "complete, nothing to do" in output
    for mode in ("off", "auto"):
        code, output, errors = ser_kd("train", *WORDS, f"teacher.cache={mode}", f"experiment=cached/{mode}")
        assert code == 0, errors
        assert "answers, about" not in output
    live, cached = read(workplace, "cached/off"), read(workplace, "cached/auto")
    assert cached[1] == pytest.approx(live[1], rel=1e-3)
    assert cached[2] == live[2]  # one identity
    assert any("came from the cache" in note and "view clean" in note for note in cached[0].notes)
    assert not any("cache" in note for note in live[0].notes)


def test_another_teachers_cache_is_refused_and_a_folder_that_cannot_be_written_is_done_without(
    ser_kd, trained: None, workplace: Path
) -> None:
    mine = ["cache.folder=mine"]
    code, _, errors = ser_kd("cache-teacher", *WORDS, *mine)
    assert code == 0, errors
    code, _, errors = ser_kd("train", *WORDS, *mine, "seed=1", "teacher.cache=auto", "experiment=cached/refused")
    assert code == 2
    assert "answers of another teacher" in errors
    assert errors.count("(weights ") == 2
    (workplace / "file").write_text("x")
    words = ["cache.folder=file/below", "teacher.cache=auto", "experiment=cached/live", "trainer.max_epochs=1"]
    code, _, errors = ser_kd("train", *WORDS, *words)
    assert code == 0, errors
    assert errors.count("asked live") == 1
    assert any("asked live" in note and "file/below" in note for note in read(workplace, "cached/live")[0].notes)
    code, _, errors = ser_kd("cache-teacher", *WORDS, "views=mixup")
    assert code == 2
    assert "mix-up" in errors
