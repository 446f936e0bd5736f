from __future__ import annotations

import contextlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from ser_kd.contracts.errors import DataError
from ser_kd.storage.checkpoints import read_checkpoint


class Hostile:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


def test_tensors_and_plain_data_come_back(tmp_path: Path) -> None:
    content = {"state_dict": {"weight": torch.arange(3.0)}, "epoch": 2, "names": ["a"]}
    torch.save(content, tmp_path / "last.ckpt")
    read = read_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(read["state_dict"]["weight"], content["state_dict"]["weight"])
    assert (read["epoch"], read["names"]) == (2, ["a"])


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, write: Any) -> None:
    trace = tmp_path / "trace"
    write({"state_dict": Hostile(trace)}, tmp_path / "last.ckpt")
    with pytest.raises(DataError, match=r"(?s)no file of tensors and plain data.*last.ckpt.*not to be trusted"):
        read_checkpoint(tmp_path / "last.ckpt")
    assert not trace.exists()
    with contextlib.suppress(RuntimeError):
        torch.load(tmp_path / "last.ckpt", weights_only=False)
    assert trace.exists()  # the trap is a real one


def test_a_damaged_or_missing_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"weight": torch.rand(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"(?s)cannot be read.*last.ckpt.*delete it"):
        read_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read"):
        read_checkpoint(path)
    with pytest.raises(DataError, match="is missing"):
        read_checkpoint(tmp_path / "none.ckpt")
