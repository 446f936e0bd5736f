"""RAVDESS: 24 North American actors speak two sentences in eight emotions (speech part, audio only)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.by_speaker import RavdessActors5
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol

LICENCE = "CC BY-NC-SA 4.0"
SOURCE = "https://zenodo.org/record/1188976 (Audio_Speech_Actors_01-24.zip)"
FILE_NAME = re.compile(
    r"(?P<modality>\d\d)-(?P<channel>\d\d)-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>\d\d)"
)
"""modality-channel-emotion-intensity-statement-repetition-actor; modality 03 is audio only, channel 01 is speech."""

EMOTIONS = {"01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry", "06": "fear", "07": "disgust", "08": "surprise"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_SEVEN = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")


class RavdessCorpus:
    """The speech part of RAVDESS: 1440 clips, neutral 96 and every other emotion 192; odd actors are men.

    Livingstone SR, Russo FA (2018), PLoS ONE 13(5): e0196391. Label sets: ``full8``; ``merge7`` (calm counts as neutral, as
    system 000's class counts imply); ``drop_calm7``. Clips of song, of other modalities and files of other names are passed over.

    Args:
        root: Folder with ``Actor_01`` to ``Actor_24``, wav or flac at any sample rate.
    """

    name = "ravdess"
    default_label_set = "merge7"
    label_sets: Mapping[str, LabelSet] = {
        "full8": LabelSet("full8", ("neutral", "calm", *_SEVEN[1:])),
        "merge7": LabelSet("merge7", _SEVEN, merges={"calm": "neutral"}),
        "drop_calm7": LabelSet("drop_calm7", _SEVEN, dropped=frozenset({"calm"})),
    }

    def __init__(self, root: str | Path | None) -> None:
        self.root = None if root is None else Path(root).expanduser()

    def read_manifest(self) -> Manifest:
        """List the corpus by its file names.

        Raises:
            DataError: If the folder is missing or holds no RAVDESS speech.
        """
        files = sorted(self.root.glob("Actor_*/*")) if self.root is not None and self.root.is_dir() else []
        utterances = [_read_name(path) for path in files if path.suffix.lower() in (".wav", ".flac")]
        found = [utterance for utterance in utterances if utterance is not None]
        if not found:
            raise DataError(
                "RAVDESS was not found.",
                expected="a folder with Actor_01/03-01-01-01-01-01-01.wav (or .flac) and so on",
                got="corpus.root is not set"
                if self.root is None
                else (f"{self.root}: no such speech files" if self.root.is_dir() else f"{self.root}: no such folder"),
                remedy=("" if self.root is None else "correct corpus.root; or ")
                + f"download it from {SOURCE}, licence {LICENCE}, unpack it, and set corpus.root=FOLDER or SER_KD_RAVDESS",
            )
        return Manifest(self.name, tuple(sorted(found, key=lambda u: u.id)), LICENCE)


def _read_name(path: Path) -> Utterance | None:
    match = FILE_NAME.fullmatch(path.stem)
    if match is None or match["modality"] != "03" or match["channel"] != "01":
        return None
    actor = int(match["actor"])
    return Utterance(
        id=path.stem,
        path=path,
        speaker=str(actor),
        emotion=EMOTIONS[match["emotion"]],
        text=STATEMENTS[match["statement"]],
        groups={
            "gender": "male" if actor % 2 else "female",
            "intensity": "normal" if match["intensity"] == "01" else "strong",
        },
    )


class RavdessDataModule(SpeechDataModule):
    """RAVDESS in anyone's Lightning script, speaker-independent by default.

    Args:
        root: See ``RavdessCorpus``.
        fold: Fold of the protocol.
        protocol: None is ``ravdess_actors5`` with seven classes.
        **options: Everything else ``SpeechDataModule`` takes.

    Example:
        ``trainer.fit(model, RavdessDataModule("data/ravdess", fold=0, batch_size=64))``
    """

    def __init__(self, root: str | Path, fold: int = 0, protocol: EvaluationProtocol | None = None, **options: object) -> None:
        super().__init__(RavdessCorpus(root), protocol or RavdessActors5(), fold, **options)  # type: ignore[arg-type]
