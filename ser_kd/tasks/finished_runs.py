"""Read finished runs, load the models they hold, and judge them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.records import RunRecord
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.transcripts import Transcripts
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.objective import Objective
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.dimension_error import DimensionError
from ser_kd.metrics.panel import PanelResult
from ser_kd.models.run_upstream import load_upstreams
from ser_kd.runtime.build import build, build_student
from ser_kd.runtime.progress import quieten_libraries, trainer_quietness
from ser_kd.runtime.recording import read_record
from ser_kd.storage.checkpoints import read_checkpoint
from ser_kd.tasks.prepared_clips import prepare_clips
from ser_kd.tasks.text_readers import check_reads

OWN_TEXTS: dict[str, Any] = {"transcripts": None, "on_missing_text": "error", "word_error_rate": 0.0}
"""Keys of a data module that speak of texts, as they are where nothing is said."""

OWN_CLIPS_ONLY: dict[Any, Any] = {"unlabelled_root": None, "transcripts": None, "word_error_rate": 0.0}
"""Keys of a run's data module that speak of its own corpus and are left out where another is judged."""


def read_finished_run(folder: Path) -> RunRecord:
    """Read the record of a run that is finished.

    Raises:
        DataError: If the folder holds no finished run.
    """
    record = read_record(folder)
    if record is None or record.status != "finished":
        raise DataError(
            "There is no finished run in this folder.",
            expected="a run folder (…/fold=K/seed=S) whose record.json says 'finished'",
            got=f"{folder}: {'no record.json' if record is None else record.status}",
            remedy="give the run's folder, or train it first; ser-kd report lists all runs",
        )
    return record


def read_run_config(folder: Path) -> DictConfig:
    """Read the configuration a run was made with.

    Raises:
        DataError: If ``config.yaml`` is missing or holds no mapping.
    """
    path = folder / "config.yaml"
    config = OmegaConf.load(path) if path.is_file() else None
    if not isinstance(config, DictConfig):
        raise DataError("The run has no usable config.yaml.", expected="a configuration", got=str(path), remedy="train the run again")
    return config


def load_student(folder: Path, checkpoint: str = "best") -> tuple[nn.Module, RunRecord, DictConfig]:
    """Build the model of a finished run and load its weights.

    Args:
        folder: Run folder.
        checkpoint: ``best`` or ``last``.

    Returns:
        The model in evaluation mode, the run's record and its configuration.

    Raises:
        DataError: If the run is not finished, or its checkpoint is missing or damaged.
    """
    record = read_finished_run(folder)
    config = read_run_config(folder)
    model: nn.Module = build_student(config.student, len(record.protocol.classes), record.protocol.learns_dimensions)
    path = folder / "checkpoints" / f"{checkpoint}.ckpt"
    if not path.is_file():
        raise DataError(
            "The run has no such checkpoint.", expected=str(path), got="no file", remedy="choose checkpoint=last, or train it again"
        )
    state: dict[str, Any] = read_checkpoint(path).get("state_dict", {})
    try:
        weights = {name.removeprefix("student."): value for name, value in state.items() if name.startswith("student.")}
        model.load_state_dict(weights)
    except RuntimeError as fault:
        raise DataError(
            "The checkpoint cannot be loaded.",
            expected="the weights of the model in config.yaml",
            got=f"{path}: {str(fault).splitlines()[0]}",
            remedy="it is damaged or from another version: train the run again",
        ) from fault
    load_upstreams(model, folder)
    model.unlearned_dimensions = tuple(record.unlearned_dimensions)  # type: ignore[assignment]
    return model.eval(), record, config


