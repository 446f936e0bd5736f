"""Wrong wishes are told before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ser_kd.contracts.errors import ConfigError, DataError, LeakageError
from ser_kd.contracts.records import ProtocolRecord, RunRecord
from ser_kd.runtime.recording import write_record
from ser_kd.tasks import evaluate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run on RAVDESS without a checkpoint."""
    protocol = ProtocolRecord("p", "print", 0, 2, "next_fold", "validation", "merge7", ["neutral", "sad"], {}, {})
    folder = tmp_path / "paper" / "variant" / "identity" / "fold=0" / "seed=0"
    write_record(folder, RunRecord("paper/variant", "identity", "finished", 0, "ravdess", protocol))
    OmegaConf.save({"corpus": {"_target_": "ser_kd.data.corpora.ravdess.RavdessCorpus", "root": None}}, folder / "config.yaml")
    return folder


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        (["split=tset"], ConfigError, "test or validation or all"),
        (["checkpoint=worst"], ConfigError, "best or last"),
        (["split=all"], LeakageError, "split=all of ravdess"),
        (["split=all", "corpus=ravdess", "corpus.root=here"], LeakageError, "split=all of ravdess"),
        (["restrict=true"], ConfigError, "restrict=True"),
        (["corpus=ravdess", "label_set=merge7"], ConfigError, "label_set=merge7"),
        (["corpus=emodb", "split=test"], ConfigError, "split=test of a run that was trained on ravdess"),
        (["corpus=demo", "split=validation"], ConfigError, "leave split out"),
        (["corpus=emodbb"], ConfigError, "did you mean 'emodb'?"),
        (["corpus=emodb", "corpus.path=here"], ConfigError, "corpus.path"),
        (["restrict=maybe"], ConfigError, "true or false"),
        (["transcript=asr.csv"], ConfigError, "did you mean 'transcripts'?"),
    ],
)
def test_a_wrong_wish_is_told(folder: Path, words: list[str], error: type[Exception], told: str) -> None:
    with pytest.raises(error) as fault:
        evaluate.run([f"run={folder}", *words])
    assert told in str(fault.value)


def test_a_folder_without_a_run_or_its_configuration(folder: Path) -> None:
    with pytest.raises(DataError, match="no finished run"):
        evaluate.run([f"run={folder.parent}", "corpus=emodb"])
    (folder / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"no usable config\.yaml"):
        evaluate.run([f"run={folder}", "corpus=emodb"])
