"""Anyone's own data, listed in a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from ser_kd.contracts.emotions import DIMENSIONS, DimensionRange, LabelSet, canonical_emotion
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.by_speaker import SpeakerFolds
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol

REQUIRED = ("path", "label", "speaker")
OPTIONAL = ("id", "session", "text", *DIMENSIONS, "start", "end", "gender", "split")
_SHOWN_FAULTS = 10


class ManifestCsvCorpus:
    """A corpus described by a CSV file with a header line.

    Columns ``path`` (absolute, or relative to the CSV file), ``label`` and ``speaker`` are needed; ``id``, ``session``, ``text``,
    ``arousal``, ``dominance``, ``valence``, ``start`` and ``end`` (seconds), ``gender`` and ``split`` (for protocol=official) are
    optional; a column of another name becomes an attribute to report by. Commas, semicolons or tabs separate. An empty label is a
    clip without a class.

    Args:
        path: The CSV file.
        labels: Classes in logit order; None takes the labels that occur, sorted by name.
        merges: Label -> class it is counted as.
        dropped: Labels whose clips are left out.
        dimension_low: Lowest value on the annotation scale of arousal, dominance and valence.
        dimension_high: Highest value on it.
    """

    name = "manifest_csv"
    default_label_set = "manifest"

    def __init__(
        self,
        path: str | Path | None,
        labels: Sequence[str] | None = None,
        merges: Mapping[str, str] | None = None,
        dropped: Sequence[str] = (),
        dimension_low: float = 0.0,
        dimension_high: float = 1.0,
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.range = DimensionRange(dimension_low, dimension_high)
        self.merges = {canonical_emotion(a): canonical_emotion(b) for a, b in (merges or {}).items()}
        self.dropped = frozenset(canonical_emotion(label) for label in dropped)
        self._labels = None if labels is None else tuple(canonical_emotion(label) for label in labels)
        self._manifest: Manifest | None = None

    @property
    def label_sets(self) -> Mapping[str, LabelSet]:
        """The one label set of this file, under the name ``manifest``."""
        labels = self._labels
        if labels is None:
            present = {canonical_emotion(u.emotion) for u in self.read_manifest().utterances if u.emotion is not None}
            labels = tuple(sorted({self.merges.get(label, label) for label in present - self.dropped}))
        return {"manifest": LabelSet("manifest", labels, self.merges, self.dropped)}

    def read_manifest(self) -> Manifest:
        """Read the CSV file.

        Raises:
            DataError: If the file or a column is missing, or rows are wrong (all of them are named).
        """
        if self._manifest is None:
            self._manifest = self._read()
        return self._manifest

    def _read(self) -> Manifest:
        if self.path is None or not self.path.is_file():
            raise DataError(
                "The manifest was not found.",
                expected=f"a CSV file with the columns {', '.join(REQUIRED)}",
                got="corpus.path is not set" if self.path is None else str(self.path),
                remedy="set corpus.path=my.csv",
            )
        text = self.path.read_text(encoding="utf-8-sig")
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
        columns = [name.strip() for name in header.split(delimiter)]
        missing = [name for name in REQUIRED if name not in columns]
        if missing or not rows:
            raise DataError(
                f"The manifest {self.path} lacks {'the column ' + ', '.join(missing) if missing else 'rows'}.",
                expected=f"a header with {', '.join(REQUIRED)} (optional: {', '.join(OPTIONAL)}) and at least one row",
                got=f"columns {', '.join(columns)}; {len(rows)} rows",
                remedy="name the columns so in the first line",
            )
        utterances: list[Utterance] = []
        faults: list[str] = []
        for number, row in enumerate(rows, start=2):
            values = {(name or "").strip(): (value or "").strip() for name, value in row.items() if not isinstance(value, list)}
            try:
                utterances.append(self._read_row(values))
            except (DataError, ValueError) as fault:
                reason = f"{fault.problem} {fault.got}" if isinstance(fault, DataError) else str(fault)
                faults.append(f"line {number}: {reason}")
        if faults:
            raise DataError(
                f"{len(faults)} of {len(rows)} lines of {self.path} cannot be used.",
                expected="path and speaker in each line, numbers where numbers belong",
                got="; ".join(faults[:_SHOWN_FAULTS])
                + (f"; and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""),
                remedy="correct these lines; a scale other than 0 to 1 is told by corpus.dimension_low and corpus.dimension_high",
            )
        return Manifest(self.name, tuple(sorted(utterances, key=lambda u: u.id)), "as the owner of the files decides")

    def _read_row(self, values: Mapping[str, str]) -> Utterance:
        for name in ("path", "speaker"):
            if not values.get(name):
                raise ValueError(f"{name} is empty")
        path = Path(values["path"]).expanduser()
        start_s = _read_number(values, "start", float)
        end_s = _read_number(values, "end", float)
        stretch = f"@{start_s or 0:g}-{'' if end_s is None else format(end_s, 'g')}" if start_s is not None or end_s is not None else ""
        dimensions = [_read_number(values, name, partial(self._scale, name)) for name in DIMENSIONS]
        named = {*REQUIRED, *OPTIONAL} - {"gender", "split"}
        return Utterance(
            id=values.get("id") or values["path"] + stretch,
            path=path if path.is_absolute() or self.path is None else self.path.parent / path,
            speaker=values["speaker"],
            emotion=canonical_emotion(values["label"]) if values.get("label") else None,
            session=values.get("session") or None,
            text=values.get("text") or None,
            arousal=dimensions[0],
            dominance=dimensions[1],
            valence=dimensions[2],
            start_s=start_s or 0.0,
            end_s=end_s,
            groups={name: value for name, value in values.items() if name and name not in named and value},
        )

    def _scale(self, name: str, value: float) -> float:
        if not self.range.low <= value <= self.range.high:
            raise ValueError(f"{name} is {value:g}, outside {self.range.low:g} to {self.range.high:g}")
        return self.range.scale(value)


def _read_number(values: Mapping[str, str], name: str, convert: Callable[[float], float]) -> float | None:
    text = values.get(name, "")
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} is '{text}', not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} is '{text}', not a finite number")
    return convert(number)


class ManifestCsvDataModule(SpeechDataModule):
    """Your own CSV in anyone's Lightning script, with speaker-wise folds by default.

    Args:
        path: See ``ManifestCsvCorpus``.
        fold: Fold of the protocol.
        protocol: None is five speaker-wise folds.
        labels: See ``ManifestCsvCorpus``.
        **options: Everything else ``SpeechDataModule`` takes.

    Example:
        ``trainer.fit(model, ManifestCsvDataModule("my.csv", fold=0))``
    """

    def __init__(
        self,
        path: str | Path,
        fold: int = 0,
        protocol: EvaluationProtocol | None = None,
        labels: Sequence[str] | None = None,
        **options: object,
    ) -> None:
        super().__init__(ManifestCsvCorpus(path, labels), protocol or SpeakerFolds(), fold, **options)  # type: ignore[arg-type]
