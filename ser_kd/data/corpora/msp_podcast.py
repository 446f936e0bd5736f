"""MSP-Podcast: turns from podcasts, spoken freely, with primary emotions and arousal, dominance and valence, in published partitions."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ser_kd.contracts.emotions import DimensionRange, LabelSet
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.data.protocols.msp_podcast import MspPodcastPartition
from ser_kd.storage.audio_files import list_audio

LICENCE = "UT Dallas' academic or commercial licence (signed by an institution; not to be passed on)"
SOURCE = "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html"
EMOTIONS: Mapping[str, str | None] = {
    "A": "angry", "S": "sad", "H": "happy", "U": "surprise", "F": "fear", "D": "disgust", "C": "contemptuous", "N": "neutral",
    "O": "other", "X": None,
}  # fmt: skip
"""Codes of the consensus; X is a turn on which the raters did not agree: it has dimensions and no label."""

PARTITIONS: Mapping[str, str] = {"train": "train", "development": "validation", "test1": "test1", "test2": "test2", "test3": "test3"}
"""Published name, in small letters -> the ``split`` of an utterance."""

SCALE = DimensionRange(1.0, 7.0)
COLUMNS: Mapping[str, str] = {"EmoAct": "arousal", "EmoDom": "dominance", "EmoVal": "valence"}
"""Column of the labels, on the scale of the raters' manikins -> dimension."""

RELEASES: Mapping[str, Mapping[str, tuple[int | None, int | None]]] = {
    "1.7": {"test1": (12_902, 60)},
    "1.11": {
        "train": (84_030, 1_409), "validation": (19_815, 454), "test1": (30_647, 237), "test2": (14_815, 117), "test3": (2_347, 187),
    },
    "1.12": {"all": (207_136, None)},
}  # fmt: skip
"""Release -> split -> turns and speakers, as far as they are published."""

Part = Literal["train", "validation", "test1", "test2", "test3"]
TURN = re.compile(r"MSP-PODCAST_(?P<podcast>[^_]+)_(?P<turn>\w+)")
"""The podcast's number and the turn's; turns of Test3 hide theirs."""

_REQUIRED = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID")
_FOUR = ("neutral", "happy", "angry", "sad")
_EIGHT = ("neutral", "happy", "angry", "sad", "surprise", "fear", "disgust", "contemptuous")
_SHOWN = 10


