"""From an empty folder to a report: teacher, student, distilled student, evaluation, report."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

EXPERIMENTS = ("wav_to_mfcc/teacher_scratch", "wav_to_mfcc/student", "wav_to_mfcc/ce_kl")
TINY = ["corpus=demo", *SMALL, "datamodule.clip_samples=32000"]


@pytest.fixture(scope="module")
def trained(workplace: Path) -> dict[str, Path]:
    """Each experiment of system 000, run once at tiny scale on the demo corpus, in the order a reader would."""
    folders = {}
    environment = {**os.environ, "SER_KD_RUNS": str(workplace / "runs"), "SER_KD_CACHE": str(workplace / "cache")}
    for name in EXPERIMENTS:
        done = subprocess.run(
            [sys.executable, "-m", "ser_kd", "train", f"experiments={name}", *TINY],
            cwd=workplace, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        folders[name] = only_run(workplace, name)
    return folders


def read(folder: Path) -> RunRecord:
    return RunRecord.from_json((folder / "record.json").read_text())


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_records_hold_what_a_reader_needs(trained: dict[str, Path]) -> None:
    teacher, student, distilled = (read(trained[name]) for name in EXPERIMENTS)
    assert {r.status for r in (teacher, student, distilled)} == {"finished"}
    assert len({r.protocol.fingerprint for r in (teacher, student, distilled)}) == 1
    assert student.parameters == {"trainable": 241_395, "total": 245_235}
    assert distilled.teachers[0].experiment == "wav_to_mfcc/teacher_scratch"
    assert distilled.teachers[0].trained_on == teacher.protocol.speakers["train"]
    assert 0.0 <= distilled.metrics["test/teacher_agreement"] <= 1.0
    assert distilled.metrics["test/teacher_ua"] == pytest.approx(teacher.metrics["test/ua"])
    assert distilled.objective["alpha"] == 0.5
    assert sum(map(sum, student.confusion["test"])) == student.protocol.counts["test"]
    assert student.multiply_accumulates
    assert student.input_samples == 32_000


def test_predictions_agree_with_the_record(trained: dict[str, Path]) -> None:
    folder = trained["wav_to_mfcc/student"]
    record = read(folder)
    with (folder / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert len(rows) == record.protocol.counts["test"]
    assert {row["speaker"] for row in rows} == set(record.protocol.speakers["test"])
    right = sum(row["truth"] == row["prediction"] for row in rows) / len(rows)
    assert record.metrics["test/wa"] == pytest.approx(right, abs=1e-6)
    assert {"group_gender", "group_intensity", "probability_neutral"} <= set(rows[0])


def test_the_teacher_is_in_no_checkpoint(trained: dict[str, Path]) -> None:
    folder = trained["wav_to_mfcc/ce_kl"]
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    plain = torch.load(trained["wav_to_mfcc/student"] / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert set(state) == set(plain)


def test_a_run_folder_holds_pictures_and_curves(trained: dict[str, Path]) -> None:
    for folder in trained.values():
        assert (folder / "logs" / "metrics.csv").is_file()
        assert list((folder / "figures").glob("*.png"))
        assert (folder / "config.yaml").is_file()


def test_a_finished_run_is_found_and_not_repeated(ser_kd, trained: dict[str, Path]) -> None:
    before = (trained["wav_to_mfcc/student"] / "record.json").read_bytes()
    code, output, _ = ser_kd("train", "experiments=wav_to_mfcc/student", *TINY)
    assert code == 0
    assert "found finished run" in output
    assert (trained["wav_to_mfcc/student"] / "record.json").read_bytes() == before


def test_evaluate_repeats_the_recorded_numbers(ser_kd, trained: dict[str, Path]) -> None:
    folder = trained["wav_to_mfcc/ce_kl"]
    for split in ("test", "validation"):
        code, output, errors = ser_kd("evaluate", f"run={folder}", f"split={split}")
        assert code == 0, errors
        recorded = read(folder).metrics[f"{split}/ua"]
        line = next(line for line in output.splitlines() if line.startswith("ua"))
        assert line.split()[1] == f"{recorded:.4f}"
        assert f"(record: {recorded:.4f})" in line


def test_report_is_made_from_records(ser_kd, trained: dict[str, Path], workplace: Path) -> None:
    code, output, errors = ser_kd("report", str(workplace / "runs"), f"out={workplace / 'reports'}", "experiments=wav_to_mfcc/*")
    assert code == 0, errors
    page = next((workplace / "reports").glob("*.html")).read_text()
    for name in ("teacher_scratch", "student", "ce_kl", read(trained["wav_to_mfcc/student"]).protocol.fingerprint):
        assert name in page
    assert len(page) < 3_000_000
    assert "245,235" in output


def test_wandb_writes_offline_and_dry_run_writes_nothing(ser_kd, workplace: Path) -> None:
    words = ["experiments=wav_to_mfcc/student", *[w for w in TINY if w != "logger=csv"], "trainer.max_epochs=1", "experiment=with_wandb"]
    code, output, errors = ser_kd("train", *words, "dry_run=true")
    assert code == 0, errors
    assert "241,395 trainable and 245,235 total" in output
    assert not (workplace / "runs" / "with_wandb").exists()
    batches = int(re.search(r"1 epochs x (\d+) steps of \d+ clips", output)[1])
    code, output, errors = ser_kd("train", *words, "trainer.accumulate_grad_batches=2", "dry_run=true")
    assert re.search(rf"1 epochs x {-(-batches // 2)} steps of 2 x \d+ clips", output), output
    code, _, errors = ser_kd("train", *words)
    assert code == 0, errors
    assert list(only_run(workplace, "with_wandb").glob("wandb/offline-run-*"))


def test_refit_trains_on_validation_clips_too(ser_kd, workplace: Path) -> None:
    code, _, errors = ser_kd("train", "experiments=wav_to_mfcc/student", *TINY, "refit=true", "experiment=refit")
    assert code == 0, errors
    record = read(only_run(workplace, "refit"))
    assert record.protocol.selection == "refit"
    assert record.protocol.counts["validation"] == 0
    assert record.protocol.counts["train"] == 28 * 2
    assert record.epochs["run"] == record.epochs["best"] <= 2
    assert "validation/ua" in record.metrics
    assert (record.metrics["test/ua"] >= 0) is True


def test_averaged_weights_are_judged_and_handed_on(ser_kd, workplace: Path) -> None:
    words = [*TINY, "trainer.max_epochs=3", "averaging=top_k", "averaging.k=2", "averaging.batch_norm=re_estimated", "experiment=averaged"]
    code, output, errors = ser_kd("train", "experiments=wav_to_mfcc/student", *words)
    assert code == 0, errors
    folder = only_run(workplace, "averaged")
    assert "uniform average of the 2 best epochs" in read(folder).notes[-1]
    assert "re-estimated" in output
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    code, output, errors = ser_kd("evaluate", f"run={folder}", "split=test")
    assert code == 0, errors
    assert f"(record: {read(folder).metrics['test/ua']:.4f})" in output


@pytest.mark.parametrize("told", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on(workplace: Path, ser_kd, told: signal.Signals) -> None:
    words = ["experiments=wav_to_mfcc/student", *TINY, "trainer.max_epochs=12", f"experiment=interrupted/{told.name}"]
    environment = {**os.environ, "SER_KD_RUNS": str(workplace / "runs"), "SER_KD_CACHE": str(workplace / "cache"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "ser_kd", "train", *words],
        cwd=workplace,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # a test session in the background was told to ignore Ctrl-C, and its children with it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    last = None
    for _ in range(600):
        time.sleep(0.2)
        last = next((workplace / "runs" / "interrupted" / told.name).glob("*/fold=0/seed=0/checkpoints/last.ckpt"), None)
        if last is not None or process.poll() is not None:
            break
    process.send_signal(told)
    _, told_back = process.communicate()
    assert last is not None
    if told == signal.SIGINT:  # Ctrl-C
        assert process.returncode == 130
        assert "the same command goes on from there" in told_back
        assert "Stopped." in told_back
    folder = last.parents[1]
    assert json.loads((folder / "record.json").read_text())["status"] == "running"
    steps = int(torch.load(last, weights_only=True)["global_step"])
    before = read_log(folder)
    code, _, errors = ser_kd("train", *words)
    assert code == 0, errors
    record = read(folder)
    assert record.status == "finished"
    assert record.epochs["run"] == 12
    assert "resumed from its last checkpoint" in record.notes
    after = read_log(folder)
    kept = [row for row in before if int(row["step"]) < steps]
    assert [row["validation/ua"] for row in after[: len(kept)]] == [row["validation/ua"] for row in kept]
    epochs = [int(row["epoch"]) for row in after if row["train/loss"]]
    assert epochs == list(range(12))  # each once: none lost, none twice
