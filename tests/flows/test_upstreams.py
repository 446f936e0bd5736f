"""Two stages through the verbs: an upstream, what is heard through it, its frames kept, its student, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ser_kd.contracts.records import RunRecord
from ser_kd.storage.checkpoints import read_checkpoint
from tests.flows.conftest import SMALL, only_run
from tests.flows.test_bad_input import refused

pytestmark = pytest.mark.slow

WORDS = ["train", "corpus=demo", *SMALL]
ECAPA = [*WORDS, "student=upstream_ecapa", "student.frontend.experiment=upstreams/first"]


@pytest.fixture(scope="module")
def first(workplace: Path) -> Path:
    """A finished upstream: wav2vec 2.0 at toy size, its best checkpoints averaged."""
    from ser_kd.__main__ import main

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        patch.setenv("SER_KD_RUNS", str(workplace / "runs"))
        patch.setenv("SER_KD_CACHE", str(workplace / "cache"))
        assert main([*WORDS, "student=ssl_mean", "averaging=top_k", "experiment=upstreams/first"]) == 0
    return only_run(workplace, "upstreams/first")


def read(folder: Path) -> RunRecord:
    return RunRecord.from_json((folder / "record.json").read_text())


def test_the_second_stage_hears_the_first_and_stands_alone(ser_kd, workplace: Path, first: Path) -> None:
    code, output, errors = ser_kd(*ECAPA, "experiment=upstreams/second")
    assert code == 0, errors
    assert "features upstream: 84 clips, about " in output + errors
    folder = only_run(workplace, "upstreams/second")
    record = read(folder)
    assert record.parameters["total"] > read(first).parameters["total"]  # counted whole
    assert not [name for name in read_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"] if "frontend" in name]
    assert any("hears through the upstream upstream: upstreams/first" in note for note in record.notes)
    assert (folder / "heard_audio.txt").read_text() == (first / "heard_audio.txt").read_text()
    moved = workplace / "elsewhere" / "fold=0" / "seed=0"
    shutil.copytree(folder, moved)
    hidden = first.rename(first.with_name("hidden"))
    try:  # what is finished needs its upstream's run no more
        code, output, errors = ser_kd("evaluate", f"run={moved}")
        assert code == 0, errors
        assert f"(record: {record.metrics['test/ua']:.4f})" in output  # live frames say what kept ones said
        code, output, errors = ser_kd("export", f"run={moved}")
        assert code == 0, errors
    finally:
        hidden.rename(first)
    code, _, errors = ser_kd(*WORDS, "student=timnet_39", "student.encoder.filters=4", "objective=ce_kl", "teacher=finished_run",
                             "teacher.experiment=upstreams/second", "experiment=upstreams/pupil")  # fmt: skip
    assert code == 0, errors


def test_kept_frames_are_not_made_again_and_the_upstream_is_not_touched(ser_kd, workplace: Path, first: Path) -> None:
    code, _, errors = ser_kd(*ECAPA, "experiment=upstreams/again", "seed=1")
    assert code == 0, errors
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ser_kd.models.run_upstream.RunUpstream.listen", lambda self, inputs: pytest.fail("the upstream was run"))
        patch.setattr("ser_kd.tasks.run_execution.count_multiply_accumulates", lambda model, inputs: 0)
        code, output, errors = ser_kd(*ECAPA, "experiment=upstreams/again", "seed=2")
    assert code == 0, errors
    assert "features upstream" not in output + errors
    code, _, errors = ser_kd(*ECAPA, "experiment=upstreams/live", "views=mixup")
    assert code == 0, errors
    (record,) = (read(path.parent) for path in (workplace / "runs").glob("upstreams/live/*/fold=0/seed=0/record.json"))
    assert any("heard anew in each epoch (views.both changes what it hears)" in note for note in record.notes)


def test_a_trainable_upstream_lies_in_the_checkpoint(ser_kd, workplace: Path, first: Path) -> None:
    code, _, errors = ser_kd(*ECAPA, "student.frontend.trainable=true", "experiment=upstreams/trainable")
    assert code == 0, errors
    folder = only_run(workplace, "upstreams/trainable")
    assert [name for name in read_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"] if "frontend" in name]
    assert not (folder / "upstreams").exists()
    code, _, errors = ser_kd("evaluate", f"run={folder}")
    assert code == 0, errors


def test_what_cannot_be_heard_through_is_told(ser_kd, workplace: Path, first: Path) -> None:
    refused(ser_kd(*WORDS, "student=upstream_ecapa"), "Which finished run the upstream 'upstream' is", "experiment=NAME")
    missing = [*WORDS, "student=upstream_ecapa", "student.frontend.experiment=ssl_features/hubert_mean_averaged"]
    refused(ser_kd(*missing), "No finished run of the upstream 'upstream'", "ser-kd train experiments=ssl_features/hubert_mean_averaged")
    refused(ser_kd(*WORDS, "student=upstream_ecapa", f"student.frontend.run={first}", "fold=1"), "has seen test speakers")
    both = [
        "student=upstream_early_fusion",
        *(f"student.frontend.parts.{name}.experiment=upstreams/first" for name in ("hubert", "wav2vec2")),
    ]
    refused(ser_kd(*WORDS, *both, "student.frontend.parts.hubert.name=wav2vec2"), "Two upstreams have one name")
    code, output, errors = ser_kd(*missing, "dry_run=true")  # counted all the same
    assert code == 0, errors
    assert "Train it first" in output + errors
    assert "dry run" in output + errors
