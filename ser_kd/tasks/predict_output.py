"""Predictions as the rows of a table, of JSON lines or of CSV, each written as soon as it is there."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import console
from ser_kd.storage.atomic import explain_write_fault, replace_file
from ser_kd.tasks.predict_words import PredictArguments

if TYPE_CHECKING:
    from ser_kd.deploy.model_metadata import ModelMetadata
    from ser_kd.deploy.prediction import Prediction

_SHORT_NAME, _SHORTEST_NAME = 24, 12
"""How far names of files are cut to make room for the columns of classes, and for the answer."""
_CUT = "  …"
_ABSTAINED, _SILENT = "-", "silent"


class RowFormat(Protocol):
    """How an answer becomes a line."""

    def header(self) -> str | None:
        """Give the first line; None where there is none."""

    def row(self, prediction: Prediction) -> str:
        """Give an answer's line, without its end."""


class JsonLines:
    """One JSON object per line: file, start_s, end_s, label, abstained, probabilities or dimensions, embedding where wanted, notes.

    Args:
        embedding: Whether to write the embedding.
    """

    def __init__(self, embedding: bool) -> None:
        self._embedding = embedding

    def header(self) -> None:
        return None

    def row(self, prediction: Prediction) -> str:
        row: dict[str, Any] = {
            "file": prediction.source,
            **_times(prediction),
            "label": prediction.label,
            "abstained": prediction.abstained,
        }
        kinds = {"probabilities": prediction.probabilities, "dimensions": prediction.dimensions}
        row |= {kind: {name: round(value, 6) for name, value in values.items()} for kind, values in kinds.items() if values}
        if self._embedding:
            row["embedding"] = None if prediction.embedding is None else [round(float(value), 6) for value in prediction.embedding]
        return json.dumps(row | {"notes": list(prediction.notes)}, ensure_ascii=False)


class CommaSeparated:
    """CSV with a header: file, start_s, end_s, answer, probability and abstained for classes, a column for each class or dimension, notes.

    Args:
        names: Classes or dimensions.
        is_classes: Whether the model answers classes.
    """

    def __init__(self, names: Sequence[str], is_classes: bool) -> None:
        self._names, self._is_classes = names, is_classes

    def header(self) -> str:
        own = ["answer", "probability", "abstained"] if self._is_classes else []
        return self._line(["file", "start_s", "end_s", *own, *self._names, "notes"])

    def row(self, prediction: Prediction) -> str:
        values = {**prediction.probabilities, **prediction.dimensions}
        own = [prediction.label or "", _show(_probability(prediction), 6), str(prediction.abstained).lower()] if self._is_classes else []
        shown = [_show(values.get(name), 6) for name in self._names]
        return self._line([prediction.source, *_times(prediction).values(), *own, *shown, "; ".join(prediction.notes)])

    def _line(self, cells: Sequence[object]) -> str:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(cells)
        return line.getvalue()


