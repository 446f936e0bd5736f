"""Make the clips of a data module ready: decoded, audited, and with the named features that someone hears."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.distill.views import Views
from ser_kd.models.named_features import list_heard_features
from ser_kd.runtime import console


def prepare_clips(data: SpeechDataModule) -> None:
    """Decode a corpus, choose and audit the fold, and extract the features that are configured."""
    with console.progress("decoding audio") as data.progress:
        data.setup()
    extract_features(data)


def extract_features(data: SpeechDataModule, clips: Sequence[Utterance] | None = None, told: Sequence[str] = ()) -> None:
    """Extract the named features of clips, as far as they are not in the cache, and tell their licence.

    Args:
        data: Whose features.
        clips: Which; None are those of the fold.
        told: Lines that were shown before; a licence that stands in one is not told again.
    """
    if not data.features:
        return
    for line in list_notices(data):
        if not any(line in text for text in told):
            console.note(line)
    with console.progress("extracting features") as progress:
        data.extract_features(progress, console.note, clips)


def list_notices(data: SpeechDataModule) -> list[str]:
    """List what a user must know of the features in use."""
    return list(dict.fromkeys(extractor.notice for extractor in data.features.extractors.values() if extractor.notice))


def add_teacher_features(data: SpeechDataModule, members: Iterable[TeacherMember]) -> None:
    """Let the data module serve the features that teachers hear, as their own runs computed them.

    Raises:
        ConfigError: If a teacher's run does not say how a feature was computed, computed it otherwise than is done already, or from
            audio of another sample rate.
    """
    for member in members:
        whose = f"the teacher '{member.name}'"
        for name in list_heard_features(member.model):
            extractor = member.features.get(name)
            if extractor is None:
                raise ConfigError(
                    f"{whose.capitalize()} hears the feature '{name}', and nothing says how it is computed.",
                    expected=f"datamodule.features.{name} in the configuration of its run",
                    got=", ".join(member.features) or "no features",
                    remedy="train it again with features@datamodule.features=…",
                )
            if member.sample_rate_hz not in (None, data.sample_rate_hz):
                raise ConfigError(
                    f"{whose.capitalize()} learned '{name}' from audio of another sample rate.",
                    expected=f"{member.sample_rate_hz:,} Hz",
                    got=f"{data.sample_rate_hz:,} Hz",
                    remedy=f"set datamodule.sample_rate_hz={member.sample_rate_hz}, or train the teacher at {data.sample_rate_hz}",
                )
            data.features.add(name, extractor, whose)


def check_heard(data: SpeechDataModule, student: nn.Module, teachers: Iterable[TeacherMember], views: Views) -> None:
    """Check that a student is served the features it hears, and that no view changes a waveform whose features it leaves alone.

    Features are those of the clean clip: a transform of the waveform does not reach whoever hears them.

    Raises:
        ConfigError: If a feature is missing, or a view would not do to a model what it says.
    """
    heard = list_heard_features(student)
    missing = [name for name in heard if name not in data.features.extractors]
    if missing:
        raise ConfigError(
            f"The student hears the feature '{missing[0]}', and the batches carry none of that name.",
            expected=f"datamodule.features with {', '.join(missing)}",
            got=", ".join(data.features.extractors) or "datamodule.features=null",
            remedy=f"add features@datamodule.features={missing[0]}, or choose another front-end",
        )
    listening = [member.name for member in teachers if list_heard_features(member.model)]
    slots = [("both", views.both), ("student", views.student), ("teacher", views.teacher)]
    deaf = {
        "both": [*(["the student"] if heard else []), *listening],
        "student": ["the student"] if heard else [],
        "teacher": listening,
    }
    for slot, transform in slots:
        mixes = getattr(transform, "mixes_clips", False) and bool(data.features)
        if transform is not None and (deaf[slot] or mixes):
            who = " and ".join(deaf[slot]) or "batches with features"
            raise ConfigError(
                f"The view views.{slot} changes waveforms, and {who} would not hear it: named features are those of the clean clip.",
                expected="views that reach whoever they are meant for",
                got=f"views.{slot} beside the features {', '.join(data.features.extractors)}",
                remedy=_advise(slot, bool(heard), mixes),
            )


def _advise(slot: str, student_hears_features: bool, mixes: bool) -> str:
    if mixes:
        return "set views=clean, or views without mix-up"
    if student_hears_features:
        return "set views=clean; student.feature_transforms change features"
    return f"move the transforms to views.student, so that the teacher hears the clean clip (views.{slot}=null)"
