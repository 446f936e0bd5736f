"""Which texts go with the clips: those of the corpus or of a file, what becomes of clips without one, and errors of recognition."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.protocol_fold import SPLITS, ProtocolFold
from ser_kd.functional.keyed_random import hash_text
from ser_kd.functional.word_errors import WordStock, inject_word_errors, measure_word_error_rate

OnMissingText = Literal["error", "skip", "blank"]
_COLUMNS = ("id", "text")
_SHOWN = 5


class Transcripts:
    """The texts of a corpus' clips.

    A file of transcripts, such as a recogniser writes them, takes the place of the corpus' own altogether: a clip that it does not name
    has no text then, so that recognised and true texts never stand side by side.

    Args:
        path: CSV file with the columns ``id`` and ``text`` (commas, semicolons or tabs); None leaves the corpus' own texts.
        on_missing: What becomes of a clip whose text is missing or blank. ``error``: it stays, and a model that reads refuses it before
            training. ``skip``: it is left out, as if its audio were damaged. ``blank``: it stays and is read as a text of no words.

    Raises:
        ConfigError: If ``on_missing`` is something else.
    """

    def __init__(self, path: str | Path | None = None, on_missing: OnMissingText = "error") -> None:
        if on_missing not in get_args(OnMissingText):
            raise ConfigError(
                "Unknown way to treat clips without a text.",
                expected=", ".join(get_args(OnMissingText)),
                got=str(on_missing),
                remedy="set on_missing_text to one of them",
            )
        self.path = None if path is None else Path(path).expanduser()
        self.on_missing = on_missing

    @cached_property
    def texts(self) -> dict[str, str] | None:
        """Id -> text as the file has them; None without a file.

        Raises:
            DataError: If it is missing, lacks a column or names an id twice.
        """
        return None if self.path is None else _read_table(self.path)

    def replace_texts(self, utterances: Iterable[Utterance]) -> tuple[Utterance, ...]:
        """Give clips with the texts of the file, if there is one, and blank ones made alike."""
        texts = self.texts
        chosen = utterances if texts is None else (replace(u, text=texts.get(u.id)) for u in utterances)
        return tuple(replace(u, text="") if self.on_missing == "blank" and not has_text(u) else u for u in chosen)

    def apply(self, manifest: Manifest, others: Sequence[Utterance] = ()) -> Manifest:
        """Give a manifest with the right texts, which tells what was found and leaves out what is to be skipped.

        Args:
            manifest: The corpus.
            others: Further clips that the file may name, such as unlabelled ones.

        Raises:
            DataError: If the file cannot be used, or names no clip of the corpus.
        """
        utterances = self.replace_texts(manifest.utterances)
        told = replace(manifest, utterances=utterances, notes=(*manifest.notes, *self._describe(utterances, others, manifest.left_out)))
        if self.on_missing != "skip":
            return told
        return told.without({u.id: "no transcript" for u in utterances if not has_text(u)})

    def _describe(self, utterances: Sequence[Utterance], others: Sequence[Utterance], left_out: Collection[str]) -> list[str]:
        if self.texts is None:
            return []
        known = {u.id for u in (*utterances, *others)}
        found = known & self.texts.keys()
        if not found:
            raise DataError(
                "The file of transcripts names no clip of the corpus.",
                expected=f"ids such as {', '.join(u.id for u in utterances[:3])}",
                got=f"{self.path}: {', '.join(list(self.texts)[:3]) or 'no line'}",
                remedy="write the corpus' own ids into the column id (predictions.csv of any run lists them)",
            )
        missing = [u.id for u in (*utterances, *others) if u.id not in self.texts]
        strange = [name for name in self.texts if name not in known and name not in left_out]
        name = self.path.name if self.path else ""
        notes = [f"texts are those of {name}, in the place of the corpus' own: {len(found)} of {len(known)} clips"]
        notes += [f"{len(missing)} clips have no line in {name}: {_name_some(missing)}"] if missing else []
        notes += [f"{len(strange)} lines of {name} name no clip of the corpus: {_name_some(strange)}"] if strange else []
        return notes


def has_text(utterance: Utterance) -> bool:
    """Tell whether a clip has a text that is not blank."""
    return bool(utterance.text and utterance.text.strip())


def missing_text_error(missing: Sequence[str], clips: int) -> DataError:
    """Make the error that names clips without a text.

    Args:
        missing: Their ids.
        clips: Of how many.
    """
    return DataError(
        f"{len(missing)} of {clips} clips have no transcript, and a model reads them.",
        expected="a text with at least one word for each clip",
        got=f"missing or blank: {_name_some(missing)}",
        remedy="give them (datamodule.transcripts=FILE with the columns id and text), or set datamodule.on_missing_text=skip, which leaves "
        "these clips out, or =blank, which reads them as texts of no words (of ser-kd evaluate: transcripts and on_missing_text)",
    )


def add_word_errors(fold: ProtocolFold, rate: float, seed: int) -> tuple[ProtocolFold, str]:
    """Let the texts of a fold err as a recogniser of a word-error rate does: once for each clip, in all splits.

    Words that come in are those of the training clips.

    Args:
        fold: One fold with its texts.
        rate: Wanted rate in [0, 1].
        seed: Run seed; what errs depends on it and on the clip's id.

    Returns:
        The fold, and a sentence with the rates measured.

    Raises:
        ConfigError: If the rate is none, or the training clips have no words.
    """
    check_word_error_rate(rate)
    stock = WordStock.of_texts(u.text for u in fold.train if u.text)

    def err(clips: Iterable[Utterance]) -> tuple[Utterance, ...]:
        return tuple(
            replace(u, text=inject_word_errors(u.text, hash_text(seed, "word errors", u.id), rate, stock)) if u.text else u for u in clips
        )

    heard = replace(fold, train=err(fold.train), validation_set=err(fold.validation_set), test=err(fold.test), withheld=err(fold.withheld))
    measured = []
    for split in SPLITS:
        pairs = zip(fold.split(split), heard.split(split), strict=True)
        texts = [(before.text, after.text) for before, after in pairs if before.text and after.text is not None]
        measured += [f"{split} {measure_word_error_rate(texts):.3f}"] if texts else []
    return heard, f"words of the texts were made wrong at a word-error rate of {rate:g}; measured: {', '.join(measured)}"


def check_word_error_rate(rate: float) -> None:
    """Check that a rate is one.

    Raises:
        ConfigError: If it lies outside [0, 1].
    """
    if not 0.0 <= rate <= 1.0:
        raise ConfigError(
            "This is no word-error rate to inject.",
            expected="a number from 0 to 1",
            got=str(rate),
            remedy="0.2 lets one word in five err; 0 leaves the texts as they are",
        )


def _read_table(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise _unusable("The file of transcripts was not found.", str(path))
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise _unusable("The file of transcripts is not UTF-8.", f"{path}: {fault.reason} at byte {fault.start}") from fault
    header = content.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=max(",;\t", key=header.count))
    columns = [(name or "").strip() for name in reader.fieldnames or ()]
    reader.fieldnames = columns
    if not set(_COLUMNS) <= set(columns):
        raise _unusable("The file of transcripts lacks a column.", f"{path}: columns {', '.join(columns) or 'none'}")
    texts: dict[str, str] = {}
    twice: list[str] = []
    for row in reader:
        name = (row["id"] or "").strip()
        twice += [name] if name in texts else []
        texts[name] = (row["text"] or "").strip()
    if twice:
        raise _unusable("The file of transcripts names clips twice.", f"{path}: {_name_some(twice)}")
    return texts


def _unusable(problem: str, got: str) -> DataError:
    return DataError(
        problem,
        expected="a CSV file in UTF-8 with the columns id and text, one line for each clip",
        got=got,
        remedy="correct transcripts=…, or leave it out for the corpus' own texts",
    )


def _name_some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