class MspPodcast:
    """MSP-Podcast as shipped: ``Labels/labels_consensus.csv``, ``Audios/`` and the list of partitions.

    Labels are the raters' plurality; arousal, dominance and valence are means on 1 to 7, here in [0, 1] by (x - 1) / 6. Turns of Test3
    have neither, whether the labels list them empty or not at all. Label sets: ``primary8`` (other left out) and ``four`` (IEMOCAP's
    classes in its order). Attributes: gender where it is known, and the published partition as ``split``.

    Many turns are of an unknown speaker. They are not one person: the unknown of each podcast and partition count as one speaker of their
    own (``unknown of 0123 in train``). So they never look like a leak, and where a podcast has unknown speakers on both sides of a split
    nobody can say whether they are the same; that is counted and told. Known speakers are audited as everywhere.

    Lotfian R, Busso C (2019), IEEE Transactions on Affective Computing 10(4), 471-483.

    Args:
        root: Folder with ``Labels`` and ``Audios``.
        release: Release as its readme names it (``1.11``). It stands in the protocol and the record, because the partitions of releases
            differ; None is told as unknown. Where sizes of the release are published, the folder's are compared with them.
        part: Read one partition alone, as a corpus of its own (``msp_podcast_test2``) that a finished run is judged on; None reads all.

    Raises:
        ConfigError: If there is no such part.
    """

    default_label_set = "primary8"
    label_sets: Mapping[str, LabelSet] = {
        "primary8": LabelSet("primary8", _EIGHT, dropped=frozenset({"other"})),
        "four": LabelSet("four", _FOUR, dropped=frozenset({*_EIGHT, "other"} - set(_FOUR))),
    }

    def __init__(self, root: str | Path | None, release: str | float | None = None, part: Part | None = None) -> None:
        if part is not None and part not in get_args(Part):
            raise ConfigError(
                "MSP-Podcast has no such part.", expected=", ".join(get_args(Part)), got=str(part), remedy="set corpus.part to one, or null"
            )
        if isinstance(release, float) and f"{release:g}" == "1.1":
            raise ConfigError(
                "Release 1.1 and release 1.10 are the same number.",
                expected="the release in quotes",
                got=f"corpus.release={release:g}",
                remedy="type \"corpus.release='1.10'\", or \"corpus.release='1.1'\"",
            )
        self.root = None if root is None else Path(root).expanduser()
        self.release = None if release is None else str(release)
        self.part = part

    @property
    def name(self) -> str:
        """``msp_podcast``, or with the part where one alone is read."""
        return "msp_podcast" if self.part is None else f"msp_podcast_{self.part}"

    def read_manifest(self) -> Manifest:
        """Read labels and partitions.

        A turn whose audio is missing stays in the manifest and is told as damaged audio once audio is read. Audio that no list names is
        left out and told, unless its name says that it is of Test3.

        Raises:
            DataError: If this is not the folder of a release, or lines of the labels cannot be used (they are named).
        """
        root = _find_root(self.root)
        reading = _Reading(_find_audio(root), _read_partitions(root))
        reading.read_labels(root / "Labels" / "labels_consensus.csv")
        reading.add_unlabelled_turns()
        utterances = reading.utterances
        notes = [*reading.describe(), *self._compare_sizes(utterances)]
        if self.part is not None:  # judged under a protocol that knows of no release
            notes.insert(0, f"MSP-Podcast {self._name_release()}: figures of another release do not compare")
            utterances = self._choose_part(utterances, root)
        return Manifest(
            self.name, tuple(sorted(utterances, key=lambda u: u.id)), LICENCE, reading.strange, tuple(notes), self._name_release()
        )

    def _choose_part(self, utterances: Sequence[Utterance], root: Path) -> list[Utterance]:
        chosen = [u for u in utterances if u.groups["split"] == self.part]
        if not chosen:
            published = next(name for name, split in PARTITIONS.items() if split == self.part).capitalize()
            raise DataError(
                f"The folder has no turn of {published}.",
                expected="audio in Audios with MSP-PODCAST_test3_ in its name, or a list of partitions that has Test3"
                if self.part == "test3"
                else f"lines of Labels/labels_consensus.csv with {published} as Split_Set, or in the list of partitions",
                got=f"{root}: {_count_splits(utterances)}",
                remedy="choose a part that is there (corpus.part), or unpack the whole release",
            )
        return chosen

    def _name_release(self) -> str:
        return "release unknown (corpus.release=null)" if self.release is None else f"release {self.release}"

    def _compare_sizes(self, utterances: Sequence[Utterance]) -> Iterator[str]:
        """Tell where the folder is not as large as the release is said to be."""
        if self.release is None:
            yield "name the release (corpus.release=1.11, say): figures of different releases do not compare"
            return
        published = RELEASES.get(self.release)
        if published is None:
            return
        differences = []
        for split, (turns, speakers) in published.items():
            chosen = [u for u in utterances if split in ("all", u.groups["split"])]
            if turns is not None and len(chosen) != turns:
                differences.append(f"{split} {len(chosen):,} of {turns:,} turns")
            known = len({u.speaker for u in chosen if "unknown" not in u.speaker})
            if speakers is not None and split != "test3" and known != speakers:
                differences.append(f"{split} {known:,} of {speakers:,} speakers")
        if differences:
            yield f"this is not the full release {self.release}: {', '.join(differences)}"


