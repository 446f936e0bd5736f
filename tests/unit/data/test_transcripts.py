"""Texts from a file, clips without one, and words made wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.protocols.by_speaker import SpeakerFolds
from ser_kd.data.transcripts import Transcripts
from ser_kd.functional.word_errors import measure_word_error_rate, split_words
from tests.conftest import speech_like

CLIPS = 20


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 clips of 10 speakers; the text of clip 3 is missing and that of clip 4 blank."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = ["id,path,label,speaker,text"]
    for number in range(CLIPS):
        soundfile.write(folder / f"{number}.wav", speech_like(number, 0.05), 16_000)
        text = {3: "", 4: "  "}.get(number, f"clip {number} is said by speaker {number // 2} in many plain words of its own")
        rows.append(f"c{number},{number}.wav,{('angry', 'sad')[number % 2]},s{number // 2},{text}")
    (folder / "my.csv").write_text("\n".join(rows) + "\n")
    return folder / "my.csv"


@pytest.fixture
def make(corpus: Path) -> Callable[..., SpeechDataModule]:
    def make(**options) -> SpeechDataModule:
        data = SpeechDataModule(ManifestCsvCorpus(corpus), SpeakerFolds(), cache_dir=corpus.parent / "cache", batch_size=4, **options)
        data.setup()
        return data

    return make


def texts_of(data: SpeechDataModule) -> dict[str, str | None]:
    return {u.id: u.text for split in ("train", "validation", "test") for u in data.fold.split(split)}


def write(folder: Path, texts: dict[str, str], separator: str = ",") -> Path:
    path = folder / "asr.csv"
    lines = [f"{name}{separator}other{separator}{text}" for name, text in texts.items()]
    path.write_text("\ufeff" + "\n".join([f"id{separator}model{separator} text", *lines]), encoding="utf-8")
    return path


def test_a_file_takes_the_place_of_the_corpus_own_texts(make, tmp_path: Path) -> None:
    told = {f"c{number}": f"heard {number}" for number in range(1, CLIPS)} | {"c99": "what", "c5": "so, \u2028 he said"}
    data = make(transcripts=write(tmp_path, told, ";"))
    found = texts_of(data)
    assert found["c1"] == "heard 1"
    assert found["c5"] == "so, \u2028 he said"
    assert found["c0"] is None  # never the corpus' own beside recognised ones
    first, second, third = data.manifest.notes
    assert "asr.csv, in the place of the corpus' own: 19 of 20 clips" in first
    assert second.startswith("1 clips have no line in asr.csv: c0")
    assert third.startswith("1 lines of asr.csv name no clip of the corpus: c99")
    batch = next(iter(data.test_dataloader()))
    assert batch.texts == [found[name] for name in batch.ids]
    assert data.fold.fingerprint == make().fold.fingerprint


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "was not found"), ("id,word\na,b\n", "lacks a column"), ("", "lacks a column"),
        ("id,text\nc1,a\nc2,b\nc1,c\n", "names clips twice"), ("id,text\nx,a\n", "names no clip of the corpus"),
        (b"id,text\nc1,\xff\n", "not UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_told(make, tmp_path: Path, content: str | bytes | None, told: str) -> None:
    path = tmp_path / "asr.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=told):
        make(transcripts=path)


def test_clips_without_a_text_are_named(make) -> None:
    data = make()
    with pytest.raises(DataError, match="2 of 20 clips have no transcript") as fault:
        data.check_texts()
    assert sorted(fault.value.got.partition(": ")[2].split(", ")) == ["c3", "c4"]
    assert "on_missing_text=skip" in fault.value.remedy
    split = next(name for name in ("train", "validation", "test") if {"c3", "c4"} & {u.id for u in data.fold.split(name)})
    with pytest.raises(DataError):
        data.check_texts([split])
    others = [name for name in ("train", "validation", "test") if not {"c3", "c4"} & {u.id for u in data.fold.split(name)}]
    data.check_texts(others)


def test_clips_without_a_text_are_left_out_where_that_is_asked_for(make) -> None:
    data = make(on_missing_text="skip")
    assert texts_of(data).keys() == {f"c{n}" for n in range(CLIPS)} - {"c3", "c4"}
    assert data.manifest.left_out == {"c3": "no transcript", "c4": "no transcript"}
    assert data.fold.fingerprint != make().fold.fingerprint
    data.check_texts()


def test_clips_without_a_text_are_read_as_no_words_where_that_is_asked_for(make) -> None:
    data = make(on_missing_text="blank")
    assert [texts_of(data)[name] for name in ("c3", "c4")] == ["", ""]
    assert data.fold.fingerprint == make().fold.fingerprint
    data.check_texts()
    with pytest.raises(ConfigError, match="Unknown way to treat clips without a text"):
        Transcripts(on_missing="drop")  # type: ignore[arg-type]


def test_words_err_at_the_wanted_rate_once_for_each_clip(make) -> None:
    plain, data = texts_of(make()), make(word_error_rate=0.25)
    heard = texts_of(data)
    pairs = [(plain[name], heard[name]) for name in plain if plain[name]]
    assert measure_word_error_rate(pairs) == pytest.approx(0.25, abs=0.08)  # 270 words
    assert heard == texts_of(make(word_error_rate=0.25))
    assert heard != texts_of(make(word_error_rate=0.25, seed=1))
    assert heard["c3"] is None
    (note,) = data.manifest.notes
    assert "word-error rate of 0.25; measured: train 0." in note
    assert "test 0." in note
    batches = {name: text for batch in data.train_dataloader() for name, text in zip(batch.ids, batch.texts, strict=True)}
    assert batches == {u.id: u.text for u in data.fold.train}
    with pytest.raises(DataError, match="2 of 20"):
        data.check_texts()
    with pytest.raises(ConfigError, match="no word-error rate to inject"):
        make(word_error_rate=1.5)


def test_words_that_come_in_are_those_of_training(make) -> None:
    data = make(word_error_rate=1.0)
    said = {u.id: u.text or "" for u in make().fold.train}
    known = {word for text in said.values() for word in split_words(text)}
    own = {u.id: set(split_words(u.text or "")) for u in make().fold.test}
    foreign = [word for u in data.fold.test for word in split_words(u.text or "") if word not in own[u.id]]
    assert foreign
    assert set(foreign) <= known


def test_a_text_of_which_nothing_is_left_is_no_missing_one(corpus: Path, tmp_path: Path, make) -> None:
    data = make(transcripts=write(tmp_path, {f"c{n}": ("yes", "no")[n % 2] for n in range(CLIPS)}), word_error_rate=1.0)
    assert "" in texts_of(data).values()
    data.check_texts()


def test_unlabelled_clips_find_their_texts_too(make, tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    for name in ("a", "b"):
        soundfile.write(tmp_path / "extra" / f"{name}.wav", speech_like(700 + ord(name), 0.2), 16_000)
    told = {f"c{number}": f"heard {number}" for number in range(CLIPS)} | {"unlabelled/a.wav": "more speech"}
    options = {"unlabelled_root": tmp_path / "extra", "transcripts": write(tmp_path, told)}
    found = texts_of(data := make(**options))
    assert (found["unlabelled/a.wav"], found["unlabelled/b.wav"]) == ("more speech", None)
    with pytest.raises(DataError, match="have no transcript"):
        data.check_texts()
    assert "unlabelled/b.wav" not in texts_of(make(**options, on_missing_text="skip"))


def test_other_texts_change_who_is_read_and_not_the_fold(make, tmp_path: Path) -> None:
    data = make()
    before = {split: data.fold.split(split) for split in ("train", "validation", "test")}
    judged = [u.id for u in before["test"]]
    half = {name: f"heard {name}" for name in judged[::2]}
    notes = data.exchange_texts(Transcripts(write(tmp_path, half), "skip"), "test")
    assert [u.id for u in data.fold.test] == judged[::2]
    assert [u.text for u in data.fold.test] == [*half.values()]
    assert [u.id for u in data.fold.train] == [u.id for u in before["train"]]
    assert "asr.csv, in the place of the corpus' own" in notes[0]
    assert any(f"{len(judged) - len(half)} clips cannot be used and are left out: {judged[1]}: no transcript" in note for note in notes)
    data.check_texts(["test"])


def test_other_texts_may_lack_clips_that_nobody_judges(make, tmp_path: Path) -> None:
    data = make()
    heard = {u.id: "a text of some words" for u in data.fold.test}
    data.word_error_rate = 0.5
    heard |= {u.id: "many other words" for u in data.fold.train[:2]}
    notes = data.exchange_texts(Transcripts(write(tmp_path, heard)), "test")
    data.check_texts(["test"])
    assert any(u.text != heard[u.id] for u in data.fold.test)
    assert "word-error rate of 0.5" in notes[-1]
    with pytest.raises(DataError, match=f"{len(data.fold.train) - 2} of {len(data.fold.train)} clips have no transcript"):
        data.check_texts(["train"])


def test_other_texts_of_no_judged_clip_are_refused(make, tmp_path: Path) -> None:
    data = make()
    path = write(tmp_path, {data.fold.train[0].id: "a word"})
    with pytest.raises(DataError, match="have no transcript"):
        data.exchange_texts(Transcripts(path, "skip"), "test")
