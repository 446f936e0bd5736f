"""Files read in blocks are what they are read whole, and what is cut off is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_kd.contracts.errors import DataError
from ser_kd.storage.audio_files import read_audio, resample
from ser_kd.storage.audio_stream import BLOCK_VALUES, AudioStream, StreamResampler
from ser_kd.storage.cut_files import NO_END_MARK, check_not_cut
from tests.conftest import speech_like

FORMATS = {
    "wav": "PCM_16", "rf64": "PCM_24", "w64": "PCM_16", "aiff": "PCM_16", "au": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "opus": "OPUS",
    "mp3": "MPEG_LAYER_III",
}  # fmt: skip


def write(folder: Path, suffix: str, channels: int = 1, seconds: float = 4.0, rate: int = 16_000) -> Path:
    path = folder / f"whole.{suffix}"
    samples = np.stack([speech_like(seed, seconds, rate) for seed in range(channels)], axis=1)
    kind = {"opus": "OGG", "au": "AU", "rf64": "RF64", "w64": "W64"}.get(suffix, suffix.upper())
    soundfile.write(path, samples, rate, subtype=FORMATS[suffix], format=kind)
    return path


def read_all(path: Path) -> np.ndarray:
    with AudioStream(path) as audio:
        return np.concatenate(list(audio.blocks()))


@pytest.mark.parametrize("suffix", FORMATS)
def test_blocks_are_the_whole_file(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix, channels=2)
    with AudioStream(path) as audio:
        assert (audio.sample_rate_hz, audio.channels, audio.notes) == (16_000, 2, ())
        assert audio.samples == 64_000
        blocks = list(audio.blocks())
    assert max(map(len, blocks)) * 2 <= BLOCK_VALUES
    assert len(blocks) > 2
    # mpg123's answer hangs on the last bit upon whether one has sought
    np.testing.assert_allclose(np.concatenate(blocks), read_audio(path, 16_000), atol=1e-6 if suffix == "mp3" else 0, rtol=0)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 96_000])
def test_resampling_as_it_comes_is_resampling_at_once(rate: int) -> None:
    samples = speech_like(1, 1.3, rate)
    random = np.random.default_rng(0)
    resampler = StreamResampler(rate, 16_000)
    cuts = np.sort(random.integers(0, len(samples), 25))
    parts = [resampler.push(part) for part in np.split(samples, cuts)]
    together = np.concatenate([*parts, resampler.finish()])
    np.testing.assert_array_equal(together, resample(samples, rate, 16_000))


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix != "w64"])
def test_a_file_cut_off_is_told(tmp_path: Path, suffix: str) -> None:
    data = write(tmp_path, suffix).read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for kept in (0.95, 0.5):
        cut.write_bytes(data[: int(kept * len(data))])
        with pytest.raises(DataError, match="cut off") as told:
            read_all(cut)
        assert "cut." in told.value.got


def test_an_ogg_stream_cut_between_two_pages_is_a_remark(tmp_path: Path) -> None:
    data = write(tmp_path, "ogg", seconds=20).read_bytes()
    cut = tmp_path / "cut.ogg"
    cut.write_bytes(data[: data.rfind(b"OggS")])
    with AudioStream(cut) as audio:
        assert audio.notes == (NO_END_MARK,)
        assert sum(map(len, audio.blocks())) > 0


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_written_into_a_pipe_has_no_size_and_is_no_fault(tmp_path: Path, size: int) -> None:
    path = write(tmp_path, "wav")
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)
    with AudioStream(path) as audio:  # that it is no cut file is all we say; what libsndfile makes of it is its affair
        assert audio.notes == ()


def test_an_mp3_behind_an_id3_tag_is_measured_from_its_first_frame(tmp_path: Path) -> None:
    data = write(tmp_path, "mp3").read_bytes()
    tagged = tmp_path / "tagged.mp3"
    tag = b"ID3\x04\x00\x00\x00\x00\x10\x00" + bytes(0x10 << 7)
    tagged.write_bytes(tag + data)
    assert len(read_all(tagged)) > 60_000
    tagged.write_bytes(tag + data[:-1000])
    with pytest.raises(DataError, match="cut off"):
        check_not_cut(tagged, "tagged.mp3")


@pytest.mark.parametrize(
    ("content", "problem"), [(b"", "Audio is empty"), (b"plain text, renamed " * 9, "cannot be decoded"), (None, "is missing")]
)
def test_what_is_no_audio_is_told(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as told:
        AudioStream(path, "my name")
    assert "my name" in told.value.got
