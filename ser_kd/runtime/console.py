"""What is printed for people: plain words everywhere, colour and bars only in a terminal."""

from __future__ import annotations

import importlib.util
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from ser_kd.contracts.errors import SerKdError

_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"
_STATE_COLOURS = {"ok": _GREEN, "warn": _YELLOW, "FAIL": _RED}
_WIDTH = 118


def is_lively(stream: IO[str]) -> bool:
    """Tell whether a stream is a terminal that can show bars; not so for pipes, files and ``TERM=dumb``."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def show(text: str = "") -> None:
    """Print text at once, so that a log file shows how far a run is."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print a remark, dimmed in a terminal."""
    show(_paint(text, _DIM, sys.stdout))


def heading(text: str) -> None:
    """Print the heading of a stage, with an empty line before it."""
    show()
    show(_paint(f"── {text} ──", _BOLD, sys.stdout) if is_lively(sys.stdout) else f"== {text}")


def warn(text: str) -> None:
    """Print a warning on the error stream, so that it is seen where the output goes to a file."""
    print(f"{_paint('warning:', _YELLOW, sys.stderr)} {text}", file=sys.stderr, flush=True)


def step(text: str) -> None:
    """Print on the error stream how far a long task is, so that the output holds only what was asked for."""
    print(_paint(text, _DIM, sys.stderr), file=sys.stderr, flush=True)


def show_error(error: BaseException) -> None:
    """Print an error on the error stream: ours as it is, its first line red; any other with its type's name."""
    text = str(error) if isinstance(error, SerKdError) else f"{type(error).__name__}: {error}"
    first, line_end, rest = text.partition("\n")
    print(f"{_paint(first, _RED, sys.stderr)}{line_end}{rest}", file=sys.stderr, flush=True)


def table(rows: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    listed = [(name, str(value)) for name, value in (rows.items() if isinstance(rows, Mapping) else rows)]
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        show(f"{name:<{width}}  {value}".rstrip())


def columns(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with a header; columns of numbers stand right, others left.

    Args:
        header: Column names.
        rows: One value per column, formatted as wanted.
    """
    listed = [[str(value) for value in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(header), *listed]) for column in range(len(header))]
    right = [bool(listed) and all(_is_number(row[column]) for row in listed) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.rjust(width) if is_right else cell.ljust(width) for cell, width, is_right in zip(cells, widths, right, strict=True)]
        return "  ".join(padded).rstrip()

    show(_paint(line(header), _BOLD, sys.stdout))
    for row in listed:
        show(line(row))


def states(rows: Iterable[tuple[str, str, str]]) -> None:
    """Print findings: state (``ok``, ``warn`` or ``FAIL``), what was looked at, what was found."""
    listed = list(rows)
    width = max((len(name) for _, name, _ in listed), default=0)
    for state, name, found in listed:
        indent = " " * (6 + width + 2)
        body = textwrap.fill(found, width=_WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
        body = body.replace("\n", f"\n{indent}")
        show(f"{_paint(f'{state:<4}', _STATE_COLOURS[state], sys.stdout)}  {name:<{width}}  {body}")


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function to call with (done, in all); a bar in a terminal where rich is installed, silence elsewhere.

    The bar appears with the first call, so that work found done shows nothing.

    Args:
        label: What is being done.
    """
    if not is_lively(sys.stderr) or importlib.util.find_spec("rich") is None:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    bar = Progress(console=Console(stderr=True), transient=True)
    tasks: list[TaskID] = []

    def advance(done: int, total: int) -> None:
        if not tasks:
            bar.start()
            tasks.append(bar.add_task(label, total=total))
        bar.update(tasks[0], completed=done, total=total)

    try:
        yield advance
    finally:
        bar.stop()


def _paint(text: str, code: str, stream: IO[str]) -> str:
    # NO_COLOR counts when it is set and not empty (no-color.org).
    return f"\x1b[{code}m{text}\x1b[0m" if is_lively(stream) and not os.environ.get("NO_COLOR") else text


def _is_number(text: str) -> bool:
    return text.lstrip("+-").removesuffix("%").replace(",", "").replace(".", "", 1).isdigit()
