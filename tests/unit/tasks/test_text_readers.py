"""What is asked of a run with a model that reads, and what such a model cannot do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
from omegaconf import OmegaConf

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.protocols.by_speaker import SpeakerFolds
from ser_kd.distill.views import Views
from ser_kd.models.encoders.text_bert import TextBert
from ser_kd.models.restricted_classes import RestrictedClasses
from ser_kd.models.speech_model import SpeechModel
from ser_kd.runtime.composition import compose
from ser_kd.tasks.text_readers import check_hears, check_readers, hand_over_transcripts, list_readers
from ser_kd.transforms.mixup import MixUp
from ser_kd.transforms.word_errors import WordErrors
from tests.conftest import speech_like

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 90}


@pytest.fixture
def make_data(tmp_path: Path):
    def make(spoken: bool = True, **options) -> SpeechDataModule:
        rows = ["path,label,speaker,text"]
        for number in range(10):
            soundfile.write(tmp_path / f"{number}.wav", speech_like(number, 0.05), 16_000)
            rows.append(f"{number}.wav,{('angry', 'sad')[number % 2]},s{number // 2},{f'words of clip {number}' if spoken else ''}")
        (tmp_path / "my.csv").write_text("\n".join(rows) + "\n")
        data = SpeechDataModule(ManifestCsvCorpus(tmp_path / "my.csv"), SpeakerFolds(), cache_dir=tmp_path / "cache", **options)
        data.setup()
        return data

    return make


def test_readers_are_found_among_student_and_teachers() -> None:
    reader: Any = SpeechModel(TextBert(weights="random", settings=SIZES))
    listener: Any = SimpleNamespace()
    assert list_readers(reader, {}) == ["student"]
    assert list_readers(listener, {"linguistic": reader, "prosodic": listener}) == ["teacher linguistic"]
    assert RestrictedClasses(reader, [True, True]).reads_text
    assert list_readers(listener, {}) == []


def test_a_reader_needs_texts_that_belong_to_what_is_heard(make_data) -> None:
    data = make_data()
    check_readers(["student", "teacher linguistic"], data, Views())
    with pytest.raises(ConfigError, match="transcripts cannot be") as fault:
        check_readers(["teacher linguistic"], data, Views(both=MixUp()))
    assert "teacher linguistic" in fault.value.expected
    check_readers(["teacher linguistic"], data, Views(student=MixUp()))
    with pytest.raises(ConfigError, match="transcripts cannot be"):
        check_readers(["student"], data, Views(student=MixUp()))
    silent = make_data(spoken=False)
    check_readers([], silent, Views())
    with pytest.raises(DataError, match="10 of 10 clips have no transcript"):
        check_readers(["student"], silent, Views())


def test_texts_that_nobody_reads_are_told(make_data, capfd: pytest.CaptureFixture[str]) -> None:
    check_readers([], make_data(word_error_rate=0.2), Views())
    assert "datamodule.word_error_rate: nobody in this run reads" in capfd.readouterr().err
    check_readers(["student"], make_data(word_error_rate=0.2), Views())
    check_readers([], make_data(), Views())
    assert not capfd.readouterr().err


def test_views_that_wait_get_the_words_of_training(make_data) -> None:
    data, views = make_data(), Views(teacher=WordErrors(0.5))
    hand_over_transcripts(data, views)
    assert sorted(views.transcripts) == sorted(u.text or "" for u in data.fold.train)
    plain = Views()
    hand_over_transcripts(data, plain)
    assert plain.transcripts == ()
    with pytest.raises(ConfigError, match="no words to err with"):
        hand_over_transcripts(make_data(spoken=False), Views(teacher=WordErrors(0.5)))


def test_who_reads_alone_is_no_subject_of_what_needs_sound() -> None:
    reads = compose("train", ["experiments=emodistill/teacher_linguistic"])
    with pytest.raises(ConfigError, match="cannot be exported") as fault:
        check_hears(reads, "runs/a", "exported")
    assert "runs/a" in fault.value.got
    for student, reader in {"ecapa_fbank_bert": "student.encoder.branches.text.frontend", "ecapa_bert": "student.frontend"}.items():
        with pytest.raises(ConfigError, match=f"reads transcripts cannot be exported(.|\n)*runs/a: {reader}.frontend=null"):
            check_hears(compose("train", ["corpus=demo", f"student={student}"]), "runs/a", "exported")
    check_hears(compose("train", ["corpus=demo"]), "runs/a", "exported")
    check_hears(compose("train", ["corpus=demo", "student=ecapa_late_fusion"]), "runs/a", "exported")
    check_hears(OmegaConf.create({"student": {"_target_": "my.Model"}}), "runs/a", "exported")
    check_hears(OmegaConf.create({}), "runs/a", "exported")
