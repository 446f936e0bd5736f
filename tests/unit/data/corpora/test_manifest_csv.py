from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus, ManifestCsvDataModule


def test_columns_become_what_they_say(manifest_csv: Path) -> None:
    corpus = ManifestCsvCorpus(manifest_csv)
    manifest = corpus.read_manifest()
    first = manifest.utterances[0]
    assert (first.id, first.speaker, first.emotion, first.session, first.text, first.arousal) == (
        "clip00.wav", "s0", "angry", "0", "hello there", 0.0,
    )  # fmt: skip
    assert first.groups == {"gender": "f"}
    assert first.path == manifest_csv.parent / "clip00.wav"
    assert corpus.label_sets["manifest"].labels == ("angry", "neutral")


def test_a_users_csv_goes_through_the_datamodule(manifest_csv: Path, tmp_path: Path) -> None:
    data = ManifestCsvDataModule(manifest_csv, fold=1, cache_dir=tmp_path / "cache", batch_size=4)
    data.setup()
    assert [len(data.fold.split(n)) for n in ("train", "validation", "test")] == [12, 4, 4]
    batch = next(iter(data.train_dataloader()))
    assert batch.texts == ["hello there"] * 4
    assert batch.dimensions is not None


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_separators_and_byte_order_marks(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text("\ufeff" + delimiter.join(("path", "label", "speaker")) + "\n" + delimiter.join(("a.wav", "sad", "1")) + "\n")
    assert ManifestCsvCorpus(path).read_manifest().utterances[0].emotion == "sad"


def test_stretches_of_one_file_are_different_clips(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("path,label,speaker,start,end\na.wav,sad,1,0,1.5\na.wav,angry,1,1.5,\n")
    clips = ManifestCsvCorpus(path).read_manifest().utterances
    assert [(c.id, c.start_s, c.end_s) for c in clips] == [("a.wav@0-1.5", 0.0, 1.5), ("a.wav@1.5-", 1.5, None)]


def test_dimensions_are_scaled(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("path,label,speaker,arousal,valence\na.wav,,1,4,1\n")
    clip = ManifestCsvCorpus(path, dimension_low=1, dimension_high=7).read_manifest().utterances[0]
    assert (clip.arousal, clip.dominance, clip.valence, clip.emotion) == (0.5, None, 0.0, None)


@pytest.mark.parametrize(
    ("text", "match", "got"),
    [
        ("file,label,speaker\na,b,c\n", "lacks the column path", "file, label, speaker"),
        ("path,label,speaker\n", "lacks rows", "0 rows"),
        ("path,label,speaker\n,sad,1\nb.wav,sad,\n", "2 of 2 lines", "line 2: path is empty; line 3: speaker is empty"),
        ("path,label,speaker,start\na.wav,sad,1,soon\n", "1 of 1 lines", "start is 'soon', not a number"),
        ("path,label,speaker,arousal\na.wav,sad,1,3\n", "1 of 1 lines", "line 2: arousal is 3, outside 0 to 1"),
        ("path,label,speaker,arousal\na.wav,sad,1,nan\n", "1 of 1 lines", "not a finite number"),
        ("path,label,speaker\na.wav,sad,1\na.wav,sad,1\n", "names utterances twice", "a.wav"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, text: str, match: str, got: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=match) as fault:
        ManifestCsvCorpus(path).read_manifest()
    assert got in fault.value.got


def test_missing_file() -> None:
    with pytest.raises(DataError, match="manifest was not found"):
        ManifestCsvCorpus(None).read_manifest()


def test_label_outside_the_set(manifest_csv: Path, tmp_path: Path) -> None:
    data = ManifestCsvDataModule(manifest_csv, labels=["angry", "natural"], cache_dir=tmp_path)
    with pytest.raises(DataError, match="Label 'neutral' is outside the label set") as fault:
        data.setup()
    assert "did you mean 'natural'" in fault.value.remedy
    corpus = ManifestCsvCorpus(manifest_csv, labels=["angry", "calm"], merges={"neutral": "calm"})
    assert corpus.label_sets["manifest"].index_of("neutral") == 1
