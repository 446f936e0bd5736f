from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.storage.atomic import replace_file, write_text
from ser_kd.storage.hashing import hash_bytes, hash_data, hash_file


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")

    def break_off() -> None:
        with replace_file(path) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert path.read_text() == "old"
    write_text(path, "new")
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    assert path.read_text() == "new"


def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(DataError, match="disk is full"), replace_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        write_text(tmp_path / "file" / "below.txt", "y")


def test_hashes(tmp_path: Path) -> None:
    assert hash_data({"a": [1, 2]}) != hash_data({"a": [2, 1]})
    (tmp_path / "f").write_bytes(b"abc")
    assert hash_file(tmp_path / "f") == hash_bytes(b"abc")
    assert len(hash_data({}, 7)) == 7