def judge_again(
    folder: Path, split: str, checkpoint: str, moved: Mapping[str, Any], cache_dir: str, word_error_rate: float | None = None,
    texts: Mapping[Any, Any] | None = None,
) -> tuple[RunRecord, PanelResult, list[str]]:  # fmt: skip
    """Judge a finished run's checkpoint on validation or test once more.

    Args:
        folder: Run folder.
        split: ``test`` or ``validation``.
        checkpoint: ``best`` or ``last``.
        moved: Keys of the corpus that are others now: ``root`` or ``path``, where it lies elsewhere.
        cache_dir: Folder for decoded audio.
        word_error_rate: Of the texts, for a model that reads; None as it was trained.
        texts: ``transcripts`` and ``on_missing_text`` of the data module where they are others than in training.

    Returns:
        The run's record, the new result, and what a reader must know of other texts.

    Raises:
        ConfigError: If texts are said something of and the model reads none.
        DataError: If the corpus is no longer the one the run was trained on, or the texts cannot be used.
    """
    model, record, config = load_student(folder, checkpoint)
    rate = {} if word_error_rate is None else {"word_error_rate": word_error_rate}
    check_reads([model], {**rate, **(texts or {})}, str(folder))
    if not texts:
        config = DictConfig(OmegaConf.merge(config, {"datamodule": rate}))
        data, notes = open_run_data(record, config, moved, cache_dir), []
    else:  # who is in the fold was decided by the texts of training
        was = {key: config.datamodule.get(key, plain) for key, plain in OWN_TEXTS.items()} | rate
        forgotten = OWN_TEXTS if was["on_missing_text"] != "skip" else {"word_error_rate": 0.0}
        data = open_run_data(record, DictConfig(OmegaConf.merge(config, {"datamodule": forgotten})), moved, cache_dir)
        chosen = was | dict(texts)
        data.word_error_rate = chosen["word_error_rate"]
        notes = data.exchange_texts(Transcripts(chosen["transcripts"], chosen["on_missing_text"]), split)
    if split == "validation" and not data.fold.validation_set:
        raise DataError(
            "The run has no validation clips: it was trained on them in the end.",
            expected="split=test of a refitted run",
            got="split=validation",
            remedy="leave split out",
        )
    return record, judge_clips(model, record.protocol.classes, data, split).results[split], notes


def open_run_data(record: RunRecord, config: DictConfig, moved: Mapping[str, Any], cache_dir: str) -> SpeechDataModule:
    """Read the clips of a finished run again, in the same fold.

    Args:
        record: The run's record.
        config: The run's configuration.
        moved: Keys of the corpus that are others now: ``root`` or ``path``, where it lies elsewhere.
        cache_dir: Folder for decoded audio.

    Raises:
        DataError: If the corpus is no longer the one the run was trained on.
    """
    data: SpeechDataModule = build(
        OmegaConf.merge(config.datamodule, {"cache_dir": cache_dir, "unlabelled_root": None}),
        corpus=build(OmegaConf.merge(config.corpus, moved)), protocol=build(config.protocol), fold=config.fold, seed=config.seed,
    )  # fmt: skip
    prepare_clips(data)
    if data.fold.fingerprint != record.protocol.fingerprint:
        raise DataError(
            "The corpus is not the one this run was trained on.",
            expected=f"protocol fingerprint {record.protocol.fingerprint}",
            got=data.fold.fingerprint,
            remedy="give the corpus as it was (corpus.root=…): the same clips, labels and speakers",
        )
    if config.get("refit"):
        data.refit()  # it was trained on its validation clips in the end
    return data


def judge_clips(model: nn.Module, classes: Sequence[str], data: SpeechDataModule, split: str) -> DistillationModule:
    """Judge a model on one split of a data module.

    Args:
        model: Maps ``ModelInput`` to ``Outputs`` with logits, dimensions or both, as the protocol of the data has it.
        classes: Class names in logit order.
        data: Holds the clips.
        split: ``test`` or ``validation``.

    Returns:
        The module that judged, with its ``results`` and ``predictions`` by split.
    """
    quieten_libraries("offline")
    if getattr(model, "reads_text", False):
        data.check_texts([split])
    targets = data.protocol.targets
    loss = DimensionError() if targets == "dimensions" else CrossEntropy()
    labels_only = Objective({"labels": {"loss": loss, "weight": 1.0}})  # judging needs no teacher
    module = DistillationModule(model, labels_only, classes, group_values=data.group_values, targets=targets)
    trainer = lightning.Trainer(accelerator="auto", devices=1, logger=False, enable_checkpointing=False, **trainer_quietness())
    judge = trainer.validate if split == "validation" else trainer.test
    judge(module, datamodule=data, verbose=False)
    return module
