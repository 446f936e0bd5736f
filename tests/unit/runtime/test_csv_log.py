from __future__ import annotations

import csv
from pathlib import Path

from ser_kd.runtime.csv_log import ResumableCsvLogger


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def log(folder: Path, resume_step: int | None, steps: range, name: str = "loss") -> None:
    logger = ResumableCsvLogger(folder, resume_step)
    for step in steps:
        logger.log_metrics({name: float(step), "epoch": step // 2}, step)
    logger.finalize("success")


def test_rows_before_the_checkpoint_stay_and_later_ones_are_made_anew(tmp_path: Path) -> None:
    log(tmp_path, None, range(6))
    with (tmp_path / "logs" / "metrics.csv").open("a") as file:
        file.write("1,0.")  # cut off
    log(tmp_path, 4, range(4, 8), "accuracy")
    rows = read(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(8))
    assert [row["loss"] for row in rows] == ["0.0", "1.0", "2.0", "3.0", "", "", "", ""]
    assert [row["accuracy"] for row in rows[4:]] == ["4.0", "5.0", "6.0", "7.0"]


def test_without_a_checkpoint_the_log_begins_anew(tmp_path: Path) -> None:
    log(tmp_path, None, range(6))
    log(tmp_path, None, range(2))
    assert [int(row["step"]) for row in read(tmp_path)] == [0, 1]
    log(tmp_path / "fresh", 10, range(2))
    assert len(read(tmp_path / "fresh")) == 2
