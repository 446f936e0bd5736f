"""CREMA-D: 91 American actors of many ages and origins speak twelve sentences in six emotions."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.by_speaker import SpeakerFolds
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol

LICENCE = "ODbL 1.0, contents DbCL 1.0"
SOURCE = "https://github.com/CheyneyComputerScience/CREMA-D (with git-lfs: without it the audio files are short texts)"
EMOTIONS = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}
"""Acted intensity; one file, 1040_ITH_SAD_X, is published with a single X."""

SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
SILENT = {"1076_MTI_SAD_XX": "published without sound"}
"""Clip that the corpus itself names as empty -> why it is left out."""

FILE_NAME = re.compile(
    rf"(?P<actor>10(?:0[1-9]|[1-8]\d|9[01]))_(?P<sentence>{'|'.join(SENTENCES)})_(?P<emotion>{'|'.join(EMOTIONS)})_(?P<level>LO|MD|HI|XX?)"
)
"""actor (1001 to 1091), sentence, emotion, intensity."""


class CremaD:
    """The audio of CREMA-D: 7442 clips, neutral 1087 and every other emotion 1271; 48 men and 43 women.

    Labels are what the actors meant, not what the crowd heard. Clip 1076_MTI_SAD_XX is silent and left out, which leaves 7441.
    Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014), IEEE Transactions on Affective Computing 5(4), 377-390.
    Label set: ``full6``. Gender is known where ``VideoDemographics.csv`` lies beside the audio folder. Audio files of other names are
    left out and listed.

    Args:
        root: Folder that holds ``AudioWAV/`` (and ``VideoDemographics.csv``), or ``AudioWAV`` itself; wav or flac at any sample rate.
    """

    name = "crema_d"
    default_label_set = "full6"
    label_sets: Mapping[str, LabelSet] = {"full6": LabelSet("full6", ("neutral", "happy", "sad", "angry", "fear", "disgust"))}

    def __init__(self, root: str | Path | None) -> None:
        self.root = None if root is None else Path(root).expanduser()

    def read_manifest(self) -> Manifest:
        """List the corpus by its file names.

        Raises:
            DataError: If the folder is missing or holds no clip of CREMA-D, or ``VideoDemographics.csv`` cannot be used.
        """
        folder = self.root / "AudioWAV" if self.root is not None and (self.root / "AudioWAV").is_dir() else self.root
        files = sorted(folder.glob("[!.]*")) if folder is not None and folder.is_dir() else []
        matches = {path: FILE_NAME.fullmatch(path.stem) for path in files if path.suffix.lower() in (".wav", ".flac")}
        if folder is None or not any(matches.values()):
            raise DataError(
                "CREMA-D was not found.",
                expected="a folder with AudioWAV/1001_DFA_ANG_XX.wav (or .flac) and so on",
                got="corpus.root is not set"
                if self.root is None
                else (f"{self.root}: no such speech files" if self.root.is_dir() else f"{self.root}: no such folder"),
                remedy=("" if self.root is None else "correct corpus.root; or ")
                + f"get it from {SOURCE}, licence {LICENCE}, and set corpus.root=FOLDER or SER_KD_CREMA_D",
            )
        genders = _read_genders([folder.parent / "VideoDemographics.csv", folder / "VideoDemographics.csv"])
        utterances = [_make_utterance(path, match, genders) for path, match in matches.items() if match is not None]
        foreign = {path.stem: "not named as a clip of CREMA-D (1001_DFA_ANG_XX)" for path, match in matches.items() if match is None}
        listed = Manifest(self.name, tuple(sorted(utterances, key=lambda u: u.id)), LICENCE, foreign)
        return listed.without({name: reason for name, reason in SILENT.items() if listed.select([name])})


def _make_utterance(path: Path, match: re.Match[str], genders: Mapping[str, str]) -> Utterance:
    gender = genders.get(match["actor"])
    return Utterance(
        id=path.stem,
        path=path,
        speaker=match["actor"],
        emotion=EMOTIONS[match["emotion"]],
        text=SENTENCES[match["sentence"]],
        groups={**({"gender": gender} if gender else {}), "intensity": LEVELS[match["level"]]},
    )


def _read_genders(places: list[Path]) -> dict[str, str]:
    """Read actor -> gender from the first of the files that exists; without one no gender is known."""
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    genders = {row.get("ActorID") or "": (row.get("Sex") or "").strip().lower() for row in rows}
    known = ("male", "female")
    wrong = [f"{actor or 'no ActorID'}: {gender or 'no Sex'}" for actor, gender in genders.items() if not actor or gender not in known]
    if wrong or not rows:
        raise DataError(
            f"{path} does not tell the actors' gender.",
            expected="rows with ActorID and Sex, Male or Female",
            got="; ".join(wrong[:5]) or "no rows",
            remedy="copy the file from the corpus again, or remove it: gender is then unknown",
        )
    return genders


class CremaDDataModule(SpeechDataModule):
    """CREMA-D in anyone's Lightning script, with five speaker-wise folds by default.

    Args:
        root: See ``CremaD``.
        fold: Fold of the protocol.
        protocol: None is five speaker-wise folds, six classes.
        **options: Everything else ``SpeechDataModule`` takes.

    Example:
        ``trainer.fit(model, CremaDDataModule("data/crema_d", fold=0, batch_size=64))``
    """

    def __init__(self, root: str | Path, fold: int = 0, protocol: EvaluationProtocol | None = None, **options: object) -> None:
        super().__init__(CremaD(root), protocol or SpeakerFolds(), fold, **options)  # type: ignore[arg-type]
