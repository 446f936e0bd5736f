"""Noises and rooms in memory: which files, which part of them, and how they are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import ClipSource
from ser_kd.data.clip_bank import ClipBank, HeldClips
from ser_kd.data.synthetic_rooms import SyntheticRooms
from ser_kd.storage.audio_files import read_audio
from tests.conftest import speech_like


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "noises"
    (root / "street").mkdir(parents=True)
    for number in range(10):
        soundfile.write(root / ("street" if number % 2 else "") / f"n{number}.wav", speech_like(number, 0.05 + 0.01 * number), 16_000)
    (root / "readme.txt").write_text("not audio")
    return root


def test_all_files_below_the_folder_at_the_wanted_rate(folder: Path) -> None:
    bank = ClipBank(folder, sample_rate_hz=8_000)
    assert isinstance(bank, ClipSource)
    assert len(bank) == 10
    assert bank.names[:2] == ("n0.wav", "n2.wav")
    assert bank.names[-1] == "street/n9.wav"
    assert bank.sample_rate_hz == 8_000
    expected = read_audio(folder / "street" / "n9.wav", 8_000)
    assert bank.lengths[9] == len(expected) == 1_120
    np.testing.assert_array_equal(bank.take(torch.tensor([9]), torch.tensor([0]), 1_120)[0].numpy(), expected)


def test_stretches_equal_the_plain_loop_and_go_round() -> None:
    clips = torch.arange(30.0).split([3, 7, 20])
    bank = HeldClips(["a", "b", "c"], clips, 16_000)
    indices, offsets = torch.tensor([2, 0, 1, 0]), torch.tensor([19, 1, 6, 0])
    found = bank.take(indices, offsets, 11)
    expected = [[clips[i][(o + place) % len(clips[i])] for place in range(11)] for i, o in zip(indices, offsets, strict=True)]
    assert torch.equal(found, torch.tensor(expected))
    assert torch.equal(offsets, torch.tensor([19, 1, 6, 0]))


def test_splits_share_no_file_and_do_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    names = {split: set(ClipBank(folder, split=split).names) for split in ("train", "validation", "test")}  # type: ignore[arg-type]
    assert [len(found) for found in names.values()] == [6, 2, 2]
    assert set.union(*names.values()) == set(ClipBank(folder).names)
    assert any("/" in name for name in names["train"])
    moved = folder.rename(tmp_path / "elsewhere")
    assert set(ClipBank(moved, split="train").names) == names["train"]


def test_parts_of_each_file_are_disjoint(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", speech_like(1, 0.5), 16_000, subtype="FLOAT")
    whole = read_audio(tmp_path / "long.wav", 16_000)
    parts = [ClipBank(tmp_path, part=part) for part in ((0.0, 0.6), (0.6, 0.8), (0.8, 1.0))]
    joined = torch.cat([bank.take(torch.tensor([0]), torch.tensor([0]), int(bank.lengths[0]))[0] for bank in parts])
    np.testing.assert_array_equal(joined.numpy(), whole)


def test_damaged_and_silent_files_are_named_and_left_out_and_silent_ends_cut(folder: Path) -> None:
    (folder / "broken.wav").write_bytes(b"RIFF nonsense")
    soundfile.write(folder / "silent.wav", np.zeros(500, dtype=np.float32), 16_000)
    soundfile.write(folder / "padded.wav", np.pad(np.full(100, 0.5, dtype=np.float32), 300), 16_000)
    with pytest.warns(UserWarning, match="2 of 13 clips"):
        bank = ClipBank(folder)
    assert set(bank.faults) == {"broken.wav", "silent.wav"}
    assert "cannot be decoded" in bank.faults["broken.wav"]
    assert "silent" in bank.faults["silent.wav"]
    assert bank.lengths[bank.names.index("padded.wav")] == 100


def test_what_is_no_bank_is_told(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="no audio") as fault:
        ClipBank(tmp_path / "nowhere")
    assert "no such folder" in fault.value.got
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no audio"):
        ClipBank(tmp_path / "empty")
    (tmp_path / "empty" / "a.wav").write_bytes(b"")
    with pytest.raises(DataError, match="Too few files"):
        ClipBank(tmp_path / "empty", split="test")
    with pytest.raises(DataError, match="No clip of the folder"):
        ClipBank(tmp_path / "empty")
    with pytest.raises(ConfigError, match="Unknown split"):
        ClipBank(folder, split="dev")  # type: ignore[arg-type]
    for part in ((0.5, 0.5), (-0.1, 1.0), (0.0, 1.1), (0.0,)):
        with pytest.raises(ConfigError, match="no stretch"):
            ClipBank(folder, part=part)  # type: ignore[arg-type]


def test_rooms_decay_by_60_db_within_their_time_and_keep_the_ratio() -> None:
    rooms = SyntheticRooms(4, 0.3, 0.6, 3.0, 3.0)
    assert isinstance(rooms, ClipSource)
    assert len(set(rooms.rt60_s.tolist())) == 4
    for number, rt60_s in enumerate(rooms.rt60_s.tolist()):
        response = rooms.take(torch.tensor([number]), torch.tensor([0]), int(rooms.lengths[number]))[0].double()
        assert len(response) == round(rt60_s * 16_000)
        assert response.abs().argmax() == 0
        assert 10 * torch.log10(response[0] ** 2 / response[1:].square().sum()) == pytest.approx(3.0, abs=1e-3)
        left_db = 10 * torch.log10(response[1:].square().flip(0).cumsum(0).flip(0))  # Schroeder's backward integral
        early, late = (left_db[round(share * rt60_s * 16_000)].item() for share in (0.05, 0.45))
        assert (early - late) / 0.4 == pytest.approx(60.0, abs=5.0)


def test_rooms_follow_their_seed() -> None:
    first, again, other = (SyntheticRooms(2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.rt60_s, again.rt60_s)
    assert not torch.equal(first.rt60_s, other.rt60_s)
    assert first.rt60_s.min() >= 0.2
    assert first.rt60_s.max() <= 0.8
    for arguments in ({"rooms": 0}, {"min_rt60_s": 0.9}, {"min_direct_to_reverberant_db": 20.0}):
        with pytest.raises(ConfigError, match="cannot be built"):
            SyntheticRooms(**arguments)  # type: ignore[arg-type]
