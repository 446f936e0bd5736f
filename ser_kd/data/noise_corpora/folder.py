"""Any folder of noises: MUSAN, ESC-50, or your own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from ser_kd.contracts.errors import DataError
from ser_kd.data.clip_bank import read_clips
from ser_kd.data.noise_corpora.noise_corpus import NoiseCorpus
from ser_kd.storage.audio_files import AUDIO_SUFFIXES, list_audio


class FolderNoise(NoiseCorpus):
    """Noises by subfolder: the first folder below the root is the type (MUSAN: ``root=musan/noise`` has free-sound and sound-bible).

    In ESC-50's own layout (``audio/``, ``meta/esc50.csv``) the type is the category, such as ``rain`` or ``engine``. Files that lie in the
    root itself are of the type ``other``. Of a type with five files or more each file goes to one split; fewer files are cut by time.
    Digital silence at both ends of a file is cut off; files that cannot be used are left out with a warning. What is drawn is a file, so a
    type with more files is heard more often. The licence is that of the folder.

    Args:
        root: The folder.
        types: Those wanted; None is all that are there.
        held_out: Those that training and validation never hear.
        noise_split: See ``NoiseCorpus``.
        guard_s: See ``NoiseCorpus``.
        sample_rate_hz: That of the speech.

    Raises:
        ConfigError: See ``NoiseCorpus``.
        DataError: If the folder is missing or holds no audio, or ESC-50's table does not fit its files.
    """

    name = "folder"
    licence = "that of the folder"

    def __init__(
        self,
        root: str | Path,
        types: Sequence[str] | None = None,
        held_out: Sequence[str] = (),
        noise_split: Literal["time", "paper"] = "time",
        guard_s: float = 1.0,
        sample_rate_hz: int = 16_000,
    ) -> None:
        self.root = Path(root)
        self._files = _sort_files(self.root)
        super().__init__(sorted(self._files), types, held_out, noise_split, guard_s, sample_rate_hz)

    def list_recordings(self, noise_type: str) -> list[str]:
        """Name the files of a type below the root."""
        return list(self._files[noise_type])

    def read_recordings(self, noise_type: str, recordings: Sequence[str]) -> dict[str, Tensor]:
        """Read files whole, without the digital silence at their ends; those that cannot be used are named in a warning.

        Raises:
            DataError: If none can be used.
        """
        clips, _ = read_clips(self.root, {name: self._files[noise_type][name] for name in recordings}, self.sample_rate_hz)
        return clips


def _sort_files(root: Path) -> dict[str, dict[str, Path]]:
    files = list_audio(root)
    if not files:
        raise DataError(
            "There is no audio for the noises.",
            expected=f"a folder with audio files ({', '.join(AUDIO_SUFFIXES)}), by type in subfolders",
            got=f"{root}: {'none of them' if root.is_dir() else 'no such folder'}",
            remedy="set noise.root to the folder of your noises",
        )
    table = root / "meta" / "esc50.csv"
    categories = _read_esc50(table) if table.is_file() else None
    sorted_files: dict[str, dict[str, Path]] = {}
    for name, path in files.items():
        if categories is None:
            kind = name.split("/")[0] if "/" in name else "other"
        elif path.name in categories:
            kind = categories[path.name]
        else:
            continue
        sorted_files.setdefault(kind, {})[name] = path
    if not sorted_files:
        raise DataError(
            "The table of ESC-50 names none of the files.",
            expected="the files of audio/ in the column filename",
            got=f"{table}: {len(categories or {})} rows, none of them among {len(files)} audio files",
            remedy="copy ESC-50 again, whole",
        )
    return sorted_files


def _read_esc50(table: Path) -> dict[str, str]:
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"filename", "category"} <= set(rows[0]):
        raise DataError(
            "The table of ESC-50 cannot be used.",
            expected="rows with the columns filename and category",
            got=f"{table}: {', '.join(rows[0]) if rows else 'no rows'}",
            remedy="copy ESC-50 again, whole",
        )
    return {row["filename"]: row["category"] for row in rows}
