"""Models that read transcripts: what they need of a run's clips and views, and where they have nothing to say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig
from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.distill.views import Views
from ser_kd.runtime import console

STUDENT = "student"


def list_readers(student: nn.Module, teachers: Mapping[str, nn.Module]) -> list[str]:
    """List who reads transcripts: ``student``, and members of the teacher by name."""
    models = {STUDENT: student, **{f"teacher {name}": model for name, model in teachers.items()}}
    return [name for name, model in models.items() if getattr(model, "reads_text", False)]


def check_readers(readers: Sequence[str], data: SpeechDataModule, views: Views) -> None:
    """Check before training that there is a text for each clip that is read, and that it belongs to what is heard.

    Args:
        readers: Who reads, see ``list_readers``.
        data: The fold.
        views: What each of them gets.

    Raises:
        DataError: If clips have no text, naming them.
        ConfigError: If a reader's clips are mixed, for texts cannot be.
    """
    if not readers:
        changed = [
            key
            for key, is_set in (
                ("datamodule.transcripts", data.transcripts.path is not None),
                ("datamodule.word_error_rate", data.word_error_rate > 0),
            )
            if is_set
        ]
        if changed:
            console.warn(f"{' and '.join(changed)}: nobody in this run reads, so it changes nothing but the run's name")
        return
    data.check_texts()
    mixed = [name for name in readers if (views.mixes_any if name == STUDENT else views.mixes_clips)]
    if mixed:
        raise ConfigError(
            "Clips are mixed, and their transcripts cannot be.",
            expected=f"views without mix-up for a model that reads ({', '.join(mixed)})",
            got="views with mix-up",
            remedy="choose views=clean",
        )


def check_reads(models: Iterable[nn.Module], wanted: Mapping[str, Any], source: str) -> None:
    """Check that a model of a finished run reads, where something is said of texts.

    Args:
        models: The model, or those of a teacher.
        wanted: Keys that speak of texts, and what was given.
        source: The run as it was named.

    Raises:
        ConfigError: If none reads.
    """
    if wanted and not any(getattr(model, "reads_text", False) for model in models):
        raise ConfigError(
            "Something is said of texts, and the model reads none.",
            expected="a run whose model reads transcripts",
            got=f"{', '.join(f'{key}={value}' for key, value in wanted.items())} for {source}",
            remedy=f"leave {' and '.join(wanted)} out",
        )


def hand_over_transcripts(data: SpeechDataModule, views: Views) -> None:
    """Give the words of the training clips to the views that wait for them.

    Raises:
        ConfigError: If they wait and there are no words.
    """
    if views.awaits_transcripts:
        views.take_transcripts([u.text for u in data.fold.train if u.text])


def check_hears(config: DictConfig, source: str, verb: str) -> None:
    """Check that a run's model hears sound, before it is loaded.

    Args:
        config: The run's configuration.
        source: The run as it was named.
        verb: What was asked of it, in words.

    Raises:
        ConfigError: If it reads transcripts, alone or beside what it hears.
    """
    student: Any = config.get("student") or {}
    if "encoder" in student and student.get("frontend") is None:
        raise ConfigError(
            f"A model that reads transcripts and hears nothing cannot be {verb}.",
            expected="a run whose model has a front-end for waveforms",
            got=f"{source}: student.frontend=null",
            remedy="name a run that hears, such as a student that this one taught; ser-kd evaluate judges this one",
        )
    reader = _find_reader(student, "student")
    if reader:
        raise ConfigError(
            f"A model that reads transcripts cannot be {verb}.",
            expected="a run whose model answers from sound alone",
            got=f"{source}: {reader}.frontend=null, which reads",
            remedy="name a run that only hears, such as a student that this one taught; ser-kd evaluate judges this one",
        )


def _find_reader(node: Any, place: str) -> str:
    """Give the place of the first branch or upstream without a front-end; empty where all hear."""
    if not isinstance(node, Mapping):
        return ""
    if "encoder" in node and "frontend" in node and node["frontend"] is None:
        return place
    return next((found for key, part in node.items() if (found := _find_reader(part, f"{place}.{key}"))), "")
