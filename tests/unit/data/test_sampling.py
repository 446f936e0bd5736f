from __future__ import annotations

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from ser_kd.contracts.errors import ConfigError
from ser_kd.data.sampling import KeyedBatchSampler, check_shares

LENGTHS = [(i * 37) % 101 + 1 for i in range(100)]


def flat(sampler: KeyedBatchSampler) -> list[int]:
    return [index for batch in sampler for _, index in batch]


@pytest.mark.parametrize("bucket", [False, True])
def test_each_clip_once_and_another_order_each_epoch(bucket: bool) -> None:
    sampler = KeyedBatchSampler(LENGTHS, 8, seed=1, bucket_by_length=bucket)
    first = list(sampler)
    assert sorted(flat(sampler)) == list(range(100))
    assert list(sampler) == first
    assert len(first) == len(sampler) == 13
    sampler.set_epoch(1)
    assert flat(sampler) != [i for b in first for _, i in b]
    assert all(epoch == 1 for batch in sampler for epoch, _ in batch)
    assert list(KeyedBatchSampler(LENGTHS, 8, seed=2, bucket_by_length=bucket)) != first


def test_buckets_waste_less_padding() -> None:
    def waste(bucket: bool) -> int:
        batches = list(KeyedBatchSampler(LENGTHS, 8, bucket_by_length=bucket))
        return sum(max(LENGTHS[i] for _, i in b) * len(b) - sum(LENGTHS[i] for _, i in b) for b in batches)

    assert waste(True) < 0.3 * waste(False)


@pytest.mark.parametrize(("clips", "processes"), [(99, 2), (98, 4), (97, 4)])
@pytest.mark.parametrize("bucket", [False, True])
def test_processes_share_the_batches_of_one(clips: int, processes: int, bucket: bool) -> None:
    def batches(rank: int, of: int) -> list[list[tuple]]:
        return list(KeyedBatchSampler(LENGTHS[:clips], 16, seed=3, bucket_by_length=bucket, rank=rank, world_size=of))

    whole = batches(0, 1)
    parts = [batches(rank, processes) for rank in range(processes)]
    assert {len(part) for part in parts} == {len(whole)}
    for batch, *shares in zip(whole, *parts, strict=True):
        indices = [index for _, index in batch]
        for share in shares:
            assert {told for _, _, told in share} == {(len(batch), max(LENGTHS[index] for index in indices))}
        if len(batch) < processes:
            assert [[index for _, index, _ in share] for share in shares] == [indices] * processes
        else:
            assert [[index for _, index, _ in share] for share in shares] == [indices[rank::processes] for rank in range(processes)]


def test_a_batch_that_cannot_be_shared_equally() -> None:
    check_shares(16, 4)
    for size, advice in ((6, 8), (2, 4)):
        with pytest.raises(ConfigError, match=f"datamodule.batch_size={advice}"):
            check_shares(size, 4)


def test_balanced_draws_each_class_equally_often() -> None:
    classes = [0] * 90 + [1] * 10
    sampler = KeyedBatchSampler([1] * 100, 10, balance="class", class_indices=classes)
    drawn = []
    for epoch in range(30):
        sampler.set_epoch(epoch)
        drawn += [classes[i] for i in flat(sampler)]
    assert 0.45 < sum(drawn) / len(drawn) < 0.55


def test_evaluation_keeps_the_order() -> None:
    assert flat(KeyedBatchSampler(LENGTHS, 7, shuffle=False)) == list(range(100))


def test_drop_last() -> None:
    sampler = KeyedBatchSampler(LENGTHS, 8, drop_last=True)
    assert len(sampler) == 12
    assert all(len(batch) == 8 for batch in sampler)


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="batch needs clips"):
        KeyedBatchSampler(LENGTHS, 0)
    with pytest.raises(ConfigError, match="balanced without classes"):
        KeyedBatchSampler(LENGTHS, 8, balance="class", class_indices=[-1] * 100)
    with pytest.raises(ConfigError, match="Unknown balance"):
        KeyedBatchSampler(LENGTHS, 8, balance="speaker")  # type: ignore[arg-type]


def test_lightning_tells_the_epoch() -> None:
    """Without it every epoch has the same order and the same augmentation, and nothing looks wrong."""

    class Watcher(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.seen: list[list[tuple[int, int]]] = []

        def training_step(self, batch: list[tuple[int, int]], batch_index: int) -> torch.Tensor:
            self.seen.append(batch)
            return self.weight

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    class Numbers(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 16

        def __getitem__(self, index: tuple[int, int]) -> tuple[int, int]:
            return index

    watcher = Watcher()
    loader = DataLoader(Numbers(), batch_sampler=KeyedBatchSampler([1] * 16, 16), collate_fn=list)
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(watcher, loader)
    assert [{epoch for epoch, _ in batch} for batch in watcher.seen] == [{0}, {1}, {2}]
    assert len({tuple(index for _, index in batch) for batch in watcher.seen}) == 3


def test_keys_repeat_after_so_many_epochs_while_the_order_is_new() -> None:
    def draw(epoch: int, key_epochs: int | None) -> list[tuple[int, int]]:
        sampler = KeyedBatchSampler(LENGTHS, 8, seed=1, key_epochs=key_epochs)
        sampler.set_epoch(epoch)
        return [pair for batch in sampler for pair in batch]

    for epoch, key in ((0, 0), (1, 1), (2, 2), (3, 0), (7, 1)):
        pairs = draw(epoch, 3)
        assert {drawn for drawn, _ in pairs} == {key}
        assert [index for _, index in pairs] == [index for _, index in draw(epoch, None)]
    assert draw(0, 3) != draw(3, 3)
    with pytest.raises(ConfigError, match="epoch to draw by"):
        KeyedBatchSampler(LENGTHS, 8, key_epochs=0)
