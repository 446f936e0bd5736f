"""From trained runs to tables in noise: judged, killed, gone on with, shown by the report; an exported file beside its run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import onnx
import pytest

from ser_kd.contracts.records import RunRecord
from ser_kd.contracts.robustness_record import RobustnessRecord
from ser_kd.tasks import noisy_clips
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

NOISE = ["noise.types=[stationary,engine]", "noise.duration_s=30", "resamples=200"]
EPOCH = ["trainer.max_epochs=1"]


@pytest.fixture
def folders(ser_kd, workplace: Path) -> tuple[Path, Path]:
    """A teacher and its student of one epoch each."""
    names = ("robust_teacher", "robust_student")
    if not (workplace / "runs" / names[1]).is_dir():
        words = ["corpus=demo", *SMALL, *EPOCH]
        assert ser_kd("train", "experiments=demo/teacher", *words, f"experiment={names[0]}")[0] == 0
        taught = [*words, f"teacher.experiment={names[0]}", f"experiment={names[1]}"]
        code, _, errors = ser_kd("train", "experiments=demo/distilled", *taught)
        assert code == 0, errors
    return only_run(workplace, names[0]), only_run(workplace, names[1])


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_killed_evaluation_goes_on_and_the_report_shows_it(ser_kd, folders, workplace: Path, monkeypatch) -> None:
    teacher, student = folders
    words = ["robustness", f"runs=[{teacher},{student}]", *NOISE, "snrs_db=[10,0]", "enhancement=vad_nmf", "enhancement.speech_atoms=16"]
    heard: list[tuple[str, float | None]] = []
    hear = noisy_clips.NoisyClips.hear

    def hear_and_die(self, key):
        heard.append(key)
        if len(heard) == 4:
            raise KeyboardInterrupt
        return hear(self, key)

    monkeypatch.setattr(noisy_clips.NoisyClips, "hear", hear_and_die)
    assert ser_kd(*words)[0] == 130
    (path,) = (teacher / "robustness").glob("*.json")
    before = RobustnessRecord.from_json(path.read_text())
    assert [condition.key for condition in before.conditions] == heard[:3]
    code, output, errors = ser_kd(*words)
    assert code == 0, errors
    # three conditions were there; the other two of the teacher, five of the student and five behind VAD and NMF are judged now
    assert len(heard) == 4 + 2 + 5 + 5
    assert "3 were there" in errors
    after = RobustnessRecord.from_json(path.read_text())
    assert after.conditions[:3] == before.conditions
    recorded = RunRecord.from_json((teacher / "record.json").read_text())
    assert after.find("clean", None).metrics["ua"] == pytest.approx(recorded.metrics["test/ua"], abs=1e-6)
    rows = read_rows(workplace / "reports" / "robustness.csv")
    assert {row["system"] for row in rows} == {"robust_teacher", "robust_student", "robust_teacher + vad_nmf"}
    assert len([row for row in rows if row["fold"] == "all"]) == 3 * 5
    assert "Below which ratio the teacher robust_teacher is passed" in output
    assert (workplace / "reports" / "robustness.png").is_file()

    count = len(heard)
    numbers = (workplace / "reports" / "robustness.csv").read_bytes()
    assert ser_kd(*words)[0] == 0
    assert len(heard) == count
    assert (workplace / "reports" / "robustness.csv").read_bytes() == numbers
    code, _, errors = ser_kd("report", "experiments=robust_*", "resamples=200")
    assert code == 0, errors
    assert "## Noise of synthetic on demo" in (workplace / "reports" / "report.md").read_text()


def test_an_exported_file_hears_what_its_run_hears(ser_kd, folders, workplace: Path) -> None:
    _, student = folders
    assert ser_kd("export", f"run={student}", "precision=[fp32]")[0] in (0, 1)
    (file,) = (student / "export").glob("*.onnx")
    words = ["robustness", f"run={student}", f"model={file}", *NOISE, "snrs_db=[0]"]
    code, _, errors = ser_kd(*words)
    assert code == 0, errors
    records = [json.loads(next(folder.glob("robustness/*.json")).read_text()) for folder in (student, file.parent)]
    own, exported = ({c["noise"]: c["answers"] for c in record["conditions"]} for record in records)
    assert exported == {name: own[name] for name in exported}
    assert "made again" not in errors

    replaced = onnx.load(str(file))
    replaced.doc_string = "another model under the same name"
    onnx.save(replaced, str(file))
    code, _, errors = ser_kd(*words)
    assert code == 0, errors
    assert errors.count("of another model and is made again") == 1
