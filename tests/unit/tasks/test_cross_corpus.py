"""The path from a finished run to a judgement of another corpus, with a model whose answers are written into the clips."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.cross_corpus_record import CrossCorpusRecord
from ser_kd.contracts.errors import ConfigError, DataError, LeakageError
from ser_kd.contracts.outputs import Outputs
from ser_kd.contracts.records import ProtocolRecord, RunRecord
from ser_kd.data.corpora.emodb import EmoDb
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus
from ser_kd.data.corpora.msp_podcast import MspPodcast
from ser_kd.data.corpora.ravdess import RavdessCorpus
from ser_kd.runtime.recording import write_predictions
from ser_kd.storage.atomic import write_text
from ser_kd.tasks import cross_corpus
from ser_kd.tasks.cross_corpus import is_own_corpus, judge_other_corpus
from ser_kd.tasks.heard_audio import HEARD_AUDIO
from tests.conftest import write_emodb
from tests.msp_podcast_folder import write_msp_podcast

CLASSES = RavdessCorpus.label_sets["merge7"].labels
RUN_CONFIG = OmegaConf.create(
    {
        "corpus": {"_target_": "ser_kd.data.corpora.ravdess.RavdessCorpus", "root": None},
        "datamodule": {"_target_": "ser_kd.data.datamodule.SpeechDataModule", "batch_size": 5, "clip_samples": 900, "padding": "center"},
        "seed": 0,
    }
)


class SaysWhatIsWritten(nn.Module):
    """Answers the class whose number, divided by ten, is the height of the clip; its neighbours come next."""

    def forward(self, inputs: ModelInput) -> Outputs:
        assert inputs.waveforms.shape[1] == 900  # the run's own clip length
        answers = (inputs.waveforms.amax(dim=1) * 10).round()[:, None]  # (B, 1)
        numbers = torch.arange(len(CLASSES))
        return Outputs(logits=-(answers - numbers).abs() + 0.1 * (numbers < answers))


def make_run(corpus: str = "ravdess", label_set: str = "merge7", classes: tuple[str, ...] = CLASSES) -> RunRecord:
    speakers = {"train": ["s0", "s1"], "validation": ["s2"], "test": ["s3"]}
    protocol = ProtocolRecord("p", "print", 0, 5, "next_fold", "validation", label_set, list(classes), {}, speakers)
    return RunRecord("paper/variant", "identity", "finished", 1, corpus, protocol)


def write_corpus(folder: Path, rows: list[tuple[str, int, str]], name: str = "other.csv", samples: int = 800) -> Path:
    """Write clips of (label, answer of the model, gender) and their table."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,label,speaker,gender"]
    for number, (label, answer, gender) in enumerate(rows):
        soundfile.write(folder / f"{number}.wav", np.full(samples + number, answer / 10, dtype=np.float32), 16_000, subtype="FLOAT")
        lines.append(f"{number}.wav,{label},p{number % 2},{gender}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


NEUTRAL, HAPPY, SAD, ANGRY, FEAR, DISGUST, SURPRISE = range(7)
ROWS = [
    ("anger", ANGRY, "f"), ("anger", ANGRY, "m"), ("anger", SURPRISE, "f"), ("anger", SAD, "m"),
    ("joy", HAPPY, "f"), ("joy", HAPPY, "m"),
    ("calm", NEUTRAL, "f"), ("neutral", SAD, "f"),
    ("disgust", SURPRISE, "f"),
    ("boredom", SAD, "f"), ("boredom", SAD, "m"), ("", SAD, "m"),
]  # fmt: skip


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Judge rows with the model above; gives the record and the folder of the run."""

    def call(
        corpus, run: RunRecord | None = None, config: DictConfig = RUN_CONFIG, restrict: bool = False, label_set: str | None = None,
        model: nn.Module | None = None, texts: dict[str, str] | None = None,
    ) -> CrossCorpusRecord:  # fmt: skip
        found = (model or SaysWhatIsWritten(), run or make_run(), config)
        monkeypatch.setattr(cross_corpus, "load_student", lambda folder, checkpoint: found)
        write_text(tmp_path / "run" / HEARD_AUDIO, "# decoded at 16000 Hz\n0123456789abcdef\n")
        record, place = judge_other_corpus(
            tmp_path / "run", corpus, checkpoint="best", restrict=restrict, label_set=label_set,
            command="ser-kd evaluate", cache_dir=str(tmp_path / "cache"), texts=texts,
        )  # fmt: skip
        assert CrossCorpusRecord.from_json(place.read_text()).fingerprint == record.fingerprint
        assert place == tmp_path / "run" / "evaluations" / f"{record.name}.json"
        return record

    return call


def test_the_numbers_are_those_of_a_hand(judge, tmp_path: Path) -> None:
    record = judge(ManifestCsvCorpus(write_corpus(tmp_path / "other", ROWS)))
    assert record.mapping == {"angry": "angry", "calm": "neutral", "disgust": "disgust", "happy": "happy", "neutral": "neutral"}
    assert record.unmapped == {"bored": 2, "no label": 1}
    assert record.absent == ["sad", "fear", "surprise"]
    assert (record.clips, record.speakers, record.class_counts) == (9, 2, [2, 2, 0, 4, 0, 1, 0])
    assert record.metrics["ua"] == pytest.approx((1 / 2 + 1 + 2 / 4 + 0) / 4)
    assert record.metrics["wa"] == pytest.approx(5 / 9)
    assert record.metrics["recall_angry"] == 0.5
    assert math.isnan(record.metrics["recall_fear"])
    assert record.metrics["ua_gender=m"] == pytest.approx((1 / 2 + 1) / 2)
    assert record.confusion[ANGRY] == [0, 0, 1, 2, 0, 0, 1]
    assert record.confusion[FEAR] == [0] * 7
    assert (record.name, record.trained_on, record.corpus, record.restricted) == ("manifest_csv_other", "ravdess", "manifest_csv", False)
    assert record.warnings == []


def test_the_table_of_predictions_agrees(judge, tmp_path: Path) -> None:
    record = judge(ManifestCsvCorpus(write_corpus(tmp_path / "other", ROWS)))
    with (tmp_path / "run" / "evaluations" / "manifest_csv_other.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert len(rows) == record.clips
    assert {row["split"] for row in rows.values()} == {"all"}
    assert (rows["6.wav"]["label"], rows["6.wav"]["truth"], rows["6.wav"]["prediction"]) == ("calm", "neutral", "neutral")
    assert (rows["2.wav"]["truth"], rows["2.wav"]["prediction"], rows["2.wav"]["group_gender"]) == ("angry", "surprise", "f")
    assert sum(row["truth"] == row["prediction"] for row in rows.values()) / len(rows) == pytest.approx(record.metrics["wa"])
    assert [name for name in rows["2.wav"] if name.startswith("probability_")] == [f"probability_{name}" for name in CLASSES]


def test_a_restricted_model_answers_with_classes_of_the_corpus_alone(judge, tmp_path: Path) -> None:
    corpus = ManifestCsvCorpus(write_corpus(tmp_path / "other", ROWS))
    free, restricted = judge(corpus), judge(corpus, restrict=True)
    assert restricted.name == "manifest_csv_other_restricted"
    assert restricted.fingerprint == free.fingerprint
    predicted = [sum(column) for column in zip(*restricted.confusion, strict=True)]
    assert predicted[SAD] == predicted[FEAR] == predicted[SURPRISE] == 0
    # surprise falls to disgust, its neighbour, and sad to happy: one more clip is right, the disgusted one
    assert restricted.metrics["ua"] == pytest.approx((1 / 2 + 1 + 2 / 4 + 1) / 4)
    assert {path.name for path in (tmp_path / "run" / "evaluations").iterdir()} == {
        f"{name}{suffix}" for name in (free.name, restricted.name) for suffix in (".json", ".csv")
    }


def test_one_class_in_common(judge, tmp_path: Path) -> None:
    corpus = ManifestCsvCorpus(write_corpus(tmp_path / "other", [("anger", ANGRY, "f"), ("boredom", SAD, "f")]))
    assert judge(corpus).warnings == ["only one class of the model has clips: UA is its recall"]
    with pytest.raises(ConfigError, match="fewer than two classes"):
        judge(corpus, restrict=True)


def test_cropped_clips_and_damaged_clips_are_told(judge, tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "other", ROWS, samples=895)
    (tmp_path / "other" / "0.wav").write_bytes(b"")
    (tmp_path / "other" / "9.wav").write_bytes(b"")
    record = judge(ManifestCsvCorpus(path))
    assert record.warnings == ["3 of 8 clips are longer than the model's 900 samples: their middle is judged"]
    assert set(record.clips_left_out) == {"0.wav", "9.wav"}
    assert record.unmapped == {"bored": 1, "no label": 1}


def test_merges_of_a_manifest_come_first(judge, tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "other", [("wut", ANGRY, "f"), ("freude", HAPPY, "f"), ("trauer", SAD, "m")])
    corpus = ManifestCsvCorpus(path, labels=["angry", "happy"], merges={"wut": "angry", "freude": "happy"}, dropped=["trauer"])
    record = judge(corpus)
    assert record.mapping == {"freude": "happy", "wut": "angry"}
    assert record.unmapped == {"trauer": 1}
    assert record.metrics["ua"] == 1.0


def test_a_label_set_of_the_corpus_may_be_chosen(judge, tmp_path: Path) -> None:
    corpus = EmoDb(write_emodb(tmp_path / "emodb", seconds=0.02, most=1))
    record = judge(corpus, label_set="shared6")
    assert (record.name, record.unmapped, record.speakers) == ("emodb_shared6", {"bored": 10}, 10)
    with pytest.raises(ConfigError, match="no label set 'full8'") as fault:
        judge(corpus, label_set="full8")
    assert fault.value.expected == "one of full7, shared6"


def test_merges_that_are_no_longer_known_are_told(judge, tmp_path: Path) -> None:
    corpus = ManifestCsvCorpus(write_corpus(tmp_path / "other", ROWS))
    lost = OmegaConf.merge(RUN_CONFIG, {"corpus": {"_target_": "ser_kd.data.corpora.manifest_csv.ManifestCsvCorpus", "path": "gone.csv"}})
    del lost.corpus["root"]
    record = judge(corpus, run=make_run("my_speech", "manifest"), config=lost)
    assert "out of reach" in record.warnings[0]
    assert record.unmapped == {"bored": 2, "calm": 1, "no label": 1}


def test_another_manifest_with_the_same_clips_is_refused_and_the_same_names_are_told(judge, tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "other", ROWS)
    run = make_run("manifest_csv")
    assert judge(ManifestCsvCorpus(path), run=run).warnings == []
    run.protocol.speakers["train"] = ["p1"]
    assert "speakers called as in training: p1" in judge(ManifestCsvCorpus(path), run=run).warnings[0]
    write_predictions(tmp_path / "run", [{"split": "test", "id": "4.wav", "speaker": "p1"}])  # the speaker is another one
    judge(ManifestCsvCorpus(path), run=run)
    write_predictions(tmp_path / "run", [{"split": "test", "id": "4.wav", "speaker": "p0"}])
    with pytest.raises(LeakageError, match="clips of the run's own") as fault:
        judge(ManifestCsvCorpus(path), run=run)
    assert "4.wav" in fault.value.got
    assert judge(ManifestCsvCorpus(path), run=make_run("ravdess")).warnings == []  # elsewhere names mean nothing


def test_what_is_the_runs_own_corpus(tmp_path: Path) -> None:
    ravdess, manifest = make_run("ravdess"), make_run("manifest_csv")
    trained = OmegaConf.create({"corpus": {"path": str(tmp_path / "mine.csv")}})
    assert is_own_corpus(ravdess, RUN_CONFIG, RavdessCorpus("anywhere"))
    assert not is_own_corpus(ravdess, RUN_CONFIG, EmoDb("anywhere"))
    assert not is_own_corpus(ravdess, RUN_CONFIG, ManifestCsvCorpus(tmp_path / "mine.csv"))
    assert is_own_corpus(manifest, trained, ManifestCsvCorpus(tmp_path / "x" / ".." / "mine.csv"))
    assert is_own_corpus(manifest, trained, ManifestCsvCorpus(None))
    assert not is_own_corpus(manifest, trained, ManifestCsvCorpus(tmp_path / "theirs.csv"))


class SaysItsHeight(nn.Module):
    """Arousal is the height of the clip, dominance half of it, valence one less it; classes as above."""

    def forward(self, inputs: ModelInput) -> Outputs:
        height = inputs.waveforms.amax(dim=1)
        return Outputs(SaysWhatIsWritten()(inputs).logits, torch.stack([height, height / 2, 1 - height], dim=1))


def write_dimensions(folder: Path, labels: tuple[str, ...] = ("anger", "joy", "calm", "boredom", "")) -> Path:
    """Write clips of heights 0.1, 0.2, … with arousal on 1 to 5, no dominance, and valence in two clips alone."""
    path = write_corpus(folder, [(label, number + 1, "fm"[number % 2]) for number, label in enumerate(labels)])
    head, *rows = path.read_text().splitlines()
    valences = ["5", "4", *[""] * len(rows)]
    lines = [f"{row},{1 + 0.5 * number},{valences[number]}" for number, row in enumerate(rows)]
    path.write_text("\n".join([f"{head},arousal,valence", *lines]))
    return path


@pytest.fixture
def judge_dimensions(judge):
    """Judge with a run of dimensions, or of both."""

    def call(corpus, targets: str = "dimensions", **options) -> CrossCorpusRecord:
        run = make_run(classes=CLASSES if targets == "both" else (), label_set="merge7" if targets == "both" else "none")
        run.protocol.targets = targets
        return judge(corpus, run=run, model=SaysItsHeight(), **options)

    return call


def concordance(prediction: list[float], truth: list[float]) -> float:
    x, y = np.array(prediction), np.array(truth)
    return float(2 * np.mean((x - x.mean()) * (y - y.mean())) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def test_dimensions_meet_by_name_each_scale_its_own(judge_dimensions, tmp_path: Path) -> None:
    corpus = ManifestCsvCorpus(write_dimensions(tmp_path / "other"), dimension_low=1, dimension_high=5)
    record = judge_dimensions(corpus)
    assert (record.targets, record.classes, record.clips, record.mapping) == ("dimensions", [], 5, {})
    heights = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert record.metrics["ccc_arousal"] == pytest.approx(concordance(heights, [0, 0.125, 0.25, 0.375, 0.5]), abs=1e-5)
    assert record.metrics["ccc_valence"] == pytest.approx(concordance([0.9, 0.8], [1.0, 0.75]), abs=1e-5)
    assert math.isnan(record.metrics["ccc_dominance"])
    assert record.metrics["ccc_mean"] == pytest.approx((record.metrics["ccc_arousal"] + record.metrics["ccc_valence"]) / 2)
    assert record.dimension_counts["valence"]["clips"] == 2
    with (tmp_path / "run" / "evaluations" / "manifest_csv_other.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (rows[2]["truth_arousal"], rows[2]["truth_valence"]) == ("0.250000", "")
    assert float(rows[2]["prediction_valence"]) == pytest.approx(0.7, abs=1e-5)
    with pytest.raises(ConfigError, match="no classes to restrict"):
        judge_dimensions(corpus, restrict=True)
    with pytest.raises(DataError, match="no arousal, dominance or valence"):
        judge_dimensions(ManifestCsvCorpus(write_corpus(tmp_path / "plain", ROWS)))


def test_a_run_of_both_is_judged_by_what_the_corpus_has(judge_dimensions, tmp_path: Path) -> None:
    scale = {"dimension_low": 1, "dimension_high": 5}
    record = judge_dimensions(ManifestCsvCorpus(write_dimensions(tmp_path / "other"), **scale), "both")
    assert (record.targets, record.clips, record.unmapped) == ("both", 5, {"bored": 1, "no label": 1})
    assert sum(record.class_counts) == 3
    assert record.metrics["ccc_arousal"] > 0.9
    assert {"ua", "ccc_mean"} <= set(record.metrics)
    foreign = ManifestCsvCorpus(write_dimensions(tmp_path / "foreign", ("boredom", "awe", "pride")), **scale)
    record = judge_dimensions(foreign, "both")
    assert (record.targets, record.classes) == ("dimensions", [])
    assert "no label in common" in record.warnings[0]
    record = judge_dimensions(ManifestCsvCorpus(write_corpus(tmp_path / "plain", ROWS)), "both")
    assert record.targets == "classes"
    assert "has no arousal, dominance or valence" in record.warnings[0]


def test_a_part_of_msp_podcast_is_another_corpus_unless_its_speakers_were_heard(judge, tmp_path: Path) -> None:
    root = write_msp_podcast(tmp_path / "msp", seconds=0.02)
    run = make_run("msp_podcast")
    run.protocol.speakers["train"] = ["1", "2", "unknown of 0004 in train"]
    assert not is_own_corpus(run, RUN_CONFIG, MspPodcast(root, part="test2"))
    assert is_own_corpus(run, RUN_CONFIG, MspPodcast(root))
    config = OmegaConf.merge(RUN_CONFIG, {"corpus": {"_target_": "ser_kd.data.corpora.msp_podcast.MspPodcast"}})
    record = judge(MspPodcast(root, "1.11", part="test2"), run=run, config=config)
    assert (record.corpus, record.name, record.clips) == ("msp_podcast_test2", "msp_podcast_test2", 14)
    assert record.unmapped == {"contemptuous": 2, "no label": 2, "other": 2}
    assert any("release 1.11" in text for text in record.warnings)
    with pytest.raises(LeakageError, match="trained or selected on speakers") as fault:
        judge(MspPodcast(root, part="train"), run=run, config=config)
    assert "speakers 1, 2, unknown of 0004 in train" in fault.value.got


class Reads(SaysWhatIsWritten):
    """Says what is written, where there are words."""

    reads_text = True

    def forward(self, inputs: ModelInput) -> Outputs:
        assert inputs.texts is not None
        logits = super().forward(inputs).logits
        assert logits is not None
        return Outputs(logits=logits * torch.tensor([[1.0 if text else -1.0] for text in inputs.texts]))


def test_a_model_that_reads_is_judged_on_texts_of_a_file(judge, tmp_path: Path) -> None:
    corpus = ManifestCsvCorpus(write_corpus(tmp_path / "other", ROWS))
    names = [u.id for u in corpus.read_manifest().utterances]
    (tmp_path / "asr.csv").write_text("id,text\n" + "".join(f"{name},some words\n" for name in names[:-6]))
    texts = {"transcripts": str(tmp_path / "asr.csv")}
    with pytest.raises(DataError, match="have no transcript, and a model reads them"):
        judge(corpus, model=Reads())  # the corpus itself has no texts
    with pytest.raises(DataError, match="have no transcript, and a model reads them"):
        judge(corpus, model=Reads(), texts=texts)
    read = judge(corpus, model=Reads(), texts={**texts, "on_missing_text": "skip"})
    assert read.name == "manifest_csv_other_asr_skip"
    assert any(text.startswith("texts are those of asr.csv, in the place of the corpus' own: 6 of") for text in read.warnings)
    assert "no transcript" in read.clips_left_out.values()
    blank = judge(corpus, model=Reads(), texts={**texts, "on_missing_text": "blank"})
    assert (read.clips, blank.clips) == (4, 9)
    assert blank.name == "manifest_csv_other_asr_blank"
    assert blank.metrics["wa"] < read.metrics["wa"]


def test_texts_for_a_model_that_reads_none_are_refused(judge, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the model reads none"):
        judge(ManifestCsvCorpus(write_corpus(tmp_path / "other", ROWS)), texts={"on_missing_text": "skip"})
