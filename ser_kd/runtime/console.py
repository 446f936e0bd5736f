"""What is printed for people: plain words everywhere, colour and bars only in a terminal."""

from __future__ import annotations

import importlib.util
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TypeVar

from ser_kd.contracts.errors import SerKdError

Item = TypeVar("Item")

_BOLD, _RED, _GREEN, _YELLOW, _DIM = "1", "31", "32", "33", "2"
_STATE_COLOURS = {"ok": _GREEN, "warn": _YELLOW, "FAIL": _RED}


def is_lively(stream: IO[str]) -> bool:
    """Tell whether a stream is a terminal that can show bars; not so for pipes, files and ``TERM=dumb``."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _paint(text: str, code: str, stream: IO[str]) -> str:
    # NO_COLOR counts when it is set and not empty (no-color.org).
    return f"\x1b[{code}m{text}\x1b[0m" if is_lively(stream) and not os.environ.get("NO_COLOR") else text


def print_line(text: str = "") -> None:
    """Print one line at once, so that a log file shows how far a run is."""
    print(text, flush=True)


def print_heading(text: str) -> None:
    """Print the heading of a stage, with an empty line before it."""
    print_line()
    print_line(_paint(f"── {text} ──" if is_lively(sys.stdout) else f"== {text}", _BOLD, sys.stdout))


def print_error(error: BaseException) -> None:
    """Print an error on the error stream: ours as it is, its first line red; any other with its type's name."""
    text = str(error) if isinstance(error, SerKdError) else f"{type(error).__name__}: {error}"
    first, _, rest = text.partition("\n")
    print(_paint(first, _RED, sys.stderr) + (f"\n{rest}" if rest else ""), file=sys.stderr, flush=True)


def print_values(rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    listed = [(name, str(value)) for name, value in rows]
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        print_line(f"{name:<{width}}  {value}".rstrip())


def print_columns(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers stand right, texts left.

    Args:
        header: Column names.
        rows: One value per column; floats are printed as they are given, so format them first.
    """
    listed = [[str(value) for value in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(header), *listed]) for column in range(len(header))]
    right = [bool(listed) and all(_is_numeric(row[column]) for row in listed) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(f"{cell:>{w}}" if r else f"{cell:<{w}}" for cell, w, r in zip(cells, widths, right, strict=True)).rstrip()

    print_line(_paint(line(header), _BOLD, sys.stdout))
    for row in listed:
        print_line(line(row))


def print_states(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print findings: state (``ok``, ``warn`` or ``FAIL``), what was looked at, what was found."""
    listed = list(rows)
    width = max((len(name) for _, name, _ in listed), default=0)
    for state, name, found in listed:
        indent = " " * (6 + width + 2)
        body = textwrap.fill(found, width=max(40, 118 - len(indent)), break_long_words=False, break_on_hyphens=False)
        body = body.replace("\n", f"\n{indent}")
        print_line(f"{_paint(f'{state:<4}', _STATE_COLOURS[state], sys.stdout)}  {name:<{width}}  {body}")


def show_progress(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Pass items through while a bar shows how many went by; silent outside a terminal or without rich.

    Args:
        items: Anything to iterate over.
        label: What is being done.
        total: How many there are; None asks ``len``.
    """
    if not is_lively(sys.stderr) or importlib.util.find_spec("rich") is None:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    count = total if total is not None else len(items) if hasattr(items, "__len__") else None
    yield from track(items, description=label, total=count, console=Console(stderr=True), transient=True)


def _is_numeric(text: str) -> bool:
    return bool(text) and text[-1].isdigit() and text.lstrip("+-−").replace(",", "").replace(".", "", 1).isdigit()
