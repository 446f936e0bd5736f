"""Audio without labels that joins the training of a labelled corpus; the teacher alone says what it is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.decoded_audio import DecodedAudio
from ser_kd.data.manifest import Manifest
from ser_kd.storage.audio_files import AUDIO_SUFFIXES, list_audio

UNLABELLED = "unlabelled"
"""The speaker of all these clips, and the first part of their ids, so that they are called like no clip of a corpus."""


class UnlabelledClips:
    """All audio below a folder as training clips without class, arousal, dominance or valence.

    They never validate or test, so nobody needs to know who speaks in them, if anybody does; that none is a clip of validation or test
    under another name is found by the audit, which compares audio.

    Args:
        root: Folder; every file below it that libsndfile reads is a clip.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()

    @cached_property
    def utterances(self) -> tuple[Utterance, ...]:
        """Every file as an utterance, in the order of the names.

        Raises:
            DataError: If the folder is missing or holds no audio.
        """
        files = list_audio(self.root)
        if not files:
            raise DataError(
                "There is no unlabelled audio.",
                expected=f"a folder with audio files ({', '.join(AUDIO_SUFFIXES)}) at any depth",
                got=f"{self.root}: {'none of them' if self.root.is_dir() else 'no such folder'}",
                remedy="set datamodule.unlabelled_root to the folder of your audio, or to null",
            )
        return tuple(Utterance(f"{UNLABELLED}/{name}", path, UNLABELLED) for name, path in files.items())

    def list_usable(self, decoded: Collection[str]) -> tuple[Utterance, ...]:
        """Give the clips that could be decoded.

        Args:
            decoded: Ids of all clips that there is audio of.
        """
        return tuple(u for u in self.utterances if u.id in decoded)

    def tell(self, manifest: Manifest, audio: DecodedAudio) -> Manifest:
        """Give a corpus' manifest that tells of these clips: how many join its training, and which cannot be used."""
        hours = sum(count for _, count in audio.offsets.values()) / audio.sample_rate_hz / 3600
        told = f"{len(audio.offsets)} clips without labels ({hours:.2f} h) join training; the teacher alone says what they are"
        return replace(manifest, left_out={**manifest.left_out, **audio.faults}, notes=(*manifest.notes, told))
