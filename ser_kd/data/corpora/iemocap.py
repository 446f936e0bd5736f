"""IEMOCAP: ten American actors in five sessions of two play scripted and improvised dialogues, judged turn by turn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ser_kd.contracts.emotions import DimensionRange, LabelSet
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.data.protocols.iemocap import IemocapLoso10

LICENCE = "USC SAIL's release form (research; not to be passed on)"
SOURCE = "https://sail.usc.edu/iemocap/iemocap_release.htm (free after signing the form)"
EMOTIONS: Mapping[str, str | None] = {
    "neu": "neutral", "hap": "happy", "exc": "excited", "ang": "angry", "sad": "sad", "fru": "frustrated",
    "sur": "surprise", "fea": "fear", "dis": "disgust", "oth": "other", "xxx": None,
}  # fmt: skip
"""Codes of the evaluations; xxx is a turn on which no majority of the raters agreed: it has dimensions and no label."""

PUBLISHED = {
    "neutral": 1708, "happy": 595, "excited": 1041, "angry": 1103, "sad": 1084, "frustrated": 1849,
    "surprise": 107, "fear": 40, "disgust": 2, "other": 3, "no label": 2507,
}  # fmt: skip
"""Turns per label in the full release, 10,039 in all."""

SCALE = DimensionRange(1.0, 5.0)
"""The raters' manikins; what the corpus has is the mean of two or more of them."""

BEYOND = 0.5
"""How far a mean may lie outside the scale: single raters' marks beyond it are in the release, and count as its nearest end."""

TURN = re.compile(r"(?P<dialogue>Ses0(?P<session>[1-5])[FM]_(?P<kind>impro|script)\w+)_(?P<talker>[FM])[0-9X]+")
"""The letter behind Ses0N wears the markers; who talks is the letter behind the last underscore."""

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
EVALUATION = re.compile(rf"\[[\d.]+\s*-\s*[\d.]+\]\s+(\S+)\s+(\S+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]")
"""[start - end] turn emotion [valence, arousal, dominance]."""

TRANSCRIPT = re.compile(r"(?P<turn>Ses0\S+)\s+\[[^\]]*\]:?(?P<text>.*)")
"""turn [start-end]: text; other lines hold voices that are no turn."""

_FOUR = ("neutral", "happy", "angry", "sad")
_RARE = frozenset({"surprise", "fear", "disgust", "other"})
_SHOWN = 10


class Iemocap:
    """The turns of IEMOCAP as shipped: 10,039 of five women and five men at 16 kHz, about twelve hours.

    Labels are the majority of three or more raters. Arousal, dominance and valence are means on 1 to 5, here in [0, 1] by (x - 1) / 4.
    Every turn is in the manifest; a label set chooses among them, and ``ser-kd check`` counts the others. Label sets: ``merge4``
    (excited counts as happy: 5,531 turns, SUPERB's four classes in its order), ``drop_excited4`` (4,490), ``merge5`` (frustrated as
    well, 7,380) and ``full6`` (happy, excited and frustrated apart, 7,380).
    Busso C, Bulut M, Lee C-C, Kazemzadeh A, Mower E, Kim S, Chang JN, Lee S, Narayanan SS (2008), Language Resources and Evaluation
    42(4), 335-359.

    Args:
        root: Folder with ``Session1`` to ``Session5`` (IEMOCAP_full_release), with ``sentences/wav``, ``dialog/EmoEvaluation`` and
            ``dialog/transcriptions`` in each; wav or flac at any sample rate. Hidden files are passed over.
        transcripts: Whether the texts are read; without them the folder of transcriptions may be missing.
    """

    name = "iemocap"
    default_label_set = "merge4"
    label_sets: Mapping[str, LabelSet] = {
        "merge4": LabelSet("merge4", _FOUR, merges={"excited": "happy"}, dropped=_RARE | {"frustrated"}),
        "drop_excited4": LabelSet("drop_excited4", _FOUR, dropped=_RARE | {"frustrated", "excited"}),
        "merge5": LabelSet("merge5", (*_FOUR, "frustrated"), merges={"excited": "happy"}, dropped=_RARE),
        "full6": LabelSet("full6", (*_FOUR, "excited", "frustrated"), dropped=_RARE),
    }

    def __init__(self, root: str | Path | None, transcripts: bool = True) -> None:
        self.root = None if root is None else Path(root).expanduser()
        self.transcripts = transcripts

    def read_manifest(self) -> Manifest:
        """Read the evaluations and transcriptions of all sessions that are there.

        A turn whose wav is missing stays in the manifest and is told as damaged audio once audio is read; a wav without an
        evaluation is left out and listed.

        Raises:
            DataError: If this is not the folder of the release, files of evaluations or transcriptions are missing, or lines of the
                evaluations cannot be used (all of them are named).
        """
        reading = _Reading(self.transcripts)
        for session in _find_sessions(self.root):
            reading.read_session(session)
        reading.raise_faults()
        notes = tuple(reading.describe())
        return Manifest(self.name, tuple(sorted(reading.utterances, key=lambda u: u.id)), LICENCE, reading.unjudged, notes)