@dataclass
class _Reading:
    """What was read so far, and what was found wrong.

    Args:
        audio: Name of an audio file without ending -> path.
        partitions: Name -> split, as the list of partitions has it.
        utterances: One per turn.
        strange: Name of audio -> why it is left out.
        disagreeing: Turns that labels and list put into different partitions.
    """

    audio: Mapping[str, Path]
    partitions: Mapping[str, str]
    utterances: list[Utterance] = field(default_factory=list)
    strange: dict[str, str] = field(default_factory=dict)
    disagreeing: list[str] = field(default_factory=list)

    def read_labels(self, file: Path) -> None:
        """Read the consensus.

        Raises:
            DataError: If a column is missing, or lines cannot be used.
        """
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines)
            columns = [name.strip() for name in table.fieldnames or ()]
            rows = [
                {(name or "").strip(): (value or "").strip() for name, value in row.items() if not isinstance(value, list)} for row in table
            ]
        missing = [name for name in _REQUIRED if name not in columns]
        if "Split_Set" not in columns and not self.partitions:
            missing.append("Split_Set (or a file Partitions.txt)")
        if missing or not rows:
            raise DataError(
                f"{file} lacks {'columns' if len(missing) > 1 else 'a column' if missing else 'lines'} of MSP-Podcast's consensus.",
                expected=f"columns {', '.join(_REQUIRED)}, Split_Set (or a file Partitions.txt), and a line for each turn",
                got=f"{len(rows)} lines, without {', '.join(missing)}" if missing else "no lines",
                remedy="unpack the release again; a table of your own, in which dimensions may be missing, is read by corpus=manifest_csv",
            )
        faults: list[str] = []
        for number, row in enumerate(rows, start=2):
            try:
                self.utterances.append(self._read_turn(row))
            except (DataError, ValueError) as fault:
                faults.append(f"line {number}: {fault.got if isinstance(fault, DataError) else fault}")
        if faults:
            raise DataError(
                f"{len(faults)} of {len(rows)} lines of {file} cannot be used.",
                expected=f"an emotion of {', '.join(EMOTIONS)}, values of {SCALE.low:g} to {SCALE.high:g}, and a partition for each turn",
                got="; ".join(faults[:_SHOWN]) + (f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""),
                remedy=self._advise_scale(rows) or "correct these lines, or unpack the release again",
            )

    def _advise_scale(self, rows: Sequence[Mapping[str, str]]) -> str:
        """Tell what to do where no value is of the raters' scale."""
        try:
            values = [float(row[column]) for row in rows for column in COLUMNS if row[column]]
        except ValueError:
            return ""
        if not values or max(values) > SCALE.low or min(values) < 0:
            return ""
        return (
            f"all values lie in 0 to 1, so the labels were rescaled: restore the release's own ({SCALE.low:g} to {SCALE.high:g}), or write "
            "the turns into a manifest (corpus=manifest_csv), which takes values of 0 to 1"
        )

    def _read_turn(self, row: Mapping[str, str]) -> Utterance:
        name = row["FileName"].removesuffix(".wav")
        if not name:
            raise ValueError("no FileName")
        split = self._choose_split(name, row.get("Split_Set", ""))
        code = row["EmoClass"]
        if code and code not in EMOTIONS:
            raise ValueError(f"unknown emotion code '{code}' of {name}")
        gender = row.get("Gender", "").lower()
        values = {dimension: _read_value(row[column], column, name) for column, dimension in COLUMNS.items()}
        return Utterance(
            id=name,
            path=self.audio.get(name, Path("Audios", f"{name}.wav")),
            speaker=_name_speaker(row["SpkrID"], name, split),
            emotion=EMOTIONS[code] if code else None,
            arousal=values["arousal"],
            dominance=values["dominance"],
            valence=values["valence"],
            groups={**({"gender": gender} if gender in ("female", "male") else {}), "split": split},
        )

    def _choose_split(self, name: str, told: str) -> str:
        listed = self.partitions.get(name)
        if not told:
            if listed is None:
                raise ValueError(f"no partition of {name}")
            return listed
        if told.lower() not in PARTITIONS:
            raise ValueError(f"unknown partition '{told}' of {name}")
        split = PARTITIONS[told.lower()]
        if listed is not None and listed != split:
            self.disagreeing.append(f"{name}: {split} by the labels, {listed} by the list")
        return split

    def add_unlabelled_turns(self) -> None:
        """Add the turns of Test3 that the labels do not list, and remember other audio that nobody lists."""
        known = {u.id for u in self.utterances}
        listed = {name for name, split in self.partitions.items() if split == "test3"}
        hidden = {name for name in self.audio if "_test3_" in name.lower()}
        for name in sorted((listed | hidden) - known):
            path = self.audio.get(name, Path("Audios", f"{name}.wav"))
            self.utterances.append(Utterance(name, path, _name_speaker("", name, "test3"), groups={"split": "test3"}))
        self.strange |= {name: "no line in Labels/labels_consensus.csv" for name in self.audio if name not in known | listed | hidden}

    def describe(self) -> Iterator[str]:
        """Tell what a reader should know before comparing."""
        if self.disagreeing:
            shown = "; ".join(self.disagreeing[:5])
            yield f"{len(self.disagreeing)} turns are in another partition by the list than by the labels, which count: {shown}"
        unknown: dict[str, set[str]] = defaultdict(set)
        turns: Counter[str] = Counter()
        for utterance in self.utterances:
            split = utterance.groups["split"]
            if split != "test3" and utterance.speaker.startswith("unknown of "):
                unknown[utterance.speaker.split()[2]].add(split)
                turns[split] += 1
        if turns:
            counted = ", ".join(f"{split} {count:,}" for split, count in turns.items())
            yield f"turns of unknown speakers: {counted}; the unknown of one podcast and partition count as one speaker"
        crossing = sorted(podcast for podcast, splits in unknown.items() if len(splits) > 1)
        if crossing:
            yield (
                f"{len(crossing)} podcasts have unknown speakers in two partitions, such as {', '.join(crossing[:5])}: whether they are "
                "the same people is not known"
            )


