from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
import torch

from ser_kd.contracts.errors import DataError
from ser_kd.runtime.checkpoint_files import WholeCheckpoints


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"weight": torch.arange(4)}, path)
    assert torch.equal(WholeCheckpoints().load_checkpoint(path)["weight"], torch.arange(4))
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_where_there_is_no_room_the_checkpoint_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"weight": torch.arange(4)}, path)
    limits, heard = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # no file may grow beyond, as on a full disk
    try:
        with pytest.raises(DataError, match=r"(?s)last.ckpt.*what was written before is whole"):
            WholeCheckpoints().save_checkpoint({"weight": torch.rand(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, heard)
    assert torch.equal(WholeCheckpoints().load_checkpoint(path)["weight"], torch.arange(4))
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
