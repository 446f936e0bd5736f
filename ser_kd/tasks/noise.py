"""From a node of the group ``noise`` to noises that are audited and ready to be mixed with the speech of one fold."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.noise_corpora.noise_corpus import NoiseBank, NoiseCorpus
from ser_kd.data.noise_corpora.split_audit import NoiseAudit, audit_noise_splits
from ser_kd.data.unlabelled_clips import UNLABELLED
from ser_kd.distill.views import Views
from ser_kd.runtime import console
from ser_kd.runtime.build import build


@dataclass(frozen=True)
class TrainingNoise:
    """The noises of a run and what must be told of them.

    Args:
        corpus: The noises.
        bank: Those that training hears.
        audit: Which part each split hears.
        notes: Sentences for the record.
    """

    corpus: NoiseCorpus
    bank: NoiseBank
    audit: NoiseAudit
    notes: list[str]


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
            if utterance.speaker == UNLABELLED:  # nobody knows whether that is speech
                continue
            clips.setdefault(utterance.speaker, []).append(utterance.id)
        corpus.take_speech(clips, data.audio.read)
    return corpus


def audit_noise(corpus: NoiseCorpus) -> tuple[NoiseAudit, list[str]]:
    """Audit the splits of a noise corpus, and collect what a reader must know to compare results under these noises.

    Returns:
        The audit, and sentences: that the test was heard in training, files that are left out, excerpts.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        audit = audit_noise_splits(corpus)
    told = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    return audit, list(dict.fromkeys([*describe_warnings(corpus), *told]))


def prepare_training_noise(node: Any, data: SpeechDataModule) -> TrainingNoise:
    """Prepare the noises of training and find before the first step what would stop a run in a later epoch.

    Args:
        node: A node of ``conf/noise``.
        data: The fold.

    Raises:
        ConfigError: See ``prepare_noise``.
        DataError: If noises are missing, damaged or silent for as long as a clip lasts, or a training clip is silent.
        LeakageError: If a noise of the test sounds in training.
    """
    corpus = prepare_noise(node, data)
    audit, remarks = audit_noise(corpus)
    audit.raise_if_leaking()
    lengths = [data.audio.length_of(utterance.id) for utterance in data.fold.train]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # collected by the audit
        bank = corpus.bank("train")
    check_silences(bank, min(lengths))
    silent = [utterance.id for utterance in data.fold.train if not data.audio.read(utterance.id).any()]
    if silent:
        raise DataError(
            "Silent speech has no signal-to-noise ratio.",
            expected="clips with at least one sample that is not zero",
            got=", ".join(silent[:10]) + (f"; and {len(silent) - 10} more" if len(silent) > 10 else ""),
            remedy="leave these clips out of the corpus",
        )
    remarks += describe_short_noises(bank, max(lengths))
    for text in remarks:
        console.warn(text)
    held_out = f"; never heard: {', '.join(corpus.held_out)}" if corpus.held_out else ""
    told = f"noises of {corpus.name}, training heard {', '.join(corpus.heard_types)}{held_out}"
    return TrainingNoise(corpus, bank, audit, [told, *audit.describe(), *remarks])


def hand_over_noise(noise: TrainingNoise | None, views: Views) -> None:
    """Give the training part of the noises to the views that wait for noises.

    Raises:
        ConfigError: If they wait and there are none, or there are some and nobody waits.
    """
    if bool(views.noise_takers) == (noise is not None):
        if noise is not None:
            views.take_noise(noise.bank)
        return
    if noise is None:
        raise ConfigError(
            "The views mix noises in, and no noises are chosen.",
            expected="a noise corpus, or a view with a bank of its own",
            got="noise=null",
            remedy="add noise=synthetic (no files), or noise=noisex92 or noise=folder with noise.root=FOLDER",
        )
    raise ConfigError(
        "Noises are chosen that nobody hears.",
        expected="a view that waits for them (BackgroundNoise with bank: null)",
        got=f"noise {noise.corpus.name} with views that have no room for it",
        remedy="add views=noisy_student, or noise=null",
    )


def describe_warnings(corpus: NoiseCorpus) -> list[str]:
    """Tell what a reader must know to compare results under these noises; empty where there is nothing."""
    if corpus.noise_split == "time":
        return []
    return [
        "noise_split=paper: every noise is heard whole in training, validation and test, so the noise of the test was heard in training"
    ]


def describe_short_noises(bank: NoiseBank, samples: int) -> list[str]:
    """Name the noises that are shorter than the longest clip, in one sentence; empty where there are none.

    Args:
        bank: The noises.
        samples: Length of the longest clip.
    """
    rate = bank.sample_rate_hz
    short = [(name, size / rate) for name, size in zip(bank.names, bank.lengths.tolist(), strict=True) if size < samples]
    if not short:
        return []
    shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in short[:5]) + (f", and {len(short) - 5} more" if short[5:] else "")
    return [f"{len(short)} of {len(bank)} noises are shorter than the longest clip ({samples / rate:.2f} s) and go round: {shown}"]


def check_silences(bank: NoiseBank, samples: int) -> None:
    """Check that no noise is digitally silent for as long as a clip lasts, which would leave a mixture without a ratio.

    Args:
        bank: The noises.
        samples: Length of the shortest clip.

    Raises:
        DataError: If one is; all are named.
    """
    silent = []
    for name, clip in zip(bank.names, bank.clips(), strict=True):
        heard = clip.nonzero()[:, 0]
        # a stretch goes round where the noise ends, so the silence behind the last sound runs on into that before the first
        gaps = torch.diff(heard, append=heard[:1] + len(clip)) - 1
        if int(gaps.max()) >= samples:
            start = int(heard[int(gaps.argmax())]) + 1
            silent.append(f"{name}: {int(gaps.max()) / bank.sample_rate_hz:.2f} s from {start / bank.sample_rate_hz:.2f} s of its part on")
    if silent:
        raise DataError(
            "A noise is silent for as long as a clip lasts, which leaves no signal-to-noise ratio.",
            expected=f"no silence of {samples / bank.sample_rate_hz:.2f} s, the shortest clip",
            got="; ".join(silent[:8]) + (f"; and {len(silent) - 8} more" if len(silent) > 8 else ""),
            remedy="cut the silence out of these noises, or leave them out",
        )
