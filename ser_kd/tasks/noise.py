"""From a node of the group ``noise`` to noises ready to be mixed with the speech of one fold."""

from __future__ import annotations

from typing import Any

from ser_kd.contracts.errors import ConfigError
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.noise_corpora.noise_corpus import NoiseCorpus
from ser_kd.runtime.build import build


def prepare_noise(node: Any, data: SpeechDataModule) -> NoiseCorpus:
    """Build a noise corpus and hand it the clips of the fold's training speakers, where it mixes babble.

    Args:
        node: A node of ``conf/noise``.
        data: The fold.

    Raises:
        ConfigError: If the node is no noise corpus, or of another rate than the speech.
    """
    corpus = build(node)
    if not isinstance(corpus, NoiseCorpus) or corpus.sample_rate_hz != data.sample_rate_hz:
        rate = f" at {corpus.sample_rate_hz} Hz" if isinstance(corpus, NoiseCorpus) else ""
        raise ConfigError(
            "This is no noise corpus for the speech.",
            expected=f"a NoiseCorpus at {data.sample_rate_hz} Hz",
            got=f"{type(corpus).__name__}{rate}",
            remedy="choose noise=synthetic, noisex92 or folder, at noise.sample_rate_hz=${datamodule.sample_rate_hz}",
        )
    if corpus.needs_speech:
        clips: dict[str, list[str]] = {}
        for utterance in data.fold.train:
            clips.setdefault(utterance.speaker, []).append(utterance.id)
        corpus.take_speech(clips, data.audio.read)
    return corpus
