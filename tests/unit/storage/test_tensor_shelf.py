from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ser_kd.contracts.errors import DataError
from ser_kd.storage.shelf_notes import list_shelves, read_note, remove_shelf
from ser_kd.storage.tensor_shelf import INDEX, TensorShelf

ROWS = {f"clip{n}": {"logits": torch.arange(3.0) + n, "frames": torch.full((n + 1, 2), float(n)).half()} for n in range(5)}


def make_shelf(folder: Path, told: list[str] | None = None, identity: dict | None = None) -> TensorShelf:
    return TensorShelf(folder, identity or {"teacher": "a", "sizes": (1, 2)}, {"fold": 0}, (told if told is not None else []).append)


def fill(folder: Path, identity: dict | None = None) -> TensorShelf:
    shelf = make_shelf(folder, identity=identity)
    with shelf.building():
        shelf.add({key: ROWS[key] for key in ("clip0", "clip1", "clip2")})
        shelf.add({key: ROWS[key] for key in ("clip3", "clip4")})
    return shelf


def check_rows(shelf: TensorShelf, keys: list[str]) -> None:
    for key in keys:
        row = shelf.read(key)
        assert row.keys() == ROWS[key].keys()
        for name, value in row.items():
            assert value.dtype == ROWS[key][name].dtype
            torch.testing.assert_close(value, ROWS[key][name], rtol=0, atol=0)


def shards(folder: Path) -> list[Path]:
    """The shard of three rows, then that of two."""
    return sorted(folder.glob("shard-*"), key=lambda path: -path.stat().st_size)


def test_rows_come_back_by_key_in_any_order(tmp_path: Path) -> None:
    told: list[str] = []
    fill(tmp_path / "shelf")
    again = make_shelf(tmp_path / "shelf", told)
    assert len(again) == 5
    assert "clip5" not in again
    check_rows(again, ["clip4", "clip0", "clip3", "clip1", "clip2"])
    assert again.size_bytes == sum(path.stat().st_size for path in shards(tmp_path / "shelf"))
    assert told == []
    again.read("clip0")["logits"].zero_()  # in memory alone
    check_rows(make_shelf(tmp_path / "shelf"), ["clip0"])


def test_rows_of_other_names_lie_side_by_side(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path)
    shelf.add({"plain": {"logits": torch.ones(3)}, "masked": {"logits": torch.zeros(3), "mask": torch.tensor([True, False])}})
    again = make_shelf(tmp_path)
    assert again.read("plain").keys() == {"logits"}
    assert again.read("masked")["mask"].tolist() == [True, False]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def put_in_another(path: Path) -> None:
    other = fill(path.parents[1] / "other", {"teacher": "b"})
    path.write_bytes(shards(other.folder)[0].read_bytes())


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(cut_short, "cut short"), (flip_a_bit, "is damaged"), (put_in_another, "another shelf"), (Path.unlink, "is missing")],
)
def test_a_shard_that_cannot_be_trusted_is_told_and_its_rows_are_absent(tmp_path: Path, harm, reason: str) -> None:
    folder, told = tmp_path / "shelf", []
    fill(folder)
    harm(shards(folder)[0])
    shelf = make_shelf(folder, told)
    assert len(told) == 1
    assert reason in told[0]
    assert "3 rows" in told[0]
    assert [key for key in ROWS if key in shelf] == ["clip3", "clip4"]
    check_rows(shelf, ["clip3", "clip4"])
    with shelf.building():
        shelf.add({key: ROWS[key] for key in ("clip0", "clip1", "clip2")})
    again = make_shelf(folder, told := [])
    assert told == []
    assert len(shards(folder)) == 2
    check_rows(again, list(ROWS))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda index: index | {"version": 0}, "version 0"),
        (lambda index: index | {"identity": {"teacher": "b"}}, "something else"),
        (lambda index: {"version": 1}, "cannot be read"),
        (lambda index: [index], "cannot be read"),
        (lambda index: None, "cannot be read"),
    ],
)
def test_a_stale_index_is_told_and_nothing_of_it_is_read(tmp_path: Path, change, reason: str) -> None:
    fill(tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    changed = change(index)
    (tmp_path / INDEX).write_text("{" if changed is None else json.dumps(changed))
    shelf = make_shelf(tmp_path, told := [])
    assert len(told) == 1
    assert reason in told[0]
    assert len(shelf) == 0
    with shelf.building():
        assert shards(tmp_path) == []  # nobody names them any more
        shelf.add(ROWS)
    check_rows(make_shelf(tmp_path), list(ROWS))


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    shelf = fill(tmp_path)
    shelf.clear()
    with shelf.building():
        pass
    assert (tmp_path / "model.safetensors").is_file()
    assert shards(tmp_path) == []


def test_a_builder_that_fails_leaves_what_it_had_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = make_shelf(tmp_path)
    with shelf.building():
        shelf.add({"clip0": ROWS["clip0"]})

        def fail(path: Path, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", fail)
        with pytest.raises(DataError, match="disk is full"):
            shelf.add({"clip1": ROWS["clip1"]})
    monkeypatch.undo()
    again = make_shelf(tmp_path)
    check_rows(again, ["clip0"])
    assert len(again) == 1
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    shelf = make_shelf(tmp_path / "file" / "shelf")
    with pytest.raises(DataError, match="cannot be written"), shelf.building():
        pass


def test_a_stuck_builder_is_not_waited_for_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    program = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.lockf(f, 2); print('held', flush=True); time.sleep(60)"
    shelf = make_shelf(tmp_path, told := [])
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.utime(tmp_path / ".lock", (0, 0))
        with pytest.raises(DataError, match="does not go on"), shelf.building(patience_s=0.1):
            pass
        assert "waiting" in told[0]
        assert not remove_shelf(tmp_path)
        holder.kill()
        holder.wait()
        with shelf.building(patience_s=0.1) as sign_of_life:
            assert (tmp_path / ".lock").stat().st_mtime > 1
            sign_of_life()
            shelf.add(ROWS)
    assert len(make_shelf(tmp_path)) == 5


def test_shelves_are_listed_by_their_last_use_and_removed(tmp_path: Path) -> None:
    names = ("first", "second")
    for name in names:
        fill(tmp_path / name)
    (tmp_path / "empty").mkdir()
    os.utime(tmp_path / "first" / INDEX, (1, 1))
    assert [note.folder.name for note in list_shelves(tmp_path)] == ["first", "second"]
    os.utime(tmp_path / "second" / INDEX, (2, 2))
    reader = make_shelf(tmp_path / "first")  # opening is using
    notes = list_shelves(tmp_path)
    assert [note.folder.name for note in notes] == ["second", "first"]
    assert notes[0].about == {"fold": 0}
    assert notes[0].size_bytes > reader.size_bytes
    assert remove_shelf(tmp_path / "first")
    assert read_note(tmp_path / "first") is None
    check_rows(reader, list(ROWS))  # who was reading it goes on
    assert not remove_shelf(tmp_path / "nowhere")


def test_the_rows_are_views_of_the_file(tmp_path: Path) -> None:
    shelf = fill(tmp_path)
    first: Tensor = shelf.read("clip0")["logits"]
    second: Tensor = shelf.read("clip1")["logits"]
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
