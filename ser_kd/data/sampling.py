"""Batches whose order is a function of seed and epoch: shuffled, by length buckets, or balanced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch.utils.data import Sampler

from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.keyed_random import hash_text

Balance = Literal["none", "class"]
_BUCKET_BATCHES = 16


class SharedBatch(NamedTuple):
    """What a process must know of a batch of which it holds a share.

    Args:
        clips: How many it has in all.
        longest: Samples of its longest clip, to which every share is padded: some published models hear the padding.
    """

    clips: int
    longest: int


Place = tuple[int, int] | tuple[int, int, SharedBatch]
"""Epoch, index and, where several processes share a batch, what is to be known of it."""


def check_shares(batch_size: int, processes: int) -> None:
    """Check that a training batch can be shared equally.

    Raises:
        ConfigError: If it cannot.
    """
    if batch_size < 1:
        raise ConfigError(
            "A batch without clips.", expected="datamodule.batch_size of 1 or more", got=f"datamodule.batch_size={batch_size}",
            remedy=f"set datamodule.batch_size={32 * processes}, say",
        )  # fmt: skip
    if batch_size < processes or batch_size % processes:
        above = max(-(-batch_size // processes), 1) * processes
        raise ConfigError(
            "The batch cannot be shared equally.",
            expected=f"datamodule.batch_size as a multiple of {processes}, for it is the batch of all {processes} processes together",
            got=f"datamodule.batch_size={batch_size}",
            remedy=f"set datamodule.batch_size={above}",
        )


class KeyedBatchSampler(Sampler[list[Place]]):
    """Yields batches of (epoch, index), the same for any number of workers.

    The order is that of all processes together, whatever their number. Of W processes each takes clips rank, rank + W, rank + 2W, …
    of every batch and hears beside it how large the batch is in all; nothing is repeated to fill up. A batch with fewer clips than
    processes goes whole to each of them, so that none is left without a step: it counts once all the same (see
    ``SpeechBatch.global_size``). Lightning calls ``set_epoch`` before each epoch.

    Args:
        lengths: Samples per clip, for buckets.
        batch_size: Clips per batch of all processes together.
        seed: Order of the run.
        shuffle: New order each epoch; without it clips stand in manifest order (evaluation).
        bucket_by_length: Put clips of similar length together, so that little is padded: clips are shuffled, sorted by length
            within stretches of 16 batches, cut into batches, and the batches shuffled.
        balance: ``class`` draws clips with replacement, each class equally often.
        class_indices: Class per clip; needed to balance.
        rank: This process.
        world_size: Number of processes.
        drop_last: Leave an incomplete last batch out.
        key_epochs: K: the epoch of a pair, by which clips draw, is that of the order modulo K; None lets each epoch draw anew.

    Raises:
        ConfigError: If the batch size or ``key_epochs`` is below 1, or classes are balanced without knowing them.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        bucket_by_length: bool = False,
        balance: Balance = "none",
        class_indices: Sequence[int] = (),
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        key_epochs: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError("A batch needs clips.", expected="batch_size of 1 or more", got=str(batch_size), remedy="try 64")
        if key_epochs is not None and key_epochs < 1:
            raise ConfigError("Clips need an epoch to draw by.", expected="key_epochs of 1 or more, or None", got=str(key_epochs))
        if balance not in ("none", "class"):
            raise ConfigError(
                "Unknown balance.", expected="none or class", got=str(balance), remedy="set datamodule.balance to one of them"
            )
        if balance == "class" and not any(index >= 0 for index in class_indices):
            raise ConfigError(
                "Clips cannot be balanced without classes.",
                expected="a class for each clip",
                got="no class targets",
                remedy="set datamodule.balance=none",
            )
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.bucket_by_length = bucket_by_length
        self.balance = balance
        self.class_indices = list(class_indices)
        self.rank = rank
        self.world_size = world_size
        self.drop_last = drop_last
        self.key_epochs = key_epochs
        self.epoch = 0
        self._to_skip = 0

    @property
    def sampler(self) -> KeyedBatchSampler:
        """Itself: Lightning looks for ``set_epoch`` at ``batch_sampler.sampler``, not at the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def skip_batches(self, count: int) -> None:
        """Leave out the first batches of the next pass, and only of that one."""
        self._to_skip = count

    def __len__(self) -> int:
        whole, rest = divmod(len(self.lengths), self.batch_size)
        return whole + int(rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[Place]]:
        first, self._to_skip = self._to_skip, 0
        epoch = self.epoch if self.key_epochs is None else self.epoch % self.key_epochs
        for batch in self._global_batches()[first:]:
            if self.world_size == 1:
                yield [(epoch, index) for index in batch]
            else:
                mine = batch if len(batch) < self.world_size else batch[self.rank :: self.world_size]
                shared = SharedBatch(len(batch), max(self.lengths[index] for index in batch))
                yield [(epoch, index, shared) for index in mine]

    def _global_batches(self) -> list[list[int]]:
        generator = torch.Generator().manual_seed(hash_text("order", self.seed, self.epoch) & (2**63 - 1))
        order = self._order(generator)
        size = self.batch_size
        if self.bucket_by_length:
            stretch = size * _BUCKET_BATCHES if self.shuffle else len(order)
            order = [
                index
                for start in range(0, len(order), stretch)
                for index in sorted(order[start : start + stretch], key=lambda i: self.lengths[i])
            ]
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        if self.drop_last and batches and len(batches[-1]) < size:
            batches.pop()
        if self.bucket_by_length and self.shuffle:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        return batches

    def _order(self, generator: torch.Generator) -> list[int]:
        count = len(self.lengths)
        if not self.shuffle:
            return list(range(count))
        if self.balance == "class":
            counts = Counter(index for index in self.class_indices if index >= 0)
            weights = torch.tensor([1.0 / counts[index] if index >= 0 else 0.0 for index in self.class_indices], dtype=torch.float64)
            return torch.multinomial(weights, count, replacement=True, generator=generator).tolist()
        return torch.randperm(count, generator=generator).tolist()
