"""Models of several upstreams train, are judged and exported, and say at the start what cannot be; parts learn at rates of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

WORDS = ["corpus=demo", *SMALL, "trainer.max_epochs=1"]


def test_speech_and_text_learn_together_at_their_own_rates(ser_kd, workplace: Path) -> None:
    words = ["student=ecapa_fbank_bert", "experiment=fusion/text", *WORDS]
    rates = "learning_rates={encoder.branches.fbank: 2.0e-3, head: 1.0e-2}"
    code, output, errors = ser_kd("train", *words, rates)
    assert code == 0, errors
    folder = only_run(workplace, "fusion/text")
    notes = RunRecord.from_json((folder / "record.json").read_text()).notes
    assert any(note.startswith("rest learns at the optimizer's rate: ") and "are frozen" in note for note in notes)
    assert any(note.startswith("encoder.branches.fbank learns at 0.002: ") for note in notes)
    assert "head learns at 0.01: 231 parameters" in output
    assert "learning_rate/encoder.branches.fbank" in (folder / "logs" / "metrics.csv").read_text().splitlines()[0].split(",")
    for verb, named in (("export", f"run={folder}"), ("robustness", f"run={folder}"), ("benchmark", str(folder))):
        code, _, errors = ser_kd(verb, named)
        assert code == 2
        assert "A model that reads transcripts cannot be" in errors
    code, _, errors = ser_kd("evaluate", f"run={folder}", "word_error_rate=0.5")
    assert code == 0, errors
    code, _, errors = ser_kd("train", *words, "learning_rates={encoder.branches.fbnk: 2.0e-3}")
    assert code == 2
    assert "did you mean 'encoder.branches.fbank'" in errors


def test_frames_of_two_upstreams_are_joined_where_their_rates_allow(ser_kd, workplace: Path) -> None:
    words = ["student=ecapa_early_fusion", *WORDS]
    code, _, errors = ser_kd("train", *words, "experiment=fusion/early", "student.frontend.parts.hubert.layers=weighted")
    assert code == 0, errors
    code, _, errors = ser_kd("export", f"run={only_run(workplace, 'fusion/early')}")
    assert code == 0, errors
    for more in ([], ["dry_run=true"]):
        code, _, errors = ser_kd("train", *words, "experiment=fusion/mel", "+frontend@student.frontend.parts.mel=log_mel_64_16khz", *more)
        assert code == 2
        assert "different rates" in errors
        assert "'mel' a frame every" in errors
    assert not list((workplace / "runs").glob("fusion/mel/*/*/*/checkpoints/last.ckpt"))
