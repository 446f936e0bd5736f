"""A small folder as MSP-Podcast ships it: consensus, partitions, turns of known and unknown speakers, and a Test3 without labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import soundfile

from tests.conftest import speech_like

CODES = "ASHUFDCNOX"
TALKERS = {
    "Train": ("1", "2", "3", "Unknown"),
    "Development": ("11", "12"),
    "Test1": ("21", "22", "Unknown"),
    "Test2": ("31", "32"),
}
"""Partition -> SpkrID; each talks in a podcast of its own and says every code once."""

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
HIDDEN = 4
"""Turns of Test3."""


def list_rows() -> Iterator[list[str]]:
    """Give the rows of the consensus, Test3 aside."""
    podcast = 0
    for split, speakers in TALKERS.items():
        for number, speaker in enumerate(speakers):
            podcast += 1
            gender = "Unknown" if speaker == "Unknown" else ("Female", "Male")[number % 2]
            for turn, code in enumerate(CODES, start=1):
                seed = 100 * podcast + turn
                values = [f"{1 + 0.1 * (seed * step % 61):.4f}" for step in (7, 11, 13)]  # activation, valence, dominance
                yield [f"MSP-PODCAST_{podcast:04d}_{turn:04d}.wav", code, *values, speaker, gender, split]


def write_msp_podcast(root: Path, seconds: float = 0.0, test3_in_labels: bool = False) -> Path:
    """Write the folder; without a length only the names of the audio.

    Args:
        root: Gets ``Labels``, ``Audios`` and ``Partitions.txt``.
        seconds: Length of each turn.
        test3_in_labels: Whether the consensus lists the turns of Test3, with empty values, or not at all.
    """
    rows = list(list_rows())
    hidden = [f"MSP-PODCAST_test3_{number:04d}.wav" for number in range(1, HIDDEN + 1)]
    (root / "Labels").mkdir(parents=True)
    (root / "Audios").mkdir()
    empty = [[name, "", "", "", "", "", "", "Test3"] for name in hidden] if test3_in_labels else []
    lines = [HEADER, *(",".join(row) for row in [*rows, *empty])]
    (root / "Labels" / "labels_consensus.csv").write_text("\n".join(lines) + "\n")
    listed = [(row[-1], row[0]) for row in rows] + [("Test3", name) for name in hidden]
    (root / "Partitions.txt").write_text("".join(f"{split}; {name}\n" for split, name in listed))
    for seed, (_, name) in enumerate(listed):
        if seconds:
            soundfile.write(root / "Audios" / name, speech_like(seed, seconds), 16_000, subtype="PCM_16")
        else:
            (root / "Audios" / name).touch()
    return root