def _count_splits(utterances: Sequence[Utterance]) -> str:
    counts = Counter(u.groups["split"] for u in utterances)
    return ", ".join(f"{name.capitalize()} {counts[split]:,} turns" for name, split in PARTITIONS.items() if counts[split]) or "no turns"


def _read_value(text: str, column: str, name: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} of {name} is '{text}', not a number") from None
    if not (math.isfinite(value) and SCALE.low <= value <= SCALE.high):
        raise ValueError(f"{column} of {name} is {text}, outside {SCALE.low:g} to {SCALE.high:g}")
    return SCALE.scale(value)


def _name_speaker(told: str, name: str, split: str) -> str:
    if told and told.lower() not in ("unknown", "nan", "none"):
        return told
    match = TURN.fullmatch(name)
    return f"unknown of {name if match is None or not match['podcast'].isdecimal() else match['podcast']} in {split}"


def _read_partitions(root: Path) -> dict[str, str]:
    """Read turn -> split from the list of partitions (``Train; MSP-PODCAST_0001_0008.wav``); empty where there is none.

    Raises:
        DataError: If lines cannot be read.
    """
    places = [place for folder in (root, root / "Labels") for place in sorted(folder.glob("[Pp]artition*.txt"))]
    if not places:
        return {}
    found, faults = {}, []
    for number, line in enumerate(places[0].read_text(encoding="utf-8-sig").splitlines(), start=1):
        words = [word.strip() for word in re.split("[;,\t]", line) if word.strip()]
        if not words:
            continue
        if len(words) == 2 and words[0].lower() not in PARTITIONS:
            words.reverse()
        if len(words) != 2 or words[0].lower() not in PARTITIONS:
            faults.append(f"line {number}: {line[:80]}")
            continue
        found[words[1].removesuffix(".wav")] = PARTITIONS[words[0].lower()]
    if faults:
        raise DataError(
            f"{len(faults)} lines of {places[0]} cannot be read.",
            expected="lines such as 'Train; MSP-PODCAST_0001_0008.wav' with Train, Development, Test1, Test2 or Test3",
            got="; ".join(faults[:_SHOWN]),
            remedy="unpack the release again",
        )
    return found


def _find_audio(root: Path) -> dict[str, Path]:
    folder = next((root / name for name in ("Audios", "Audio") if (root / name).is_dir()), None)
    if folder is None:
        raise DataError(
            "MSP-Podcast lacks its audio.",
            expected="a folder Audios beside Labels",
            got=f"{root}: no Audios",
            remedy="unpack the audio of the release there",
        )
    return {path.stem: path for path in list_audio(folder).values()}


def _find_root(root: Path | None) -> Path:
    if root is not None and (root / "Labels" / "labels_consensus.csv").is_file():
        return root
    got, remedy = "corpus.root is not set", "set corpus.root=FOLDER or SER_KD_MSP_PODCAST"
    if root is not None:
        got, remedy = f"{root}: no such folder", "correct corpus.root"
        if root.is_dir():
            got = f"{root}: no Labels/labels_consensus.csv"
            below = next((path.parents[1] for path in sorted(root.glob("*/Labels/labels_consensus.csv"))), None)
            above = next((path for path in root.absolute().parents if (path / "Labels" / "labels_consensus.csv").is_file()), below)
            remedy = f"give the folder of the release: corpus.root={above}" if above is not None else remedy
    raise DataError(
        "MSP-Podcast was not found.",
        expected="a folder with Labels/labels_consensus.csv and Audios/MSP-PODCAST_0001_0008.wav and so on",
        got=got,
        remedy=f"{remedy}; the corpus is at {SOURCE}, licence: {LICENCE}",
    )


class MspPodcastDataModule(SpeechDataModule):
    """MSP-Podcast in anyone's Lightning script, in its published partitions.

    Args:
        root: See ``MspPodcast``.
        protocol: None is the published partition with Test1 and eight classes.
        release: See ``MspPodcast``.
        **options: Everything else ``SpeechDataModule`` takes.

    Example:
        ``trainer.fit(model, MspPodcastDataModule("data/MSP-PODCAST-Publish-1.11", release="1.11", batch_size=64))``
    """

    def __init__(self, root: str | Path, protocol: EvaluationProtocol | None = None, release: str | None = None, **options: object) -> None:
        super().__init__(MspPodcast(root, release), protocol or MspPodcastPartition(), **options)  # type: ignore[arg-type]
