"""What the command line of ``ser-kd predict`` asks for, and which recordings it means."""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime.faults import raise_faults
from ser_kd.runtime.plain_words import split_plain_words
from ser_kd.storage.audio_files import AUDIO_SUFFIXES, list_audio

DEFAULTS = {
    "format": "table", "out": "", "per": "file", "window_s": "", "hop_s": "", "abstain_below": "0", "embedding": "false", "threads": "",
    "provider": "",
}  # fmt: skip
CHOICES = {
    "format": ("table", "jsonl", "csv"), "per": ("file", "window"), "embedding": ("true", "false"), "provider": ("", "cpu", "cuda"),
}  # fmt: skip
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class PredictArguments:
    """What the command line asked for.

    Args:
        model: The model file.
        sources: Files, folders and ``-`` for standard input, as typed.
        format: ``table``, ``jsonl`` or ``csv``.
        out: File of the rows; None is standard output.
        per: A row for each ``file`` or each ``window``.
        window_s: Seconds, ``whole``, or None for the model's own.
        hop_s: Seconds, or None for half a window.
        abstain_below: Smallest probability that names a class.
        embedding: Whether JSON lines hold it.
        threads: None is as many as the process may use.
        provider: ``cpu``, ``cuda`` or None for what the model asks for.
    """

    model: str
    sources: tuple[str, ...]
    format: str
    out: Path | None
    per: str
    window_s: float | Literal["whole"] | None
    hop_s: float | None
    abstain_below: float
    embedding: bool
    threads: int | None
    provider: str | None


@dataclass(frozen=True)
class Recording:
    """One audio file that is meant.

    Args:
        name: As the user knows it.
        path: Where it lies.
        size_bytes: Its size; 0 where it is missing.
    """

    name: str
    path: Path
    size_bytes: int


def read_arguments(arguments: Sequence[str]) -> PredictArguments:
    """Read the words behind the verb.

    Raises:
        ConfigError: All faults together: unknown keys and values, numbers out of range, no model, nothing to predict.
    """
    given, words, faults = split_plain_words("predict", arguments, tuple(DEFAULTS))
    values = DEFAULTS | given
    faults += _find_wrong_values(values)
    if len(words) < 2:
        faults.append(
            ConfigError(
                "Nothing is named to predict." if words else "No model is named.",
                expected="a model file, then files, folders or - for standard input",
                got=" ".join(words) or "no word without =",
                remedy="such as ser-kd predict model.onnx recordings/",
            )
        )
    raise_faults(faults)
    window = values["window_s"]
    return PredictArguments(
        model=words[0],
        sources=tuple(words[1:]),
        format=values["format"],
        out=Path(values["out"]) if values["out"] else None,
        per=values["per"],
        window_s="whole" if window == "whole" else float(window) if window else None,
        hop_s=float(values["hop_s"]) if values["hop_s"] else None,
        abstain_below=float(values["abstain_below"]),
        embedding=values["embedding"] == "true",
        threads=int(values["threads"]) if values["threads"] else None,
        provider=values["provider"] or None,
    )


def find_recordings(sources: Sequence[str], stack: ExitStack) -> tuple[list[Recording], list[DataError]]:
    """Find the recordings that files, folders and ``-`` mean; each once, however often it is named.

    Args:
        sources: As typed.
        stack: What is read from standard input lies in a temporary folder until this is left, for most formats must be searched in.

    Returns:
        The recordings in the order of the words, those of a folder by name, and what is wrong with folders and standard input.
    """
    found: dict[Path, Recording] = {}
    faults = []
    for source in dict.fromkeys(sources):
        path = Path(source)
        try:
            if source == STANDARD_INPUT:
                paths = [("standard input", _spool_standard_input(stack))]
            elif path.is_dir():
                paths = [(str(inner), inner) for inner in list_audio(path).values()]
                if not paths:
                    raise DataError(
                        "The folder holds no audio.",
                        expected=f"files that end in {', '.join(AUDIO_SUFFIXES)}, at any depth",
                        got=f"{source}: none",
                        remedy="check the path",
                    )
            else:
                paths = [(source, path)]
        except DataError as fault:
            faults.append(fault)
            continue
        for name, place in paths:
            found.setdefault(place.resolve(), Recording(name, place, place.stat().st_size if place.is_file() else 0))
    return list(found.values()), faults


def _spool_standard_input(stack: ExitStack) -> Path:
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError(
            "Standard input is a terminal.", expected="an audio file", got="-", remedy="such as cat a.wav | ser-kd predict m.onnx -"
        )
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ser_kd_"))) / "standard_input"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def check_out_is_free(out: Path | None, model: Path, recordings: Sequence[Recording]) -> None:
    """Check that the rows would not be written over the model or a recording.

    Raises:
        ConfigError: If they would.
    """
    if out is not None and out.resolve() in {path.resolve() for path in (model, *(recording.path for recording in recordings))}:
        raise ConfigError("'out' is one of the inputs.", expected="a file of its own", got=f"out={out}", remedy="choose another name")


def _find_wrong_values(values: Mapping[str, str]) -> list[ConfigError]:
    faults = []
    for key, choices in CHOICES.items():
        if values[key] not in choices:
            named = [choice for choice in choices if choice]
            remedy = suggest(values[key], named) or f"set {key} to one of them"
            faults.append(ConfigError(f"Unknown {key}.", expected=f"one of {', '.join(named)}", got=values[key], remedy=remedy))
    for key, lowest, highest, words in (
        ("window_s", 0.0, math.inf, ("", "whole")), ("hop_s", 0.0, math.inf, ("",)), ("abstain_below", -1e-9, 1.0, ()),
    ):  # fmt: skip
        if values[key] not in words and not lowest < _read_number(values[key]) <= min(highest, sys.float_info.max):
            wanted = "a number from 0 to 1" if key == "abstain_below" else "seconds above 0" + (" or whole" if "whole" in words else "")
            example = {"window_s": "5", "hop_s": "2.5", "abstain_below": "0.5"}[key]
            faults.append(ConfigError(f"'{key}' cannot be.", expected=wanted, got=values[key], remedy=f"such as {key}={example}"))
    if values["threads"] and not (values["threads"].isdecimal() and int(values["threads"]) > 0):
        faults.append(
            ConfigError("'threads' cannot be.", expected="a whole number above 0", got=values["threads"], remedy="such as threads=1")
        )
    if values["embedding"] == "true" and values["format"] != "jsonl":
        faults.append(
            ConfigError("Embeddings need JSON lines.", expected="format=jsonl", got=f"format={values['format']}", remedy="add format=jsonl")
        )
    return faults


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