@dataclass
class _Reading:
    """What was read so far, and what was found wrong.

    Args:
        transcripts: Whether texts are read.
        utterances: One per line of the evaluations.
        unjudged: Name of a wav -> why it is left out.
        faults: Lines that cannot be used.
        missing: Files that must be there.
        clipped: Values beyond the scale.
    """

    transcripts: bool
    utterances: list[Utterance] = field(default_factory=list)
    unjudged: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)

    def read_session(self, session: Path) -> None:
        folder = session / "sentences" / "wav"
        wavs = {path.stem: path for path in sorted(folder.glob("[!.]*/[!.]*")) if path.suffix.lower() in (".wav", ".flac")}
        evaluations = sorted((session / "dialog" / "EmoEvaluation").glob("[!.]*.txt"))
        needed = {session / "dialog" / "EmoEvaluation" / f"{path.parent.name}.txt" for path in wavs.values()}
        self.missing += sorted(needed - set(evaluations))
        if not wavs:
            self.missing.append(folder / "DIALOGUE" / "TURN.wav")
        if not evaluations:
            self.missing.append(session / "dialog" / "EmoEvaluation" / "DIALOGUE.txt")
        judged: set[str] = set()
        for evaluation in evaluations:
            texts = self._read_transcription(session / "dialog" / "transcriptions" / evaluation.name)
            for utterance in self._read_evaluation(evaluation):
                judged.add(utterance.id)
                path = wavs.get(utterance.id, folder / evaluation.stem / f"{utterance.id}.wav")
                self.utterances.append(replace(utterance, path=path, text=texts.get(utterance.id)))
        self.unjudged |= {
            name: f"no line in {session.name}/dialog/EmoEvaluation/{path.parent.name}.txt"
            for name, path in wavs.items()
            if name not in judged
        }

    def _read_evaluation(self, file: Path) -> Iterator[Utterance]:
        place = "/".join(file.parts[-4:])
        for number, line in enumerate(_read_lines(file), start=1):
            if not line.startswith("["):  # single raters' answers, the head of the file, blank lines
                continue
            try:
                yield self._read_turn(line, file)
            except ValueError as fault:
                self.faults.append(f"{place}, line {number}: {fault}")

    def _read_turn(self, line: str, file: Path) -> Utterance:
        match = EVALUATION.fullmatch(line)
        if match is None:
            raise ValueError(f"unreadable: {line[:100]}")
        name, code, *values = match.groups()
        turn = TURN.fullmatch(name)
        if turn is None or turn["dialogue"] != file.stem or f"Session{turn['session']}" != file.parts[-4]:
            raise ValueError(f"'{name}' is no turn of this dialogue")
        if code not in EMOTIONS:
            raise ValueError(f"unknown emotion code '{code}' of {name}")
        valence, arousal, dominance = (self._scale(float(value), name) for value in values)  # the file's order, not the house's
        return Utterance(
            id=name,
            path=file,  # replaced by the wav
            speaker=f"Ses0{turn['session']}{turn['talker']}",
            emotion=EMOTIONS[code],
            session=turn["session"],
            arousal=arousal,
            dominance=dominance,
            valence=valence,
            groups={
                "gender": "female" if turn["talker"] == "F" else "male",
                "elicitation": "improvised" if turn["kind"] == "impro" else "scripted",
            },
        )

    def _scale(self, value: float, name: str) -> float:
        nearest = min(max(value, SCALE.low), SCALE.high)
        if abs(nearest - value) > BEYOND:
            raise ValueError(f"{value:g} of {name} lies outside the scale of {SCALE.low:g} to {SCALE.high:g}")
        if nearest != value:
            self.clipped.append(f"{value:g} of {name}")
        return SCALE.scale(nearest)

    def _read_transcription(self, file: Path) -> dict[str, str]:
        if not self.transcripts:
            return {}
        if not file.is_file():
            self.missing.append(file)
            return {}
        matches = (TRANSCRIPT.fullmatch(line) for line in _read_lines(file))
        return {match["turn"]: match["text"].strip() for match in matches if match is not None and match["text"].strip()}

    def raise_faults(self) -> None:
        if self.missing:
            texts = all(file.parent.name == "transcriptions" for file in self.missing)
            raise DataError(
                f"IEMOCAP lacks {'transcriptions' if texts else 'files'}.",
                expected="in each session sentences/wav/DIALOGUE/TURN.wav, dialog/EmoEvaluation/DIALOGUE.txt"
                + (" and dialog/transcriptions/DIALOGUE.txt" if self.transcripts else ""),
                got=f"{len(self.missing)} missing: " + _name_some([str(file) for file in self.missing]),
                remedy="unpack the release again" + ("; or go without texts: corpus.transcripts=false" if texts else ""),
            )
        if self.faults:
            raise DataError(
                f"{len(self.faults)} line{'s' if len(self.faults) > 1 else ''} of IEMOCAP's evaluations cannot be used.",
                expected=f"[start - end]  turn  emotion  [valence, arousal, dominance] with an emotion of {', '.join(EMOTIONS)} and "
                f"values of {SCALE.low:g} to {SCALE.high:g}",
                got=_name_some(self.faults),
                remedy="correct these lines, or unpack the release again",
            )

    def describe(self) -> Iterator[str]:
        """Tell what a reader should know before comparing."""
        counts = Counter(u.emotion or "no label" for u in self.utterances)
        if counts != PUBLISHED:
            differences = [f"{name} {counts[name]} of {count}" for name, count in PUBLISHED.items() if counts[name] != count]
            yield f"this is not the full release of {sum(PUBLISHED.values()):,} turns: " + ", ".join(differences)
        silent = sorted(u.id for u in self.utterances if u.text is None)
        if self.transcripts and silent:
            yield f"{len(silent)} turns have no transcript: {_name_some(silent, 5)}"
        if self.clipped:
            values = f"values of arousal, dominance or valence lie outside {SCALE.low:g} to {SCALE.high:g}"
            yield f"{len(self.clipped)} {values} and count as its nearest end: {_name_some(self.clipped, 5)}"


