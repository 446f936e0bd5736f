"""The answers of a finished run to turns whose labels are hidden, as a challenge wants them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.contracts.records import RunRecord
from ser_kd.data.corpora.msp_podcast import COLUMNS, EMOTIONS, SCALE, MspPodcast
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.protocols.all_clips import AllClips
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.storage.atomic import replace_file
from ser_kd.tasks.finished_runs import OWN_CLIPS_ONLY, load_student
from ser_kd.tasks.prepared_clips import prepare_clips
from ser_kd.tasks.text_readers import check_reads

_ORDER = ("EmoAct", "EmoVal", "EmoDom")
"""As the challenge has the columns."""


def write_submission(
    folder: Path, corpus: MspPodcast, checkpoint: str, wanted: str | None, cache_dir: str, texts: Mapping[Any, Any] | None = None
) -> tuple[Path, int, Mapping[str, str]]:
    """Answer about every turn of Test3 and write ``evaluations/msp_podcast_test3_submission.csv`` beside the run, or
    ``…_submission_dimensions.csv`` and ``…_submission_classes.csv`` where one of the two is wanted.

    Columns: ``FileName``; ``EmoAct``, ``EmoVal`` and ``EmoDom`` on 1 to 7, cut off there, where the run learned dimensions; ``EmoClass``
    with the corpus' letters where it learned classes.

    Args:
        folder: Run folder.
        corpus: MSP-Podcast with ``part=test3``.
        checkpoint: ``best`` or ``last``.
        wanted: ``dimensions`` or ``classes`` alone; None takes all that the run answers.
        cache_dir: Folder for decoded audio.
        texts: ``transcripts`` and ``on_missing_text`` of the data module, for a model that reads.

    Returns:
        The file, the number of turns in it, and name -> reason of those whose audio cannot be used.

    Raises:
        ConfigError: If the run does not answer what is wanted, or with classes that the corpus has not.
        DataError: If the run or the corpus cannot be used.
    """
    model, run, config = load_student(folder, checkpoint)
    check_reads([model], texts or {}, str(folder))
    columns = _choose_columns(run, wanted)
    data: SpeechDataModule = build(
        OmegaConf.merge(config.datamodule, {"cache_dir": cache_dir, "withhold": None, **OWN_CLIPS_ONLY, **(texts or {})}),
        corpus=corpus,
        protocol=AllClips(labelled=False),
        fold=0,
        seed=config.seed,
    )
    prepare_clips(data)
    if getattr(model, "reads_text", False):
        data.check_texts(["test"])
    for text in data.manifest.notes if texts else ():
        console.warn(text)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    beyond = dict.fromkeys(DIMENSIONS, 0) if any(name in columns for name in _ORDER) else {}
    choices = [corpus.name, "submission", wanted, "last" if checkpoint == "last" else None]
    place = folder / "evaluations" / f"{'_'.join(choice for choice in choices if choice)}.csv"  # no choice overwrites another
    with replace_file(place) as part, part.open("w", newline="", encoding="utf-8") as file, torch.inference_mode():
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["FileName", *columns])
        for batch in data.test_dataloader():
            outputs = model(batch.to(device).model_input())
            answers = [column(outputs) for column in columns.values()]
            for number, name in enumerate(beyond):
                beyond[name] += _count_beyond(outputs, number)
            table.writerows([f"{name}.wav", *row] for name, *row in zip(batch.ids, *answers, strict=True))
    clipped = ", ".join(f"{name} {count}" for name, count in beyond.items() if count)
    if clipped:
        console.warn(f"answers beyond {SCALE.low:g} to {SCALE.high:g} are written as its ends ({clipped} of {len(data.fold.test)} turns)")
    return place, len(data.fold.test), data.manifest.left_out


def _choose_columns(run: RunRecord, wanted: str | None) -> dict[str, Callable[[Outputs], list[str]]]:
    """Give the columns that the run can fill: name -> how they are read from its answers."""
    given = [name for name, there in (("dimensions", run.protocol.learns_dimensions), ("classes", run.protocol.classes)) if there]
    if wanted is not None and wanted not in given:
        raise ConfigError(
            f"The run does not answer with {wanted}.",
            expected=f"submission={' or '.join(given)}",
            got=f"submission={wanted} of a run with protocol.targets={run.protocol.targets}",
            remedy=f"submit a run that was trained with protocol.targets={wanted} or both",
        )
    chosen = given if wanted is None else [wanted]
    if "dimensions" in chosen and run.unlearned_dimensions:
        raise ConfigError(
            f"The run never learned {' and '.join(run.unlearned_dimensions)}, and a submission needs all three dimensions.",
            expected="a run that learned arousal, dominance and valence",
            got=f"{run.experiment} ({run.identity})",
            remedy="submit another run" + (", or submission=classes" if run.protocol.classes else ""),
        )
    columns: dict[str, Callable[[Outputs], list[str]]] = {}
    if "dimensions" in chosen:
        columns |= {name: _read_dimension(DIMENSIONS.index(COLUMNS[name])) for name in _ORDER}
    if "classes" in chosen:
        columns["EmoClass"] = _read_letter(run.protocol.classes)
    return columns


def _read_dimension(place: int) -> Callable[[Outputs], list[str]]:
    def read(outputs: Outputs) -> list[str]:
        if outputs.dimensions is None:  # the record says otherwise; told to the type checker
            raise RuntimeError("the model gives no dimensions")
        return [f"{SCALE.restore(value):.6f}" for value in outputs.dimensions[:, place].float().tolist()]

    return read


def _count_beyond(outputs: Outputs, place: int) -> int:
    if outputs.dimensions is None:
        return 0
    values = outputs.dimensions[:, place]
    return int(((values < 0) | (values > 1)).sum())


def _read_letter(classes: list[str]) -> Callable[[Outputs], list[str]]:
    letters = {emotion: letter for letter, emotion in EMOTIONS.items()}
    strange = [name for name in classes if name not in letters]
    if strange:
        raise ConfigError(
            "The run has classes that MSP-Podcast has not.",
            expected=f"classes of {', '.join(name for name in letters if name)}",
            got=", ".join(strange),
            remedy="submit a run whose classes are the corpus' own, or submission=dimensions of one that learned both",
        )

    def read(outputs: Outputs) -> list[str]:
        if outputs.logits is None:  # likewise
            raise RuntimeError("the model gives no classes")
        return [letters[classes[int(place)]] for place in outputs.logits.argmax(dim=1)]

    return read
