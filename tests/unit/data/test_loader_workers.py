"""Clips come with the same keys, and are augmented alike, for any number of loader processes and any size of batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ser_kd.contracts.utterance import Utterance
from ser_kd.data.collate import SpeechCollation
from ser_kd.data.dataset import SpeechDataset
from ser_kd.data.decoded_audio import decode_corpus
from ser_kd.data.sampling import KeyedBatchSampler
from ser_kd.transforms.chain import Chain
from ser_kd.transforms.gain import Gain
from ser_kd.transforms.gaussian_noise import GaussianNoise
from ser_kd.transforms.pitch_shift import PitchShift
from ser_kd.transforms.time_shift import TimeShift
from tests.conftest import speech_like


@pytest.fixture
def dataset(tmp_path: Path) -> SpeechDataset:
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", speech_like(number, 0.1 + 0.02 * number), 16_000)
    utterances = [Utterance(str(number), tmp_path / f"{number}.wav", "a") for number in range(8)]
    return SpeechDataset(utterances, decode_corpus(utterances, 16_000, tmp_path / "cache"), None, seed=3)


def augmented(dataset: SpeechDataset, workers: int, batch_size: int) -> dict[str, Tensor]:
    """One epoch under the augmentation of system 000: id -> its valid samples."""
    sampler = KeyedBatchSampler(dataset.lengths, batch_size, seed=3)
    sampler.set_epoch(5)
    chain = Chain([GaussianNoise(), Gain(), TimeShift(), PitchShift()])
    found = {}
    for batch in DataLoader(dataset, batch_sampler=sampler, collate_fn=SpeechCollation(1500, random_crop=True), num_workers=workers):
        heard = chain(batch)
        found |= {name: row[:length] for name, row, length in zip(heard.ids, heard.waveforms, heard.lengths, strict=True)}
    return found


def test_two_workers_and_other_batches_hear_the_same(dataset: SpeechDataset) -> None:
    torch.manual_seed(1)
    alone = augmented(dataset, workers=0, batch_size=3)
    assert len(alone) == 8
    torch.manual_seed(2)
    for workers, batch_size, tolerance in ((2, 3, 0.0), (0, 8, 1e-6), (0, 1, 1e-6)):
        other = augmented(dataset, workers, batch_size)
        for name, clip in alone.items():
            torch.testing.assert_close(other[name], clip, rtol=0, atol=tolerance)
