"""What a challenge gets: every hidden turn, on the corpus' own scale, under the corpus' own names."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.contracts.records import ProtocolRecord, RunRecord
from ser_kd.data.corpora.msp_podcast import MspPodcast
from ser_kd.tasks import submission
from ser_kd.tasks.submission import write_submission
from tests.msp_podcast_folder import HIDDEN, write_msp_podcast

CLASSES = ["neutral", "contemptuous", "happy"]
CONFIG = OmegaConf.create(
    {
        "datamodule": {
            "_target_": "ser_kd.data.datamodule.SpeechDataModule",
            "batch_size": 3,
            "unlabelled_root": "gone",
            "withhold": "1/2",
        },
        "seed": 0,
    }
)


class SaysItsLength(nn.Module):
    """Arousal is 0.5, dominance too large, valence the share of the longest of 1000 samples; the class is the second."""

    def forward(self, inputs: ModelInput) -> Outputs:
        count = len(inputs.lengths)
        dimensions = torch.stack([torch.full((count,), 0.5), torch.full((count,), 1.2), inputs.lengths / 1000], dim=1)
        return Outputs(logits=torch.tensor([[0.0, 1.0, 0.5]]).repeat(count, 1), dimensions=dimensions)


@pytest.fixture
def submit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Submit with a run of the given targets; gives the rows."""
    root = write_msp_podcast(tmp_path / "msp", seconds=0.05)

    def call(
        targets: str, wanted: str | None = None, classes: list[str] = CLASSES, unlearned: tuple[str, ...] = ()
    ) -> list[dict[str, str]]:
        known = [] if targets == "dimensions" else classes
        protocol = ProtocolRecord("p", "print", 0, 1, "official", "validation", "l", known, {}, {}, targets=targets)
        run = RunRecord("paper/variant", "identity", "finished", 1, "msp_podcast", protocol, unlearned_dimensions=list(unlearned))
        monkeypatch.setattr(submission, "load_student", lambda folder, checkpoint: (SaysItsLength(), run, CONFIG))
        place, clips, missing = write_submission(tmp_path / "run", MspPodcast(root, part="test3"), "best", wanted, str(tmp_path / "cache"))
        assert (clips, missing) == (HIDDEN, {})
        assert place.name == f"msp_podcast_test3_submission{f'_{wanted}' if wanted else ''}.csv"
        assert place.parent == tmp_path / "run" / "evaluations"
        with place.open() as file:
            return list(csv.DictReader(file))

    return call


def test_every_hidden_turn_is_answered_on_the_corpus_own_scale(submit, capsys: pytest.CaptureFixture[str]) -> None:
    rows = submit("both")
    assert f"answers beyond 1 to 7 are written as its ends (dominance {HIDDEN} of {HIDDEN} turns)" in capsys.readouterr().err
    assert [row["FileName"] for row in rows] == [f"MSP-PODCAST_test3_{number:04d}.wav" for number in range(1, HIDDEN + 1)]
    assert list(rows[0]) == ["FileName", "EmoAct", "EmoVal", "EmoDom", "EmoClass"]
    for row in rows:
        assert float(row["EmoAct"]) == 4.0
        assert float(row["EmoDom"]) == 7.0  # cut off where the scale ends
        assert float(row["EmoVal"]) == pytest.approx(1 + 6 * 0.8)
        assert row["EmoClass"] == "C"


def test_a_run_submits_what_it_learned_and_nothing_else(submit) -> None:
    assert list(submit("dimensions")[0]) == ["FileName", "EmoAct", "EmoVal", "EmoDom"]
    assert list(submit("classes")[0]) == ["FileName", "EmoClass"]
    assert list(submit("both", "classes")[0]) == ["FileName", "EmoClass"]
    with pytest.raises(ConfigError, match="does not answer with classes") as fault:
        submit("dimensions", "classes")
    assert fault.value.expected == "submission=dimensions"
    with pytest.raises(ConfigError, match="does not answer with dimensions"):
        submit("classes", "dimensions")
    with pytest.raises(ConfigError, match="classes that MSP-Podcast has not") as fault:
        submit("classes", classes=["neutral", "calm", "happy"])
    assert fault.value.got == "calm"
    assert list(submit("both", "dimensions", ["neutral", "calm", "happy"])[0]) == ["FileName", "EmoAct", "EmoVal", "EmoDom"]


def test_a_dimension_that_was_never_learned_is_not_submitted(submit) -> None:
    with pytest.raises(ConfigError, match="never learned dominance") as fault:
        submit("both", unlearned=("dominance",))
    assert fault.value.remedy == "submit another run, or submission=classes"
    assert list(submit("both", "classes", unlearned=("dominance",))[0]) == ["FileName", "EmoClass"]


def test_two_submissions_of_one_run_stand_side_by_side(submit, tmp_path: Path) -> None:
    submit("both", "dimensions")
    submit("both", "classes")
    names = {path.name for path in (tmp_path / "run" / "evaluations").iterdir()}
    assert names == {"msp_podcast_test3_submission_dimensions.csv", "msp_podcast_test3_submission_classes.csv"}