class Table:
    """Columns for people: file, start and end of windows, answer and its probability, then every class; or the three dimensions.

    The widths are settled before the first row. Where the terminal is narrow, file names lose their beginning and the last classes their
    columns.

    Args:
        names: Classes or dimensions.
        is_classes: Whether the model answers classes.
        per_window: Whether rows are windows.
        files: Names that will come.
        width: Columns of the terminal; None is as many as wanted.
    """

    def __init__(self, names: Sequence[str], is_classes: bool, per_window: bool, files: Sequence[str], width: int | None) -> None:
        self._is_classes, self._per_window = is_classes, per_window
        own = [("start", 8), ("end", 8)] if per_window else []
        if is_classes:
            own += [("answer", max(map(len, [*names, "answer"]))), ("probability", len("probability"))]
        self._file_width = longest = max(map(len, [*files, "file"]))
        others = [(name, max(len(name), 6)) for name in names]
        kept = others
        if width is not None:
            room = width - sum(size + 2 for _, size in own)
            wanted = room - sum(size + 2 for _, size in others)
            self._file_width = min(longest, max(wanted, min(_SHORT_NAME, room - len(_CUT)), _SHORTEST_NAME))
            # Room for the mark of what is left out, unless nothing is.
            left = room - self._file_width
            ends = list(accumulate(size + 2 for _, size in others))
            kept = others if ends[-1] <= left else [other for other, end in zip(others, ends, strict=True) if end + len(_CUT) <= left]
        self._names = [name for name, _ in kept]
        self._is_cut = len(kept) < len(names)
        self._columns = own + kept

    def header(self) -> str:
        cells = [name for name, _ in self._columns]
        return self._line("file", cells) + (_CUT if self._is_cut else "")

    def row(self, prediction: Prediction) -> str:
        values = {**prediction.probabilities, **prediction.dimensions}
        cells = [f"{prediction.start_s:.2f}", f"{prediction.end_s:.2f}"] if self._per_window else []
        if self._is_classes:
            answer = prediction.label or (_ABSTAINED if prediction.is_answered else _SILENT)
            cells += [answer, _show(_probability(prediction), 3)]
        return self._line(prediction.source, [*cells, *(_show(values.get(name), 3) for name in self._names)])

    def _line(self, file: str, cells: Sequence[str]) -> str:
        name = file if len(file) <= self._file_width else "…" + file[1 - self._file_width :]
        padded = [
            text.ljust(size) if title == "answer" else text.rjust(size) for text, (title, size) in zip(cells, self._columns, strict=True)
        ]
        return "  ".join([name.ljust(self._file_width), *padded]).rstrip()


def choose_format(asked: PredictArguments, metadata: ModelMetadata, files: Sequence[str]) -> RowFormat:
    """Make the format that was asked for.

    Args:
        asked: Format, rows and file; the width counts where a table goes to a terminal.
        metadata: Of the model, for the names of the columns.
        files: Names that will come.
    """
    is_classes = metadata.output == "probabilities"
    names = metadata.labels if is_classes else [name for name in DIMENSIONS if name in metadata.dimensions]
    if asked.format == "jsonl":
        return JsonLines(asked.embedding)
    if asked.format == "csv":
        return CommaSeparated(names, is_classes)
    width = shutil.get_terminal_size().columns if asked.out is None and sys.stdout.isatty() else None
    return Table(names, is_classes, asked.per == "window", files, width)


@contextmanager
def open_rows(rows: RowFormat, out: Path | None) -> Iterator[Callable[[Prediction], None]]:
    """Give a function that writes one answer.

    To standard output and to a file of JSON lines each row goes at once, so that a stopped run leaves what it had. A table or CSV file
    appears whole when all is done, or not at all.

    Args:
        rows: How an answer becomes a line.
        out: The file; None is standard output.

    Raises:
        DataError: If the file cannot be written.
    """
    if out is None:
        yield from _write_lines(rows, console.show)
        return
    if out.is_dir():
        raise ConfigError("'out' is a folder.", expected="a file", got=f"out={out}", remedy=f"such as out={out / 'predictions.jsonl'}")
    if not isinstance(rows, JsonLines):
        with replace_file(out) as part, part.open("w", encoding="utf-8") as file:
            yield from _write_lines(rows, lambda line: print(line, file=file))
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("w", encoding="utf-8") as file:
            yield from _write_lines(rows, lambda line: print(line, file=file, flush=True))
    except OSError as fault:
        raise explain_write_fault(out, fault) from fault


def _write_lines(rows: RowFormat, write: Callable[[str], None]) -> Iterator[Callable[[Prediction], None]]:
    header = rows.header()
    if header is not None:
        write(header)
    # A file name may hold bytes that are no text; escaped so, they are JSON's own escapes as well.
    yield lambda prediction: write(rows.row(prediction).encode("utf-8", "backslashreplace").decode("utf-8"))


def _times(prediction: Prediction) -> dict[str, float]:
    return {"start_s": round(prediction.start_s, 6), "end_s": round(prediction.end_s, 6)}


def _probability(prediction: Prediction) -> float | None:
    return max(prediction.probabilities.values(), default=None)


def _show(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
