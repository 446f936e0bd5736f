"""Tensors on disk by key, in checked shards that are read through a memory map."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ser_kd.contracts.errors import DataError
from ser_kd.storage.atomic import explain_write_fault, replace_file, write_text
from ser_kd.storage.hashing import hash_bytes, hash_data, hash_file
from ser_kd.storage.locks import try_lock

INDEX = "index.json"
LOCK = ".lock"
_VERSION = 1
_OFFSETS = "offsets of "
_SHARD_NAME = re.compile(r"shard-[0-9a-f]{16}\.safetensors")

Row = Mapping[str, Tensor]
"""Name -> tensor of one axis or more: what stands under one key."""


@dataclass(frozen=True)
class _Shard:
    file: str
    size_bytes: int
    checksum: str
    keys: list[str]


class _OpenShard:
    """The tensors of one shard, mapped and not read."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open  # late: only here

        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
        self.offsets = {name.removeprefix(_OFFSETS): value.tolist() for name, value in tensors.items() if name.startswith(_OFFSETS)}
        self.joined = {name: tensors[name] for name in self.offsets}

    def read(self, number: int) -> dict[str, Tensor]:
        return {name: self.joined[name][first[number] : first[number + 1]] for name, first in self.offsets.items()}


class TensorShelf:
    """Rows of named tensors under keys, in a folder that says what it was made for.

    Rows are joined along their first axis into safetensors files, the shards, whose names are hashes of their content; an index names
    each with its size, checksum and keys. Shards and index are written whole or not at all, the index last, so that a killed builder
    leaves what it had finished. Opening reads every shard once to check it. One that is missing, cut short, damaged or of another
    shelf is told in a line and its keys count as absent, and so is an index that is unreadable or was made for something else.

    Args:
        folder: Where the shelf lies or will lie; nothing is made before the first row.
        identity: What its rows depend on, as plain data; rows of another identity are never read.
        about: Further plain data for readers, which decides nothing.
        tell: Called with one line for each part that cannot be used.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], about: Mapping[str, Any] | None = None, tell: Callable[[str], None] = print
    ) -> None:
        self.folder = folder
        self.identity = json.loads(json.dumps(identity))  # as it comes back from disk: tuples are lists there
        self.about = dict(about or {})
        self._tell = tell
        self._told: set[str] = set()
        self._shards: list[_Shard] = []
        self._opened: list[_OpenShard] = []
        self._places: dict[str, tuple[int, int]] = {}
        self.reload()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size_bytes(self) -> int:
        """Size of its shards."""
        return sum(shard.size_bytes for shard in self._shards)

    def reload(self) -> None:
        """Read the index anew and check every shard that was not checked before."""
        known = {shard.checksum: opened for shard, opened in zip(self._shards, self._opened, strict=True)}
        self._shards, self._opened, self._places = [], [], {}
        for shard in self._read_index():
            opened = known.get(shard.checksum)
            if opened is None:
                reason = self._find_fault(shard)
                if reason:
                    self._say(f"{self.folder / shard.file} {reason}: its {len(shard.keys)} rows are made again")
                    continue
                opened = _OpenShard(self.folder / shard.file)
            self._take_in(shard, opened)
        if self._shards:
            with suppress(OSError):  # when it was last used, for whoever makes room; a shared folder may be read-only
                os.utime(self.folder / INDEX)

    def read(self, key: str) -> dict[str, Tensor]:
        """Give a key's row.

        Returns:
            Name -> tensor in the memory map: copy it before it is written to.

        Raises:
            KeyError: If there is no such key.
        """
        shard, number = self._places[key]
        return self._opened[shard].read(number)

    def add(self, rows: Mapping[str, Row]) -> None:
        """Write rows as one shard (or one for each set of names that occurs) and enter it into the index.

        Args:
            rows: Key -> row; tensors of one name differ in their first axis alone.

        Raises:
            DataError: If the folder cannot be written or the disk is full; what was written before stays.
        """
        alike: dict[tuple[str, ...], dict[str, Row]] = {}
        for key, row in rows.items():
            alike.setdefault(tuple(sorted(row)), {})[key] = row
        for names, group in alike.items():
            self._write(names, group)
        entries = [asdict(shard) for shard in self._shards]
        index = {"version": _VERSION, "identity": self.identity, "about": self.about, "shards": entries}
        write_text(self.folder / INDEX, json.dumps(index, indent=1))

    def clear(self) -> None:
        """Forget all rows, and delete them with the next ones that are built.

        Raises:
            DataError: If the folder cannot be written.
        """
        try:
            (self.folder / INDEX).unlink(missing_ok=True)
        except OSError as fault:
            raise explain_write_fault(self.folder / INDEX, fault) from fault
        self._shards, self._opened, self._places = [], [], {}

    @contextmanager
    def building(self, patience_s: float = 300.0) -> Iterator[Callable[[], None]]:
        """Keep other processes from building the same shelf at the same time; whoever waited finds their rows.

        The lock dies with the process that holds it. A builder that is stuck is not waited for longer than ``patience_s`` after its
        last sign of life.

        Args:
            patience_s: See above, seconds.

        Yields:
            A function to be called from time to time as a sign of life.

        Raises:
            DataError: If the folder cannot be written, or another builder does not go on.
        """
        path = self.folder / LOCK
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
        except OSError as fault:
            raise explain_write_fault(path, fault) from fault
        with file:
            if not try_lock(file.fileno()):
                self._say(f"another process builds {self.folder}: waiting for it")
                self._wait(file.fileno(), path, patience_s)
            with suppress(OSError):
                os.utime(path)  # else whoever comes next would take the last builder's sign of life for this one's
            self.reload()
            self._sweep()
            yield lambda: os.utime(path)

    def _wait(self, handle: int, path: Path, patience_s: float) -> None:
        while not try_lock(handle):
            with suppress(FileNotFoundError):  # swept away while it was waited for
                if time.time() - path.stat().st_mtime > patience_s:
                    raise DataError(
                        "Another process builds this cache and does not go on.",
                        expected=f"a sign of life within {patience_s:g} s",
                        got=f"none in {path}",
                        remedy="end that process: its lock goes with it",
                    )
            time.sleep(min(0.2, patience_s))

    def _say(self, line: str) -> None:
        if line not in self._told:  # what was found bad at opening is still bad when the shelf is read anew to mend it
            self._told.add(line)
            self._tell(line)

    def _sweep(self) -> None:
        """Delete shards that no index names: left by a killed builder, or damaged."""
        named = {shard.file for shard in self._shards}
        for path in self.folder.iterdir():
            if _SHARD_NAME.fullmatch(path.name) and path.name not in named:
                path.unlink(missing_ok=True)

    def _read_index(self) -> list[_Shard]:
        path = self.folder / INDEX
        if not path.is_file():
            return []
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            if index["version"] != _VERSION:
                reason = f"is of version {index['version']}, not {_VERSION}"
            elif index["identity"] != self.identity:
                reason = "was made for something else"
            else:
                return [_Shard(**shard) for shard in index["shards"]]
        except (OSError, ValueError, KeyError, TypeError) as fault:
            reason = f"cannot be read ({type(fault).__name__})"
        self._say(f"{path} {reason}: all rows are made again")
        return []

    def _find_fault(self, shard: _Shard) -> str:
        path = self.folder / shard.file
        try:
            size = path.stat().st_size
            if size < shard.size_bytes:
                return f"is cut short ({size} of {shard.size_bytes} bytes)"
            if size == shard.size_bytes and hash_file(path, 64) == shard.checksum:
                return ""
        except OSError as fault:
            return "is missing" if fault.errno == errno.ENOENT else f"cannot be read ({fault.strerror})"
        return "belongs to another shelf" if _read_owner(path) not in ("", hash_data(self.identity)) else "is damaged"

    def _write(self, names: tuple[str, ...], rows: Mapping[str, Row]) -> None:
        from safetensors.torch import save  # late: only here

        tensors = {}
        for name in names:
            parts = [row[name] for row in rows.values()]
            tensors[name] = torch.cat(parts)
            tensors[_OFFSETS + name] = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)
        # to bytes first: what fails from here on is an error of the disk and told as one
        data = save(tensors, {"identity": hash_data(self.identity)})
        checksum = hash_bytes(data, 64)
        shard = _Shard(f"shard-{checksum[:16]}.safetensors", len(data), checksum, list(rows))
        with replace_file(self.folder / shard.file) as part:
            part.write_bytes(data)
        self._take_in(shard, _OpenShard(self.folder / shard.file))

    def _take_in(self, shard: _Shard, opened: _OpenShard) -> None:
        self._shards.append(shard)
        self._opened.append(opened)
        self._places |= {key: (len(self._shards) - 1, number) for number, key in enumerate(shard.keys)}


def _read_owner(path: Path) -> str:
    from safetensors import safe_open  # late: only here

    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("identity", "another program's"))
    except Exception:  # the library has its own errors for what is no such file
        return ""
