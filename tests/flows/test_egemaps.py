"""A teacher that hears eGeMAPS: it trains, teaches a student of the waveform alone, and is refused where only a waveform goes."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

WORDS = ["corpus=demo", *SMALL]
TEACHER = ["experiments=emodistill/teacher_prosodic", *WORDS, "experiment=egemaps/teacher"]
STUDENT = [
    "student=timnet_39",
    "objective=ce_kl",
    "teacher=finished_run",
    "teacher.experiment=egemaps/teacher",
    *WORDS,
    "trainer.max_epochs=1",
]


@pytest.fixture
def trained(ser_kd, workplace: Path) -> Path:
    pytest.importorskip("opensmile")
    if not (workplace / "runs" / "egemaps" / "teacher").is_dir():
        is_new = not (workplace / "cache" / "features").is_dir()
        code, output, errors = ser_kd("train", *TEACHER)
        assert code == 0, errors
        assert "licence does not allow commercial products" in output
        assert not is_new or "features egemaps_lld: 84 clips, about" in output
    return only_run(workplace, "egemaps/teacher")


def read(folder: Path) -> tuple[RunRecord, list[float]]:
    with (folder / "logs" / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    return RunRecord.from_json((folder / "record.json").read_text()), losses


def test_a_student_of_the_waveform_is_taught_live_and_from_the_cache(ser_kd, trained: Path, workplace: Path) -> None:
    found = {}
    for mode in ("off", "auto"):
        code, output, errors = ser_kd("train", *STUDENT, f"teacher.cache={mode}", f"experiment=egemaps/{mode}")
        assert code == 0, errors
        assert "features egemaps_lld:" not in output  # it lay in the cache
        found[mode] = read(only_run(workplace, f"egemaps/{mode}"))
    assert found["auto"][1] == pytest.approx(found["off"][1], rel=1e-3)
    record = found["auto"][0]
    assert "openSMILE" in record.teachers[0].licence
    assert any("came from the cache" in note and "view clean" in note for note in record.notes)
    code, output, errors = ser_kd("cache-teacher", *STUDENT)
    assert code == 0, errors
    assert "complete, nothing to do" in output
    student = only_run(workplace, "egemaps/auto")
    code, _, errors = ser_kd("export", f"run={student}", "precision=[fp32]")
    assert code == 0, errors
    assert "openSMILE" in (student / "export" / "README.md").read_text()
    code, _, errors = ser_kd("train", *STUDENT, "views=background_both", "noise=synthetic")
    assert code == 2
    assert "named features are those of the clean clip" in errors


def test_it_is_judged_again_and_refused_where_only_a_waveform_goes(ser_kd, trained: Path, workplace: Path) -> None:
    code, output, errors = ser_kd("evaluate", f"run={trained}")
    assert code == 0, errors
    lines = {line.split()[0]: line for line in output.splitlines() if line.split()}
    assert lines["ua"].split()[1] == lines["ua"].split()[-1].rstrip(")")
    for words in (["export", f"run={trained}"], ["robustness", f"run={trained}"], ["benchmark", str(trained)]):
        code, _, errors = ser_kd(*words)
        assert code == 2, (words, errors)
        assert "hears egemaps_lld" in errors


def test_functionals_come_with_the_batch_where_they_are_asked_for(ser_kd, trained: Path, workplace: Path) -> None:
    words = ["student=timnet_39", "features@datamodule.features=egemaps_functionals", *WORDS, "dry_run=true"]
    code, output, errors = ser_kd("train", *words)
    assert code == 0, errors
    assert "features egemaps_functionals: 84 clips" in output
    code, _, errors = ser_kd("train", "student=prosodic_resnet", *words[1:])
    assert code == 2
    assert "The student hears the feature 'egemaps_lld'" in errors


def test_extraction_goes_on_after_a_kill(workplace: Path, tmp_path: Path) -> None:
    pytest.importorskip("opensmile")
    environment = {**os.environ, "SER_KD_CACHE": str(tmp_path / "cache"), "SER_KD_RUNS": str(tmp_path / "runs")}
    words = ["prepare", "corpus=demo", "corpus.speakers=6", "corpus.clips_per_emotion=10", "features@datamodule.features=egemaps_lld"]
    command = [sys.executable, "-m", "ser_kd", *words, "datamodule.feature_workers=2"]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder, deadline = tmp_path / "cache" / "features", time.monotonic() + 300
    while not list(folder.rglob("shard-*.safetensors")):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = subprocess.run(["pgrep", "-P", str(first.pid)], capture_output=True, text=True, check=True).stdout.split()
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = next(line for line in done.stdout.splitlines() if line.startswith("features egemaps_lld"))
    assert told.startswith("features egemaps_lld: 164 clips")  # 256 of 420 had been kept
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]]
