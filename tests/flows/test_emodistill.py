"""Two teachers into one student: members dropped and unheard, from the cache, without the teachers, as a file."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from ser_kd.contracts.export_record import ExportRecord
from ser_kd.contracts.records import RunRecord
from ser_kd.distill.teacher_member import TeacherMember
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

TINY = ["corpus=demo", *SMALL, "trainer.accumulate_grad_batches=1"]
MEMBERS = ["teacher.members.linguistic.experiment=emo/words", "teacher.members.prosodic.experiment=emo/prosody"]
BASE = ["experiments=emodistill/base", *TINY, *MEMBERS]


@pytest.fixture
def trained(ser_kd, workplace: Path) -> None:
    """Two finished teachers of different widths; a linguistic and a prosodic one by their role here, not by what they hear."""
    for name, words in {
        "words": ["experiments=wav_to_mfcc/teacher_scratch", "datamodule=speech"],
        "prosody": ["experiments=mlkd_noisy/teacher_scratch", "trainer.max_epochs=1"],
    }.items():
        if not list((workplace / "runs" / "emo" / name).glob("*/fold=0/seed=0/record.json")):
            code, _, errors = ser_kd("train", *words, *TINY[:-1], f"experiment=emo/{name}")
            assert code == 0, errors


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Forward passes of each member, by clips."""
    counts: dict[str, int] = {}
    hear = TeacherMember.hear

    def count(self: TeacherMember, inputs):  # type: ignore[no-untyped-def]
        counts[self.name] = counts.get(self.name, 0) + len(inputs.waveforms)
        return hear(self, inputs)

    monkeypatch.setattr(TeacherMember, "hear", count)
    return counts


def read(workplace: Path, name: str) -> RunRecord:
    return RunRecord.from_json((only_run(workplace, name) / "record.json").read_text())


def train(ser_kd, *words: str) -> str:
    code, output, errors = ser_kd("train", *words)
    assert code == 0, errors
    return output + errors


def test_a_dropped_or_unheard_teacher_has_no_forward_pass(ser_kd, trained: None, workplace: Path, passes: dict[str, int]) -> None:
    live = ["teacher.cache=off", "trainer.max_epochs=2"]
    train(ser_kd, *BASE, *live, "experiment=emo/both")
    both = dict(passes)
    assert set(both) == {"linguistic", "prosodic"}
    for name, words, line in (
        ("dropped", ["~teacher.members.prosodic"], "the teacher prosodic is dropped, and with it objective.terms.soft_targets_prosodic"),
        ("unheard", ["objective.alpha=0", "objective.terms.embedding_prosodic=null"], "listens to the teacher prosodic: it is not run"),
    ):
        passes.clear()
        told = train(ser_kd, *BASE, *live, *words, f"experiment=emo/{name}")
        assert line in told
        assert passes == {"linguistic": both["linguistic"]}
        record = read(workplace, f"emo/{name}")
        assert any(line in note for note in record.notes)
        assert not any("prosodic" in term for term in record.objective["needs_teacher"])
    assert [teacher.name for teacher in read(workplace, "emo/dropped").teachers] == ["linguistic"]
    assert [teacher.weight for teacher in read(workplace, "emo/unheard").teachers] == [1.0, 0.0]
    for name, words in (
        ("silent", ["objective.alpha=0", "objective.beta=0"]),
        ("none", ["teacher.members={linguistic: null, prosodic: null}"]),
    ):
        passes.clear()
        chosen = BASE if name == "silent" else [word for word in BASE if word not in MEMBERS]
        train(ser_kd, *chosen, *live, *words, f"experiment=emo/{name}")
        assert passes == {}
        assert not read(workplace, f"emo/{name}").is_distilled


def test_answers_and_embeddings_of_members_come_from_the_cache(ser_kd, trained: None, workplace: Path, passes: dict[str, int]) -> None:
    words = ["trainer.max_epochs=2", "teacher.weights=validation_confidence", "objective.weigh_members=true"]
    losses = {}
    for mode in ("off", "auto"):
        train(ser_kd, *BASE, *words, f"teacher.cache={mode}", f"experiment=emo/cache_{mode}")
        with (only_run(workplace, f"emo/cache_{mode}") / "logs" / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["train/loss"]]
        losses[mode] = [float(row[f"train/{name}"]) for row in rows for name in ("loss", "embedding_prosodic", "soft_targets_linguistic")]
    assert losses["auto"] == pytest.approx(losses["off"], rel=1e-3)
    assert len(losses["auto"]) == 6
    record = read(workplace, "emo/cache_auto")
    assert any("came from the cache" in note for note in record.notes)
    passes.clear()
    train(ser_kd, *BASE, *words, "teacher.cache=auto", "seed=1", "experiment=emo/cache_again")
    again = dict(passes)
    passes.clear()
    train(ser_kd, *BASE, *words, "teacher.cache=off", "seed=1", "experiment=emo/cache_never")
    assert all(again[name] < passes[name] for name in ("linguistic", "prosodic"))
    shares = [teacher.weight for teacher in record.teachers]
    assert sum(shares) == pytest.approx(1.0)
    assert shares[0] != shares[1]


@pytest.mark.parametrize("classifier_input", ["concat", "pooled"])
def test_the_student_ships_without_its_teachers(ser_kd, trained: None, workplace: Path, classifier_input: str) -> None:
    name = f"emo/{classifier_input}"
    train(ser_kd, *BASE, f"student.head.classifier_input={classifier_input}", f"experiment={name}")
    record, folder = read(workplace, name), only_run(workplace, name)
    adapters = [note for note in record.notes if "adapters hold" in note]
    assert bool(adapters) == (classifier_input == "pooled")
    hidden = shutil.move(workplace / "runs" / "emo" / "words", workplace / "hidden")
    try:
        code, _, errors = ser_kd("export", f"run={folder}", "precision=[fp32]")
    finally:
        shutil.move(hidden, workplace / "runs" / "emo" / "words")
    assert code == 0, errors
    (file,) = ExportRecord.from_json((folder / "export" / "sign_off.json").read_text()).files
    assert file.metrics["argmax_agreement"] == 1.0
    assert file.metrics["max_difference"] < 1e-4
    assert json.loads((folder / "record.json").read_text())["teachers"]


def test_small_students_learn_from_the_same_teachers(ser_kd, trained: None, workplace: Path) -> None:
    for student in ("timnet_60", "wav2small"):
        train(ser_kd, f"experiments=emodistill/{student}", *TINY, *MEMBERS, "trainer.max_epochs=1", f"experiment=emo/{student}")
        assert read(workplace, f"emo/{student}").is_distilled


def test_a_name_that_never_was_is_told_before_training(ser_kd, trained: None, workplace: Path) -> None:
    code, _, errors = ser_kd("train", *BASE, "objective.terms.soft_targets_prosodic.loss.teacher=prosodik", "experiment=emo/typo")
    assert code == 2
    assert "did you mean 'prosodic'?" in errors
    code, _, errors = ser_kd("train", *BASE, "+student.head.projections.prosodik=teacher", "experiment=emo/typo")
    assert code == 2
    assert "follows a teacher that is not there" in errors
    assert not (workplace / "runs" / "emo" / "typo").exists()
