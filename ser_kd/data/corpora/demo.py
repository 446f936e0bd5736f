"""The demo corpus: acted speech that this program synthesises itself, so that everything runs without a data set."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ser_kd.contracts.emotions import DIMENSIONS, LabelSet
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.demo_speech import EMOTION_CUES, VERSION, describe_settings, draw_clip, synthesise_clip
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.by_session import SessionFolds
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.storage.audio_files import write_wav
from ser_kd.storage.hashing import hash_data

LICENCE = "CC0-1.0: made by this program with espeak-ng (GPL-3.0-or-later, which does not extend to the sound it makes)"
COLUMNS = ("path", "label", "speaker", "session", "gender", "intensity", "text", *DIMENSIONS)


class DemoCorpus:
    """Seven emotions, spoken by synthetic voices that have an age of no one and a temper of their own.

    Speakers come in pairs, a woman and a man, and each pair is a session: ten speakers give five folds. Half of the sentences are said
    in every emotion, the others carry it in their words too. Figures on this corpus show that the program works; they say nothing
    about real speech.

    Args:
        root: Folder under which the corpus is kept, in a folder of its own per version and settings.
        speakers: Number of speakers, even.
        clips_per_emotion: Clips per speaker and emotion.
        sample_rate_hz: Sample rate of the files.

    Raises:
        ConfigError: If a number makes no corpus.
    """

    name = "demo"
    label_sets: Mapping[str, LabelSet] = {"demo7": LabelSet("demo7", tuple(EMOTION_CUES))}
    default_label_set = "demo7"

    def __init__(self, root: str | Path, speakers: int = 10, clips_per_emotion: int = 12, sample_rate_hz: int = 16_000) -> None:
        for key, value, right, expected in (
            ("speakers", speakers, speakers >= 2 and speakers % 2 == 0, "an even number from 2 up (a woman and a man per session)"),
            ("clips_per_emotion", clips_per_emotion, clips_per_emotion >= 1, "1 or more"),
            ("sample_rate_hz", sample_rate_hz, sample_rate_hz >= 8_000, "8000 or more"),
        ):
            if not right:
                raise ConfigError(
                    f"The demo corpus cannot have {key}={value}.", expected=expected, got=str(value), remedy=f"set corpus.{key}=… anew"
                )
        self.speakers = speakers
        self.clips_per_emotion = clips_per_emotion
        self.sample_rate_hz = sample_rate_hz
        settings = {**describe_settings(), "speakers": speakers, "clips_per_emotion": clips_per_emotion, "sample_rate_hz": sample_rate_hz}
        self.folder = Path(root).expanduser() / f"demo-v{VERSION}-{hash_data(settings)}"

    def read_manifest(self) -> Manifest:
        """Read the corpus, made first where it is not there yet.

        Raises:
            DataError: If espeak-ng is missing or the folder cannot be written.
        """
        self.generate()
        with (self.folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return Manifest(self.name, tuple(sorted(map(self._read_row, rows), key=lambda utterance: utterance.id)), LICENCE)

    def generate(self, progress: Callable[[int, int], None] | None = None) -> Path:
        """Make the corpus, unless it is there already; it appears whole or not at all.

        Args:
            progress: Called after each clip with the number of clips made and of all.

        Returns:
            The corpus' folder.

        Raises:
            DataError: If espeak-ng is missing or the folder cannot be written.
        """
        if not self.folder.is_dir():
            with _fill_folder(self.folder) as part:
                self._write_clips(part, progress)
        return self.folder

    def _write_clips(self, part: Path, progress: Callable[[int, int], None] | None) -> None:
        keys = [(s, e, i) for s in range(1, self.speakers + 1) for e in EMOTION_CUES for i in range(self.clips_per_emotion)]
        with (part / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for count, (number, emotion, index) in enumerate(keys, start=1):
                clip = draw_clip(number, emotion, index)
                speaker = clip.speaker
                path = f"{speaker.name}/{clip.id}.wav"
                (part / speaker.name).mkdir(exist_ok=True)
                write_wav(part / path, synthesise_clip(clip, self.sample_rate_hz), self.sample_rate_hz)
                dimensions = [getattr(clip, name) for name in DIMENSIONS]
                table.writerow([path, emotion, speaker.name, speaker.session, speaker.gender, clip.intensity, clip.text, *dimensions])
                if progress:
                    progress(count, len(keys))

    def _read_row(self, row: Mapping[str, str]) -> Utterance:
        path = self.folder / row["path"]
        return Utterance(
            id=path.stem,
            path=path,
            speaker=row["speaker"],
            emotion=row["label"],
            session=row["session"],
            text=row["text"],
            arousal=float(row["arousal"]),
            dominance=float(row["dominance"]),
            valence=float(row["valence"]),
            groups={"gender": row["gender"], "intensity": row["intensity"]},
        )


@contextmanager
def _fill_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside the target; on success it becomes the target, unless another process was first."""
    part: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
        part.chmod(0o755)
        yield part
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process made the same bytes first
                raise
    except OSError as fault:
        raise DataError(
            "The demo corpus cannot be written.",
            expected="a folder that may be written, with about 60 MB free",
            got=f"{folder}: {fault.strerror or fault}",
            remedy="choose another folder (corpus.root=…)",
        ) from fault
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


class DemoDataModule(SpeechDataModule):
    """The demo corpus in anyone's Lightning script, session-wise by default.

    Args:
        root: See ``DemoCorpus``.
        fold: Fold of the protocol.
        protocol: None is one fold per session.
        speakers: See ``DemoCorpus``.
        clips_per_emotion: See ``DemoCorpus``.
        **options: Everything else ``SpeechDataModule`` takes.

    Example:
        ``trainer.fit(model, DemoDataModule("cache/demo_corpus", fold=0))``
    """

    def __init__(
        self,
        root: str | Path,
        fold: int = 0,
        protocol: EvaluationProtocol | None = None,
        speakers: int = 10,
        clips_per_emotion: int = 12,
        **options: object,
    ) -> None:
        super().__init__(DemoCorpus(root, speakers, clips_per_emotion), protocol or SessionFolds(), fold, **options)  # type: ignore[arg-type]
