"""EmoDB: ten German actors speak ten everyday sentences in seven emotions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.by_speaker import LeaveOneSpeakerOut
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol

LICENCE = "free to use, the authors ask to be cited (CC0-1.0 in audEERING's edition)"
SOURCE = "http://emodb.bilderbar.info/download/download.zip"
EMOTIONS = {"W": "angry", "L": "bored", "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral"}
"""First letters of the German words: Wut (Ärger), Langeweile, Ekel, Angst, Freude, Trauer, neutral."""

SPEAKERS = {
    "03": "male", "08": "female", "09": "female", "10": "male", "11": "male",
    "12": "male", "13": "female", "14": "female", "15": "male", "16": "female",
}  # fmt: skip
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
FILE_NAME = re.compile(
    rf"(?P<speaker>{'|'.join(SPEAKERS)})(?P<sentence>{'|'.join(SENTENCES)})(?P<emotion>[{''.join(EMOTIONS)}])(?P<version>[a-z])"
)
"""speaker, sentence, emotion, version: 03a01Fa is speaker 03 saying sentence a01 happily."""

_SIX = ("neutral", "happy", "sad", "angry", "fear", "disgust")


class EmoDb:
    """The Berlin Database of Emotional Speech: 535 clips of five women and five men at 16 kHz.

    Angry 127, bored 81, disgust 46, fear 69, happy 71, sad 62, neutral 79: the clips that listeners recognised and found natural, so
    classes and speakers are uneven. Burkhardt F, Paeschke A, Rolfes M, Sendlmeier W, Weiss B (2005), Interspeech, 1517-1520.
    Label sets: ``full7``; ``shared6`` (without boredom: the six emotions that CREMA-D and RAVDESS have too).
    Audio files of other names are left out and listed.

    Args:
        root: Folder that holds ``wav/``, or ``wav`` itself; wav or flac at any sample rate.
    """

    name = "emodb"
    default_label_set = "full7"
    label_sets: Mapping[str, LabelSet] = {
        "full7": LabelSet("full7", (*_SIX, "bored")),
        "shared6": LabelSet("shared6", _SIX, dropped=frozenset({"bored"})),
    }

    def __init__(self, root: str | Path | None) -> None:
        self.root = None if root is None else Path(root).expanduser()

    def read_manifest(self) -> Manifest:
        """List the corpus by its file names.

        Raises:
            DataError: If the folder is missing or holds no clip of EmoDB.
        """
        folder = self.root / "wav" if self.root is not None and (self.root / "wav").is_dir() else self.root
        files = sorted(folder.glob("[!.]*")) if folder is not None and folder.is_dir() else []
        matches = {path: FILE_NAME.fullmatch(path.stem) for path in files if path.suffix.lower() in (".wav", ".flac")}
        if not any(matches.values()):
            raise DataError(
                "EmoDB was not found.",
                expected="a folder with wav/03a01Fa.wav (or .flac) and so on",
                got="corpus.root is not set"
                if self.root is None
                else (f"{self.root}: no such speech files" if self.root.is_dir() else f"{self.root}: no such folder"),
                remedy=("" if self.root is None else "correct corpus.root; or ")
                + f"download it from {SOURCE}, licence: {LICENCE}, unpack it, and set corpus.root=FOLDER or SER_KD_EMODB",
            )
        utterances = [_make_utterance(path, match) for path, match in matches.items() if match is not None]
        foreign = {path.stem: "not named as a clip of EmoDB (03a01Fa)" for path, match in matches.items() if match is None}
        return Manifest(self.name, tuple(sorted(utterances, key=lambda u: u.id)), LICENCE, foreign)


def _make_utterance(path: Path, match: re.Match[str]) -> Utterance:
    return Utterance(
        id=path.stem,
        path=path,
        speaker=str(int(match["speaker"])),
        emotion=EMOTIONS[match["emotion"]],
        text=SENTENCES[match["sentence"]],
        groups={"gender": SPEAKERS[match["speaker"]]},
    )


class EmoDbDataModule(SpeechDataModule):
    """EmoDB in anyone's Lightning script, one speaker left out by default.

    Args:
        root: See ``EmoDb``.
        fold: Fold of the protocol.
        protocol: None leaves one speaker out per fold, seven classes.
        **options: Everything else ``SpeechDataModule`` takes.

    Example:
        ``trainer.fit(model, EmoDbDataModule("data/emodb", fold=0, batch_size=64))``
    """

    def __init__(self, root: str | Path, fold: int = 0, protocol: EvaluationProtocol | None = None, **options: object) -> None:
        super().__init__(EmoDb(root), protocol or LeaveOneSpeakerOut(), fold, **options)  # type: ignore[arg-type]
