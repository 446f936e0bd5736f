"""The way of a clip: file, decoded cache, dataset, batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.collate import SpeechCollation, choose_evaluation_length
from ser_kd.data.dataset import SpeechDataset
from ser_kd.data.decoded_audio import decode_corpus
from ser_kd.storage.audio_files import read_audio
from tests.conftest import speech_like

LABELS = LabelSet("pair", ("angry", "sad"))


def write(path: Path, seed: int = 0, seconds: float = 0.3, rate: int = 16_000, **options: str) -> Path:
    soundfile.write(path, speech_like(seed, seconds, rate), rate, **options)
    return path


@pytest.fixture
def clips(tmp_path: Path) -> list[Utterance]:
    return [
        Utterance(f"c{i}", write(tmp_path / f"c{i}.wav", i, 0.2 + 0.1 * i), f"s{i}", ("angry", "sad", None)[i], arousal=0.5 if i else None)
        for i in range(3)
    ]


def test_flac_wav_stereo_and_rates_come_out_alike(tmp_path: Path) -> None:
    mono = speech_like(1, 0.5, 48_000)
    soundfile.write(tmp_path / "a.wav", np.stack([mono, mono], axis=1), 48_000, subtype="PCM_16")
    soundfile.write(tmp_path / "a.flac", mono, 48_000, subtype="PCM_16")
    stereo, flac = read_audio(tmp_path / "a.wav", 16_000), read_audio(tmp_path / "a.flac", 16_000)
    assert stereo.dtype == np.float32
    assert len(stereo) == 8_000
    np.testing.assert_allclose(stereo, flac, atol=1e-4)  # the two encoders round to 16 bits differently


def test_a_stretch_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", seconds=1.0)
    whole = read_audio(path, 16_000)
    np.testing.assert_array_equal(read_audio(path, 16_000, 0.25, 0.5), whole[4_000:8_000])
    np.testing.assert_array_equal(read_audio(path, 16_000, 0.9, 7.0), whole[14_400:])
    with pytest.raises(DataError, match="stretch is empty"):
        read_audio(path, 16_000, 1.5)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda p: p.write_bytes(b""), "cannot be decoded"),
        (lambda p: p.write_bytes(b"RIFF nonsense"), "cannot be decoded"),
        (lambda p: soundfile.write(p, np.zeros(0, dtype=np.float32), 16_000), "is empty"),
        (lambda p: soundfile.write(p, np.array([0.1, np.nan], dtype=np.float32), 16_000, subtype="FLOAT"), "NaN or infinity"),
        (lambda p: None, "is missing"),
    ],
)
def test_damaged_audio_is_named_and_the_others_go_on(tmp_path: Path, clips: list[Utterance], make, match: str) -> None:
    bad = tmp_path / "bad.wav"
    make(bad)
    with pytest.raises(DataError, match=match):
        read_audio(bad, 16_000)
    decoded = decode_corpus([*clips, Utterance("bad", bad, "s", "sad")], 16_000, tmp_path / "cache")
    assert set(decoded.offsets) == {"c0", "c1", "c2"}
    assert match in decoded.faults["bad"]


def test_the_cache_gives_back_what_was_decoded_and_decodes_once(tmp_path: Path, clips: list[Utterance], monkeypatch) -> None:
    seen: list[tuple[int, int]] = []
    decoded = decode_corpus(clips, 16_000, tmp_path / "cache", lambda done, total: seen.append((done, total)))
    for clip in clips:
        np.testing.assert_array_equal(decoded.read(clip.id), read_audio(clip.path, 16_000))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr("ser_kd.data.decoded_audio.read_audio", lambda *_: pytest.fail("decoded again"))
    again = decode_corpus(clips, 16_000, tmp_path / "cache")
    assert again.audio_hashes == decoded.audio_hashes


def test_a_changed_file_or_a_cut_cache_is_decoded_anew(tmp_path: Path, clips: list[Utterance]) -> None:
    decoded = decode_corpus(clips, 16_000, tmp_path / "cache")
    write(clips[0].path, seed=99, seconds=0.25)
    changed = decode_corpus(clips, 16_000, tmp_path / "cache")
    assert changed.audio_hashes["c0"] != decoded.audio_hashes["c0"]
    assert changed.length_of("c0") == 4_000
    samples = changed.folder / "samples.f32"
    samples.write_bytes(samples.read_bytes()[:100])
    np.testing.assert_array_equal(decode_corpus(clips, 16_000, tmp_path / "cache").read("c2"), read_audio(clips[2].path, 16_000))


def test_a_cache_that_cannot_be_written_is_one_message(tmp_path: Path, clips: list[Utterance]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        decode_corpus(clips, 16_000, tmp_path / "file")


def make_dataset(tmp_path: Path, clips: list[Utterance], seed: int = 0) -> SpeechDataset:
    return SpeechDataset(clips, decode_corpus(clips, 16_000, tmp_path / "cache"), LABELS, seed)


def test_keys_follow_seed_epoch_and_id_alone(tmp_path: Path, clips: list[Utterance]) -> None:
    dataset = make_dataset(tmp_path, clips)
    reverse = make_dataset(tmp_path, clips[::-1])
    assert dataset[(3, 0)].key == reverse[(3, 2)].key
    assert len({dataset[(0, 0)].key, dataset[(1, 0)].key, dataset[(0, 1)].key, make_dataset(tmp_path, clips, 1)[(0, 0)].key}) == 4


def test_masked_batches_keep_clips_whole(tmp_path: Path, clips: list[Utterance]) -> None:
    dataset = make_dataset(tmp_path, clips)
    batch = SpeechCollation()([dataset[i] for i in range(3)])
    assert batch.waveforms.shape == (3, 6_400)
    assert batch.lengths.tolist() == [3_200, 4_800, 6_400]
    assert not batch.waveforms[0, 3_200:].any()
    assert batch.classes is not None
    assert batch.classes.tolist() == [0, 1, -1]
    assert batch.dimension_mask is not None
    assert batch.dimension_mask.tolist() == [[False] * 3, [True, False, False], [True, False, False]]
    assert batch.model_input().keys is batch.keys


def test_fixed_padding_centres_and_counts_zeros_as_signal(tmp_path: Path, clips: list[Utterance]) -> None:
    dataset = make_dataset(tmp_path, clips)
    centre = SpeechCollation(5_000, "center")([dataset[i] for i in range(3)])
    assert centre.lengths.tolist() == [5_000] * 3
    torch.testing.assert_close(centre.waveforms[0, 900:4_100], dataset[0].waveform)
    assert not centre.waveforms[0, :900].any()
    torch.testing.assert_close(centre.waveforms[2], dataset[2].waveform[700:5_700])
    right = SpeechCollation(5_000, "right")([dataset[0]])
    torch.testing.assert_close(right.waveforms[0, :3_200], dataset[0].waveform)


def test_random_crop_is_drawn_by_key(tmp_path: Path, clips: list[Utterance]) -> None:
    dataset = make_dataset(tmp_path, clips)
    collate = SpeechCollation(1_000, random_crop=True)
    alone = collate([dataset[(5, 2)]]).waveforms[0]
    torch.testing.assert_close(collate([dataset[(5, 0)], dataset[(5, 2)]]).waveforms[1], alone)
    others = [collate([dataset[(epoch, 2)]]).waveforms[0] for epoch in range(4)]
    assert any(not torch.equal(other, alone) for other in others)


def test_tiled_clips_are_repeated_until_the_length_is_full(tmp_path: Path, clips: list[Utterance]) -> None:
    dataset = make_dataset(tmp_path, clips)
    tiled = SpeechCollation(5_000, "tile")([dataset[i] for i in range(3)])
    assert tiled.lengths.tolist() == [5_000] * 3
    for row, clip in zip(tiled.waveforms, dataset, strict=False):
        whole = clip.waveform.numpy()
        first = (len(whole) - 5_000) // 2 if len(whole) > 5_000 else 0
        np.testing.assert_array_equal(row, [whole[(first + place) % len(whole)] for place in range(5_000)])


def test_a_model_is_judged_by_fitted_or_whole_clips() -> None:
    assert choose_evaluation_length(5_000, "tile", "fitted") == (5_000, "tile")
    assert choose_evaluation_length(5_000, "tile", "whole") == (None, "masked")
    with pytest.raises(ConfigError, match="evaluation_clips"):
        choose_evaluation_length(5_000, "tile", "half")  # type: ignore[arg-type]


def test_padding_without_a_length() -> None:
    with pytest.raises(ConfigError, match="needs a fixed length"):
        SpeechCollation(None, "center")
    with pytest.raises(ConfigError, match="Unknown padding"):
        SpeechCollation(10, "left")  # type: ignore[arg-type]
