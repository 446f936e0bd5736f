"""Any folder of audio without labels: a student learns from it what its teacher says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from ser_kd.contracts.emotions import LabelSet, canonical_emotion
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.data.protocols.unlabelled import UnlabelledSplit
from ser_kd.storage.audio_files import AUDIO_SUFFIXES, list_audio

SpeakerName = Literal["folder", "file"]


class AudioFolder:
    """All audio below a folder (wav, flac, mp3, ogg, …), one clip per file, nothing known of its content.

    Without labels a run needs a teacher and an objective that asks for no label (``ser-kd train … objective=ccc_teacher``, or soft targets
    alone); it is validated, and its best epoch chosen, by how closely it follows the teacher on files that are held out.

    Args:
        root: The folder, searched at every depth.
        speaker: What must never cross a split: ``folder``, the first folder below ``root`` (files that lie in ``root`` itself count each
            by itself), or ``file``, for recordings that have nothing to do with each other.
        labels: The classes that the student learns from its teacher, by name; None where it learns dimensions.

    Raises:
        ConfigError: If ``speaker`` is neither.
    """

    name = "audio_folder"
    default_label_set = "teacher"
    is_unlabelled = True

    def __init__(self, root: str | Path | None, speaker: SpeakerName = "folder", labels: Sequence[str] | None = None) -> None:
        if speaker not in get_args(SpeakerName):
            raise ConfigError("Unknown speakers.", expected="folder or file", got=str(speaker), remedy="set corpus.speaker to one of them")
        self.root = None if root is None else Path(root).expanduser()
        self.speaker = speaker
        self._labels = None if labels is None else tuple(canonical_emotion(label) for label in labels)

    @property
    def label_sets(self) -> Mapping[str, LabelSet]:
        """The teacher's classes, under the name ``teacher``.

        Raises:
            ConfigError: If they are not told.
        """
        if self._labels is None:
            raise ConfigError(
                "Audio without labels has no classes, and the student must know which its teacher has.",
                expected="corpus.labels as a list of names, or protocol.targets=dimensions",
                got="corpus.labels: null",
                remedy="set corpus.labels=[neutral,happy,…] as the teacher's record.json has them",
            )
        return {"teacher": LabelSet("teacher", self._labels)}

    def read_manifest(self) -> Manifest:
        """List the files.

        Raises:
            DataError: If the folder is missing or holds no audio.
        """
        files = {} if self.root is None else list_audio(self.root)
        if not files:
            got = "corpus.root is not set"
            if self.root is not None:
                got = f"{self.root}: {'no such files' if self.root.is_dir() else 'no such folder'}"
            raise DataError(
                "There is no audio.",
                expected=f"a folder with files that end in {', '.join(AUDIO_SUFFIXES)}, at any depth",
                got=got,
                remedy="set corpus.root=FOLDER",
            )
        utterances = [Utterance(name, path, self._name_speaker(name)) for name, path in files.items()]
        return Manifest(self.name, tuple(sorted(utterances, key=lambda u: u.id)), "as the owner of the files decides")

    def _name_speaker(self, name: str) -> str:
        return name.partition("/")[0] if self.speaker == "folder" else name


class AudioFolderDataModule(SpeechDataModule):
    """A folder of audio in anyone's Lightning script.

    Args:
        root: See ``AudioFolder``.
        protocol: None holds out a tenth for validation and a tenth for test.
        labels: See ``AudioFolder``.
        **options: Everything else ``SpeechDataModule`` takes.

    Example:
        ``trainer.fit(model, AudioFolderDataModule("recordings", labels=["neutral", "happy", "angry", "sad"]))``
    """

    def __init__(
        self, root: str | Path, protocol: EvaluationProtocol | None = None, labels: Sequence[str] | None = None, **options: object
    ) -> None:
        super().__init__(AudioFolder(root, labels=labels), protocol or UnlabelledSplit(), **options)  # type: ignore[arg-type]
