"""Named features of clips: found by content, extracted once, and cut where the audio is cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import FeatureExtractor
from ser_kd.contracts.utterance import Utterance
from ser_kd.data import clip_features
from ser_kd.data.clip_features import ClipFeatures, NamedFrames
from ser_kd.data.collate import SpeechCollation
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.decoded_audio import DecodedAudio, decode_corpus
from ser_kd.data.feature_extraction import choose_workers, extract_clips
from ser_kd.data.protocols.by_speaker import SpeakerFolds
from ser_kd.distill.fitting import fit_statistics
from ser_kd.frontends.egemaps import Egemaps
from ser_kd.frontends.normalize import NormalizedFrontend
from ser_kd.frontends.precomputed import Precomputed
from tests.conftest import speech_like

HOP = 160


class FirstSamples:
    """Each frame is the first sample of its hop, so that frames tell where in the clip they come from."""

    width = 1
    notice = ""

    def __init__(self, version: str = "1", hop_s: float | None = 0.01, stop_after: int | None = None) -> None:
        self.version, self.hop_s, self.stop_after, self.asked = version, hop_s, stop_after, 0

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"set": "first samples", "version": self.version}

    def extract(self, samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        if self.asked == self.stop_after:
            raise KeyboardInterrupt
        self.asked += 1
        if len(samples) < HOP:
            raise DataError("The clip is too short.", expected="160 samples", got=str(len(samples)), remedy="leave it out")
        return samples[:: HOP if self.hop_s else len(samples), None]


@pytest.fixture
def clips(tmp_path: Path) -> list[Utterance]:
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", speech_like(number, 0.3 + 0.1 * number), 16_000)
    return [Utterance(f"c{number}", tmp_path / f"{number}.wav", "a") for number in range(6)]


def decode(clips: list[Utterance], tmp_path: Path) -> DecodedAudio:
    return decode_corpus(clips, 16_000, tmp_path / "cache")


def complete(features: ClipFeatures, clips: list[Utterance], tmp_path: Path, told: list[str] | None = None, progress: Any = None) -> int:
    lines: list[str] = [] if told is None else told
    return features.complete(decode(clips, tmp_path), clips, tmp_path / "shelves", progress, lines.append)


def test_a_clip_is_extracted_once_and_found_by_its_content(tmp_path: Path, clips: list[Utterance]) -> None:
    assert isinstance(FirstSamples(), FeatureExtractor)
    told: list[str] = []
    seen: list[tuple[int, int]] = []
    first = ClipFeatures({"x": FirstSamples()})
    assert complete(first, clips, tmp_path, told, lambda done, total: seen.append((done, total))) == 6
    assert seen == [(number, 6) for number in range(1, 7)]
    assert len(told) == 1
    assert told[0].startswith("features x: 6 clips, about 0.0 MB, go to ")
    audio = decode(clips, tmp_path)
    for clip in clips:
        np.testing.assert_array_equal(first.read(clip.id)["x"].frames.numpy(), audio.read(clip.id)[::HOP, None])
    renamed = [Utterance(f"new {clip.id}", clip.path, "b") for clip in reversed(clips)]
    assert complete(ClipFeatures({"x": FirstSamples(stop_after=0)}), renamed, tmp_path) == 0
    soundfile.write(clips[2].path, speech_like(99, 0.4), 16_000)
    changed = ClipFeatures({"x": FirstSamples()})
    assert complete(changed, clips, tmp_path) == 1
    np.testing.assert_array_equal(changed.read("c2")["x"].frames[:, 0].numpy(), decode(clips, tmp_path).read("c2")[::HOP])
    assert complete(ClipFeatures({"x": FirstSamples("2")}), clips, tmp_path) == 6  # another version


def test_what_was_done_before_a_kill_is_kept(tmp_path: Path, clips: list[Utterance], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_features, "_SHARD_CLIPS", 2)
    with pytest.raises(KeyboardInterrupt):
        complete(ClipFeatures({"x": FirstSamples(stop_after=5)}), clips, tmp_path)
    again = FirstSamples()
    assert complete(ClipFeatures({"x": again}), clips, tmp_path) == again.asked == 1
    assert len(list((tmp_path / "shelves").rglob("shard-*"))) == 4


def test_a_damaged_shard_is_told_and_made_again(tmp_path: Path, clips: list[Utterance]) -> None:
    complete(ClipFeatures({"x": FirstSamples()}), clips, tmp_path)
    (shard,) = (tmp_path / "shelves").rglob("shard-*")
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(bytes(content))
    told: list[str] = []
    mended = ClipFeatures({"x": FirstSamples()})
    assert complete(mended, clips, tmp_path, told) == 6
    assert "is damaged: its 6 rows are made again" in told[0]
    np.testing.assert_array_equal(mended.read("c1")["x"].frames[:, 0].numpy(), decode(clips, tmp_path).read("c1")[::HOP])


def test_clips_without_the_feature_are_all_named_and_the_others_kept(tmp_path: Path, clips: list[Utterance]) -> None:
    for number in (1, 4):
        soundfile.write(clips[number].path, speech_like(number, 0.005), 16_000)
    with pytest.raises(DataError, match=r"2 of 6 clips have no feature 'x'(.|\n)*c1: The clip is too short(.|\n)*c4:"):
        complete(ClipFeatures({"x": FirstSamples()}), clips, tmp_path)
    whole = [clip for clip in clips if clip.id not in ("c1", "c4")]
    assert complete(ClipFeatures({"x": FirstSamples(stop_after=0)}), whole, tmp_path) == 0


def test_two_forms_of_one_name_and_negative_workers_are_refused() -> None:
    features = ClipFeatures({"x": FirstSamples()})
    features.add("x", FirstSamples(), "the teacher")
    with pytest.raises(ConfigError, match=r"'x' is wanted in two forms(.|\n)*for the teacher 'p'"):
        features.add("x", FirstSamples("2"), "the teacher 'p'")
    with pytest.raises(ConfigError, match="feature_workers"):
        ClipFeatures(workers=-1)


def test_two_worker_processes_give_what_one_gives(tmp_path: Path, clips: list[Utterance]) -> None:
    pytest.importorskip("opensmile")
    audio = decode(clips, tmp_path)
    short = ("short", np.zeros(100, np.float32))
    waiting = [*((clip.id, audio.read(clip.id)) for clip in clips), short]
    alone = list(extract_clips(Egemaps(), waiting, 16_000, workers=0))
    shared = list(extract_clips(Egemaps(), waiting, 16_000, workers=2))
    assert [key for key, _ in shared] == [key for key, _ in alone] == [clip.id for clip in clips] + ["short"]
    for (_, found), (_, expected) in zip(shared[:-1], alone[:-1], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert shared[-1][1] == alone[-1][1]
    assert "too short for eGeMAPS" in str(shared[-1][1])


def test_few_clips_need_no_worker() -> None:
    assert [choose_workers(3, clips) for clips in (0, 127, 128, 191, 192, 1000)] == [0, 0, 2, 2, 3, 3]
    assert choose_workers(0, 1000) == choose_workers(1, 1000) == 0
    assert choose_workers(None, 10**6) != 1


@pytest.mark.parametrize(
    ("start", "samples", "expected"),
    [(0, 1600, range(10)), (1, 1599, range(1, 10)), (160, 320, range(1, 3)), (161, 320, range(2, 4)), (1590, 5, [9]), (0, 1, [0])],
)
def test_a_part_has_the_frames_that_begin_within_it(start: int, samples: int, expected: Any) -> None:
    frames = torch.arange(10.0).unsqueeze(1)
    assert NamedFrames(frames, 160.0).cut(start, samples)[:, 0].tolist() == list(expected)
    assert NamedFrames(frames[:1], None).cut(start, samples)[:, 0].tolist() == [0]


def make_data(manifest_csv: Path, tmp_path: Path, extractor: FirstSamples | None = None, **options: Any) -> SpeechDataModule:
    corpus = ManifestCsvCorpus(manifest_csv)
    features = {"x": extractor or FirstSamples()}
    return SpeechDataModule(corpus, SpeakerFolds(), cache_dir=tmp_path / "cache", batch_size=3, features=features, **options)


@pytest.mark.parametrize("clip_samples", [None, 640])
def test_frames_labels_and_audio_stay_together_in_any_batch(manifest_csv: Path, tmp_path: Path, clip_samples: int | None) -> None:
    data = make_data(manifest_csv, tmp_path, clip_samples=clip_samples)
    truth = {clip.id: index for clip, index in zip(data.fold.train, data.dataset("train").class_indices, strict=True)}
    orders, parts = [], []
    for _ in range(2):
        loader = data.train_dataloader()
        for epoch in (0, 3):
            loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
            for batch in loader:
                frames, lengths = batch.features["x"]
                assert batch.classes is not None
                for row, name in enumerate(batch.ids):
                    whole = torch.from_numpy(data.audio.read(name))
                    heard = batch.waveforms[row, : batch.lengths[row]]
                    start = int((whole.unfold(0, len(heard), 1) == heard).all(dim=1).int().argmax())
                    first = -(-start // HOP)
                    expected = whole[first * HOP : start + len(heard) : HOP]
                    assert torch.equal(frames[row, : lengths[row], 0], expected)
                    assert not frames[row, lengths[row] :].any()
                    assert int(batch.classes[row]) == truth[name]
                    parts.append(start)
                orders.append(tuple(batch.ids))
    assert len(set(orders)) > len(orders) // 4  # it was shuffled
    assert bool(any(parts)) == (clip_samples is not None)


@pytest.mark.parametrize("padding", ["center", "right", "tile"])
def test_what_fills_a_clip_never_becomes_a_frame(manifest_csv: Path, tmp_path: Path, padding: Any) -> None:
    data = make_data(manifest_csv, tmp_path, clip_samples=20_000, padding=padding)
    batch = next(iter(data.test_dataloader()))
    assert batch.lengths.tolist() == [20_000] * len(batch)
    frames, lengths = batch.features["x"]
    for row, name in enumerate(batch.ids):
        own = data.audio.read(name)[::HOP]
        assert frames[row, : lengths[row], 0].tolist() == own.tolist()
        assert not frames[row, lengths[row] :].any()


def test_a_frame_of_the_whole_clip_is_not_cropped(manifest_csv: Path, tmp_path: Path) -> None:
    data = make_data(manifest_csv, tmp_path, FirstSamples(hop_s=None), clip_samples=640)
    for batch in data.train_dataloader():
        frames, lengths = batch.features["x"]
        assert frames.shape == (len(batch), 1, 1)
        assert lengths.tolist() == [1] * len(batch)


def test_loader_processes_read_the_same_frames(manifest_csv: Path, tmp_path: Path) -> None:
    found = []
    for workers in (0, 2):
        batches = list(make_data(manifest_csv, tmp_path, workers=workers).test_dataloader())
        found.append({name: batch.features["x"][0][row].tolist() for batch in batches for row, name in enumerate(batch.ids)})
    assert found[0] == found[1]


def test_statistics_are_those_of_the_training_clips_alone(manifest_csv: Path, tmp_path: Path) -> None:
    def fit() -> tuple[float, float]:
        data = make_data(manifest_csv, tmp_path)
        frontend = NormalizedFrontend(Precomputed("x", 1))
        fit_statistics(frontend, data.plain_train_dataloader())
        frames = torch.cat([torch.from_numpy(data.audio.read(clip.id)[::HOP]) for clip in data.fold.train])
        assert float(frontend.mean) == pytest.approx(float(frames.mean()), abs=1e-6)
        assert float(frontend.deviation) == pytest.approx(float(frames.std(correction=0)), rel=1e-5)
        return float(frontend.mean), float(frontend.deviation)

    before = fit()
    data = make_data(manifest_csv, tmp_path)
    for clip in (*data.fold.test, *data.fold.validation_set):
        soundfile.write(clip.path, 5 * speech_like(hash(clip.id) % 1000, 0.2), 16_000, subtype="FLOAT")
    assert fit() == before
    soundfile.write(data.fold.train[0].path, speech_like(4711, 0.2), 16_000)
    assert fit() != before


def test_features_never_change_the_clips_of_a_batch_without(manifest_csv: Path, tmp_path: Path) -> None:
    plain = SpeechDataModule(ManifestCsvCorpus(manifest_csv), SpeakerFolds(), cache_dir=tmp_path / "cache", batch_size=3)
    for ours, theirs in zip(plain.train_dataloader(), make_data(manifest_csv, tmp_path).train_dataloader(), strict=True):
        assert ours.ids == theirs.ids
        assert torch.equal(ours.waveforms, theirs.waveforms)
        assert ours.features == {}


def test_a_collation_without_features_gives_none(tmp_path: Path, clips: list[Utterance]) -> None:
    from ser_kd.data.dataset import SpeechDataset

    dataset = SpeechDataset(clips, decode(clips, tmp_path), None)
    assert SpeechCollation()([dataset[0], dataset[1]]).features == {}
