"""SUPERB's emotion recognition task: IEMOCAP by session, with the random validation split that s3prl draws."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch
from torch.utils.data import random_split

from ser_kd.contracts.emotions import LabelSet, canonical_emotion
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.data.protocols.protocol_fold import ProtocolFold

SOURCE = "github.com/s3prl/s3prl, folder s3prl/downstream/emotion/meta_data"
SESSIONS = 5
TRAINING_SHARE = 0.8
SHARED = (
    "validation clips are drawn at random among those of the training sessions, as SUPERB does: all validation speakers are training "
    "speakers, so the model is selected on voices it was trained on (test speakers are new to it)"
)


class Superb5(EvaluationProtocol):
    """Five folds of SUPERB's emotion task, one session tested on: 3556/890/1085 turns on the first, 3432/858/1241 on the last.

    The other four sessions, in the order of s3prl's metadata, are divided by ``random_split`` under seed 0: int(0.8 n) train, the rest
    validate. **Validation speakers overlap training**: no other protocol may do that, and this one says so wherever its results stand.
    The order cannot be guessed, so s3prl's own files are needed. A clip whose audio is damaged leaves its place in the split empty.

    Args:
        superb_metadata: Folder with ``Session1/train_meta_data.json``, ``Session1/test_meta_data.json`` and so on, or the one above it
            (``meta_data``).

    Raises:
        ConfigError: If the folder is not named.

    Source: s3prl, ``s3prl/downstream/emotion/expert.py``; Yang et al. 2021, arXiv 2105.01051.
    """

    def __init__(self, superb_metadata: str | Path | None) -> None:
        super().__init__("superb5", "merge4")
        self.validation = "random_clips"  # type: ignore[assignment]
        if superb_metadata is None:
            raise ConfigError(
                "Protocol superb5 needs the order of s3prl's metadata, which its random split goes by.",
                expected="protocol.superb_metadata=DIR with Session1/train_meta_data.json and so on",
                got="protocol.superb_metadata is not set",
                remedy=f"get the folder ({SOURCE}), or use protocol=iemocap_session5, whose validation speakers do not train",
            )
        self.superb_metadata = Path(superb_metadata).expanduser()

    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        return [frozenset(u.speaker for u in utterances if u.session == str(session)) for session in range(1, SESSIONS + 1)]

    def folds(self, manifest: Manifest, label_set: LabelSet) -> list[ProtocolFold]:
        labelled = {u.id: u for u in manifest.utterances if u.emotion is not None and label_set.class_of(u.emotion) is not None}
        parts = [self._read_parts(session, labelled, manifest.left_out, label_set) for session in range(1, SESSIONS + 1)]
        return [replace(fold, warnings=(SHARED,), validation_shares_speakers=True) for fold in self.seal(parts, label_set)]

    def _read_parts(
        self, session: int, labelled: Mapping[str, Utterance], left_out: Mapping[str, str], label_set: LabelSet
    ) -> dict[str, tuple[Utterance, ...]]:
        training, test = (self._read_list(session, split) for split in ("train", "test"))
        both = {**training, **test}
        strange = [f"{name}: not a turn of this corpus" for name in both if name not in labelled and name not in left_out]
        strange += [f"{name}: not in the metadata" for name in labelled if name not in both]
        strange += [f"{name}: for training and test" for name in training if name in test]
        strange += [
            f"{name}: '{label}' there, {labelled[name].emotion} here"
            for name, label in both.items()
            if name in labelled and label_set.find_class(label) != label_set.class_of(labelled[name].emotion or "")
        ]
        if strange:
            raise DataError(
                f"The corpus and s3prl's metadata of Session{session} do not fit together.",
                expected="the same turns with the same labels",
                got=f"{len(strange)} differences, such as {'; '.join(strange[:5])}",
                remedy=f"use the full IEMOCAP release and the metadata as s3prl ships them ({SOURCE})",
            )
        names = list(training)
        first, second = split_as_superb(len(names))
        chosen = {"train": [names[i] for i in first], "validation": [names[i] for i in second], "test": list(test)}
        return {split: tuple(labelled[name] for name in sorted(ids) if name in labelled) for split, ids in chosen.items()}

    def _read_list(self, session: int, split: str) -> dict[str, str]:
        """Read turn -> label in the order of the file."""
        folder = self.superb_metadata / "meta_data" if (self.superb_metadata / "meta_data").is_dir() else self.superb_metadata
        file = folder / f"Session{session}" / f"{split}_meta_data.json"
        try:
            rows = json.loads(file.read_text(encoding="utf-8"))["meta_data"]
            return {PurePosixPath(row["path"]).stem: canonical_emotion(row["label"]) for row in rows}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise DataError(
                "s3prl's metadata cannot be read.",
                expected=f'a file with {{"meta_data": [{{"path": …, "label": …}}, …]}} for each session and split ({SOURCE})',
                got=f"{file}: {'no such file' if isinstance(fault, FileNotFoundError) else f'{type(fault).__name__}: {fault}'}",
                remedy="correct protocol.superb_metadata, or copy the folder again",
            ) from fault


def split_as_superb(clips: int) -> tuple[list[int], list[int]]:
    """Divide the places 0 to ``clips`` - 1 as ``torch.manual_seed(0)`` and ``random_split`` do, without touching the global generator.

    Returns:
        Places that train, int(0.8 n) of them, and places that validate.

    Example:
        >>> [len(part) for part in split_as_superb(4446)]
        [3556, 890]
    """
    size = int(TRAINING_SHARE * clips)
    train, validation = random_split(range(clips), [size, clips - size], generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type,var-annotated]
    return list(train.indices), list(validation.indices)