def _find_sessions(root: Path | None) -> list[Path]:
    sessions = sorted(root.glob("Session[1-5]")) if root is not None and root.is_dir() else []
    if sessions:
        return sessions
    got, remedy = "corpus.root is not set", "set corpus.root=FOLDER or SER_KD_IEMOCAP"
    if root is not None:
        got, remedy = f"{root}: no such folder", "correct corpus.root"
        if root.is_dir():
            got = f"{root}: no Session1 to Session5"
            places = (root.absolute(), *root.absolute().parents)
            above = next((folder.parent for folder in places if re.fullmatch("Session[1-5]", folder.name)), None)
            below = next((folder.parent for folder in sorted(root.glob("*/Session[1-5]"))), None)
            if above is not None:
                got, remedy = f"{root}, which lies within one session", f"give the folder of all sessions: corpus.root={above}"
            elif below is not None:
                got, remedy = f"{root}, one level too high", f"give the folder of the sessions: corpus.root={below}"
    raise DataError(
        "IEMOCAP was not found.",
        expected="IEMOCAP_full_release with Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav and so on",
        got=got,
        remedy=f"{remedy}; the corpus is at {SOURCE}, licence: {LICENCE}",
    )


def _read_lines(file: Path) -> list[str]:
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")  # typographic quotes of the transcribers' machines
    return [line.strip() for line in text.splitlines()]


def _name_some(names: list[str], shown: int = _SHOWN) -> str:
    return "; ".join(names[:shown]) + (f"; and {len(names) - shown} more" if len(names) > shown else "")


class IemocapDataModule(SpeechDataModule):
    """IEMOCAP in anyone's Lightning script, one speaker left out by default.

    Args:
        root: See ``Iemocap``.
        fold: Fold of the protocol.
        protocol: None is ``iemocap_loso10`` with four classes.
        transcripts: See ``Iemocap``.
        **options: Everything else ``SpeechDataModule`` takes.

    Example:
        ``trainer.fit(model, IemocapDataModule("data/IEMOCAP_full_release", fold=0, batch_size=64))``
    """

    def __init__(
        self, root: str | Path, fold: int = 0, protocol: EvaluationProtocol | None = None, transcripts: bool = True, **options: object
    ) -> None:
        super().__init__(Iemocap(root, transcripts), protocol or IemocapLoso10(), fold, **options)  # type: ignore[arg-type]
