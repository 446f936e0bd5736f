"""What is printed for people: plain words everywhere, colour and bars only in a terminal."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Protocol

from ser_kd.contracts.errors import SerKdError

_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"
_STATE_COLOURS = {"ok": _GREEN, "warn": _YELLOW, "FAIL": _RED}
_WIDTH = 118
_CLEAR_LINE = "\r\x1b[K"
_QUIET_S = 5.0
"""How long work may take before a log is told how far it is."""
_open_lines: set[IO[str]] = set()
"""The stream on which a line of progress stands."""


def is_lively(stream: IO[str]) -> bool:
    """Tell whether a stream is a terminal that can show bars; not so for pipes, files and ``TERM=dumb``."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def show(text: str = "") -> None:
    """Print text at once, so that a log file shows how far a run is."""
    _end_open_line()
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
    _end_open_line()
    print(f"{_paint('warning:', _YELLOW, sys.stderr)} {text}", file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """Print a message on the error stream, for verbs whose output is data."""
    _end_open_line()
    print(text, file=sys.stderr, flush=True)


def show_error(error: BaseException) -> None:
    """Print an error on the error stream: ours as it is, its first line red; any other with its type's name."""
    text = str(error) if isinstance(error, SerKdError) else f"{type(error).__name__}: {error}"
    first, line_end, rest = text.partition("\n")
    _end_open_line()
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


class ProgressFunction(Protocol):
    """What work calls to say how far it is."""

    def __call__(self, done: int, total: int, detail: str = "") -> None: ...


@contextmanager
def progress(label: str, clock: Callable[[], float] = time.monotonic) -> Iterator[ProgressFunction]:
    """Give a function to call with (done, in all, words such as ``file 3 of 12``), to be shown on the error stream.

    A terminal gets a bar where rich is installed, else one line written over and over. Anything else (a log file) gets a line for every
    tenth that is done, once the work has taken five seconds. The first call begins it, so that work found done shows nothing.

    Args:
        label: What is being done.
        clock: Seconds.
    """
    if is_lively(sys.stderr):
        with _show_bar(label) if importlib.util.find_spec("rich") else _show_line(label) as advance:
            yield advance
    else:
        yield _log_tenths(label, clock)


@contextmanager
def _show_bar(label: str) -> Iterator[ProgressFunction]:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    # rich sends what is printed meanwhile to its own stream, the error stream: right in a terminal, wrong in a pipe.
    bar = Progress(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())
    tasks: list[TaskID] = []

    def advance(done: int, total: int, detail: str = "") -> None:
        if not tasks:
            bar.start()
            tasks.append(bar.add_task(label, total=total))
        bar.update(tasks[0], completed=done, total=total, description=f"{label} {detail}".rstrip())

    try:
        yield advance
    finally:
        bar.stop()


@contextmanager
def _show_line(label: str) -> Iterator[ProgressFunction]:
    shown = ""

    def advance(done: int, total: int, detail: str = "") -> None:
        nonlocal shown
        text = f"{label} {_percent(done, total)} % {detail}".rstrip()[: shutil.get_terminal_size().columns - 1]
        if text != shown:
            print(f"{_CLEAR_LINE}{text}", end="", file=sys.stderr, flush=True)
            _open_lines.add(sys.stderr)
            shown = text

    try:
        yield advance
    finally:
        _end_open_line()


def _log_tenths(label: str, clock: Callable[[], float]) -> ProgressFunction:
    began: float | None = None
    logged = 0

    def advance(done: int, total: int, detail: str = "") -> None:
        nonlocal began, logged
        began = clock() if began is None else began
        tenth = _percent(done, total) // 10
        if tenth > logged and clock() - began >= _QUIET_S:
            logged = tenth
            print(f"{label}: {_percent(done, total)} % {detail}".rstrip(), file=sys.stderr, flush=True)

    return advance


def _percent(done: int, total: int) -> int:
    return min(100, 100 * done // total) if total else 100


def _end_open_line() -> None:
    """Clear a line of progress that has no end yet, before anything else is written to the terminal."""
    while _open_lines:
        print(_CLEAR_LINE, end="", file=_open_lines.pop(), flush=True)


def _paint(text: str, code: str, stream: IO[str]) -> str:
    # NO_COLOR counts when it is set and not empty (no-color.org).
    return f"\x1b[{code}m{text}\x1b[0m" if is_lively(stream) and not os.environ.get("NO_COLOR") else text


def _is_number(text: str) -> bool:
    return text.lstrip("+-").removesuffix("%").replace(",", "").replace(".", "", 1).isdigit()
