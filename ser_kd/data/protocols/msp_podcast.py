"""The published partitions of MSP-Podcast: train, development, and one of the labelled test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

from ser_kd.contracts.emotions import LabelSet, Targets
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.data.protocols.protocol_fold import ProtocolFold

TestSet = Literal["test1", "test2"]


class MspPodcastPartition(EvaluationProtocol):
    """One fold: Train trains, Development validates, Test1 or Test2 tests; Test3, which has no labels, is left out.

    The corpus does not promise that no speaker crosses its partitions; every run audits it all the same, and refuses it where a known
    speaker does. The release stands in the protocol's print-out and record: partitions of different releases do not compare.

    Args:
        label_set: See ``EvaluationProtocol``.
        targets: See ``EvaluationProtocol``.
        test_set: ``test1``, or ``test2``, which is of podcasts that no other partition has.

    Raises:
        ConfigError: If there is no such test set.
    """

    def __init__(self, label_set: str | None = None, targets: Targets = "classes", test_set: TestSet = "test1") -> None:
        if test_set not in get_args(TestSet):
            raise ConfigError(
                "MSP-Podcast is not tested on such a set.",
                expected="test1 or test2",
                got=str(test_set),
                remedy="set protocol.test_set; of test3, which has no labels, ser-kd evaluate … corpus.part=test3 writes a submission",
            )
        super().__init__(f"msp_podcast_{test_set}", label_set, targets=targets)
        self.validation = "official"  # type: ignore[assignment]
        self.test_set = test_set

    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        return [frozenset(u.speaker for u in utterances if u.groups.get("split") == self.test_set)]

    def folds(self, manifest: Manifest, label_set: LabelSet) -> list[ProtocolFold]:
        clips = self.choose_clips(manifest, label_set)
        places = {"train": "train", "validation": "validation", "test": self.test_set}
        part = {name: tuple(u for u in clips if u.groups.get("split") == place) for name, place in places.items()}
        self._check_parts(manifest, part)
        told = (f"MSP-Podcast {manifest.release}: figures of another release do not compare",)
        return [replace(fold, warnings=(*fold.warnings, *told)) for fold in self.seal([part], label_set)]

    def _check_parts(self, manifest: Manifest, part: Mapping[str, Sequence[Utterance]]) -> None:
        """Check that the corpus holds all that trains, validates and tests.

        Raises:
            ConfigError: If the corpus is one part alone.
            DataError: If it lacks a part.
        """
        empty = [name for name, clips in part.items() if not clips]
        if not empty:
            return
        if manifest.corpus != "msp_podcast" and manifest.corpus.startswith("msp_podcast_"):
            chosen = manifest.corpus.removeprefix("msp_podcast_")
            raise ConfigError(
                "One part of MSP-Podcast cannot train, validate and test.",
                expected="corpus.part=null: all partitions; one alone is what a finished run is judged on",
                got=f"corpus.part={chosen}",
                remedy=f"leave corpus.part out, or judge a run: ser-kd evaluate run=FOLDER corpus=msp_podcast corpus.part={chosen}",
            )
        published = {"train": "Train", "validation": "Development", "test": self.test_set.capitalize()}
        other = "test2" if self.test_set == "test1" else "test1"
        there = any(u.groups.get("split") == other for u in manifest.utterances)
        raise DataError(
            f"MSP-Podcast has no turn of {' and '.join(published[name] for name in empty)} that can be used.",
            expected=f"turns of {', '.join(published.values())} with {'a class' if self.targets == 'classes' else 'a target'} and audio",
            got=", ".join(f"{published[name]} {len(clips)}" for name, clips in part.items()),
            remedy=f"test on {other.capitalize()} (protocol.test_set={other})"
            if empty == ["test"] and there
            else "unpack the whole release, or split these turns by speaker (protocol=speaker_folds)",
        )
