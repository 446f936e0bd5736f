"""The audit that proves, sample by sample, that no noise of the test was heard in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ser_kd.contracts.errors import LeakageError
from ser_kd.data.noise_corpora.noise_corpus import NOISE_SPLITS, NoiseBank, NoiseCorpus, NoisePart, NoiseSplit

BLOCK_S = 0.05
"""Stretches of this length are looked for; a shared one of twice that holds a whole block wherever it lies."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it can be divided out modulo 2^64


@dataclass(frozen=True)
class NoiseAudit:
    """What each split of a noise corpus hears, and what two of them share.

    Args:
        corpus: Name of the corpus.
        noise_split: ``time`` or ``paper``.
        parts: Split -> what it hears.
        shared: One sentence per recording of the test or the validation whose samples sound in an earlier split, too.
    """

    corpus: str
    noise_split: str
    parts: dict[NoiseSplit, tuple[NoisePart, ...]]
    shared: list[str] = field(default_factory=list)

    def raise_if_leaking(self) -> None:
        """Refuse noises that two splits share, unless that was asked for by ``noise_split=paper``.

        Raises:
            LeakageError: With every shared recording.
        """
        if self.shared and self.noise_split != "paper":
            more = f"; and {len(self.shared) - 8} more" if len(self.shared) > 8 else ""
            raise LeakageError(
                f"Noises of '{self.corpus}' are heard in two splits.",
                expected="no stretch of noise in two of train, validation and test",
                got="; ".join(self.shared[:8]) + more,
                remedy="take copies of a recording out of the folder, or ask for noise.noise_split=paper, which is told with every result",
            )

    def describe(self) -> list[str]:
        """Tell which seconds of each recording, or how many recordings, each split hears; one line per type."""
        lines = []
        for noise_type in dict.fromkeys(part.type for split in NOISE_SPLITS for part in self.parts[split]):
            told = []
            for split in NOISE_SPLITS:
                parts = [part for part in self.parts[split] if part.type == noise_type]
                seconds = sum(part.end_s - part.start_s for part in parts)
                if len(parts) == 1:
                    where = "" if parts[0].source == noise_type else f"{parts[0].source}, "
                    told.append(f"{split} {where}{parts[0].start_s:.1f} to {parts[0].end_s:.1f} s")
                else:
                    told.append(f"{split} {len(parts)} recordings, {seconds:.1f} s" if parts else f"{split} never")
            lines.append(f"noise {noise_type}: {'; '.join(told)}")
        return lines


def audit_noise_splits(corpus: NoiseCorpus) -> NoiseAudit:
    """Look for stretches of noise that two splits hear, by content, wherever they lie in either.

    Every block of 50 ms of the test (and of the validation) is looked for at every offset in training (and validation), by a hash that
    rolls over the samples. What is found is equal sample by sample: a copy under another name is, one resampled or played at another
    level is not. Blocks of digital silence or of one constant value do not count.
    """
    banks = {split: corpus.bank(split) for split in NOISE_SPLITS}
    size = max(round(BLOCK_S * corpus.sample_rate_hz), 2)
    blocks = {split: [_hash_windows(clip, size)[::size] for clip in banks[split].clips()] for split in NOISE_SPLITS[1:]}
    shared = []
    for number, earlier in enumerate(NOISE_SPLITS[:-1]):
        later = NOISE_SPLITS[number + 1 :]
        heard = _find_heard(banks[earlier], [block for split in later for block in blocks[split]], size)
        for split in later:
            for part, block in zip(banks[split].parts, blocks[split], strict=True):
                if count := int(np.isin(block, heard).sum()):
                    shared.append(f"{count} of {len(block)} blocks of {split} noise {part.source} sound in {earlier}, too")
    return NoiseAudit(corpus.name, corpus.noise_split, {split: bank.parts for split, bank in banks.items()}, shared)


def _find_heard(earlier: NoiseBank, blocks: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Give the hashes of those blocks that sound anywhere in a bank."""
    every = np.concatenate([np.zeros(0, np.uint64), *blocks])
    wanted = np.unique(every[every != 0])
    heard = np.zeros(len(wanted), dtype=bool)
    for clip in earlier.clips() if len(wanted) else []:
        hashes = _hash_windows(clip, size)
        places = np.searchsorted(wanted, hashes).clip(max=len(wanted) - 1)
        heard[places[wanted[places] == hashes]] = True
    return wanted[heard]


def _hash_windows(clip: Tensor, size: int) -> np.ndarray:
    """Hash the window of each offset: sum over n of x[t + n] f^n modulo 2^64, from running sums.

    Args:
        clip: (T,) float32, hashed by its bits.
        size: Samples of a window, N.

    Returns:
        (T - N + 1,) uint64, empty for a clip shorter than a window; 0 where all samples of a window are equal.
    """
    samples = clip.numpy().view(np.uint32).astype(np.uint64)
    if len(samples) < size:
        return np.zeros(0, np.uint64)
    powers = np.full(len(samples), _FACTOR)
    powers[0] = 1
    np.multiply.accumulate(powers, out=powers)
    inverse = np.full(len(samples), np.uint64(pow(int(_FACTOR), -1, 2**64)))
    inverse[0] = 1
    np.multiply.accumulate(inverse, out=inverse)
    sums = np.concatenate([np.zeros(1, np.uint64), np.add.accumulate(samples * powers)])
    hashes: np.ndarray = (sums[size:] - sums[:-size]) * inverse[: len(samples) - size + 1]
    changes = np.concatenate([[0], np.cumsum(samples[1:] != samples[:-1])])
    hashes[changes[size - 1 :] == changes[: len(samples) - size + 1]] = 0
    return hashes
