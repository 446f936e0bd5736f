"""Train a prepared run, judge it once, and write everything down."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger
from omegaconf import OmegaConf

from ser_kd.contracts.records import RunRecord
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.models.costs import count_multiply_accumulates
from ser_kd.models.freezing import count_parameters
from ser_kd.models.layers.shared_statistics import keeps_own_statistics
from ser_kd.models.pretrained import pretrained_sources
from ser_kd.models.run_upstream import whole_model
from ser_kd.reports.run_figures import write_run_figures
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.runtime.environment import describe_hardware, git_revision, installed_packages
from ser_kd.runtime.process_faults import is_broken_connection
from ser_kd.runtime.process_group import compute_once, count_processes, is_first, wait_for_all
from ser_kd.runtime.process_start import check_alone
from ser_kd.runtime.recording import now, read_record, write_predictions, write_record
from ser_kd.runtime.tracking import end_tracking, make_loggers, name_sweep
from ser_kd.storage.atomic import remove_parts, replace_file, write_text
from ser_kd.storage.checkpoints import read_checkpoint
from ser_kd.storage.locks import hold_folder
from ser_kd.sweeps.job_folder import StoppedEarlyError
from ser_kd.tasks.averaged_weights import settle_weights
from ser_kd.tasks.checkpointed_fit import choose_epochs, fit_run
from ser_kd.tasks.heard_audio import write_heard_audio
from ser_kd.tasks.prepared_clips import list_notices
from ser_kd.tasks.training_run import TrainingRun, device_of
from ser_kd.tasks.unfinished_runs import describe_changes
from ser_kd.tasks.upstreams import take_along


def execute_run(run: TrainingRun) -> RunRecord:
    """Train, select on validation, judge once on test, and write everything down.

    A finished run is found and returned; an interrupted one goes on from its last checkpoint. Of several processes that share the
    run the first one decides what is found, writes and logs; all return the same record.

    Raises:
        ConfigError: If the run wants several processes and this one is alone.
        DataError: If another process trains this run.
    """
    check_alone(run.config.trainer)
    found = compute_once(lambda: read_record(run.folder))
    if found is not None and found.status == "finished":
        console.note(f"found finished run {run.folder}: nothing to do")
        return _take_over_trial(run, found)
    resumed = compute_once((run.folder / "checkpoints" / "last.ckpt").is_file)
    module = run.make_module(with_weights=not resumed)  # whatever cannot work together is told before anything is written
    with hold_folder(run.folder, "trained") if is_first() else nullcontext():
        if is_first():
            remove_parts(run.folder)
        return _execute(run, module, found, resumed)


def _execute(run: TrainingRun, module: DistillationModule, found: RunRecord | None, resumed: bool) -> RunRecord:
    if found is None:
        for line in describe_changes(run):
            console.warn(line)
    record = _new_record(run)
    if found is not None:
        _carry_over(found, record, resumed)
    record.notes += [f"started from the pretrained weights {source}" for source in pretrained_sources(module.student)]
    record.notes += [run.start] if run.start else _carry_start(found)
    for group in module.group_parameters():
        record.notes.append(group.describe())
        if is_first():
            console.note(record.notes[-1])
    adapters = count_parameters(module.objective)["total"]
    if adapters:
        record.notes.append(f"the objective's adapters hold {adapters:,} parameters, trained with the student: in no export or count of it")
    if keeps_own_statistics(module.student) and count_processes() > 1:
        record.notes.append("batch normalisation: each process had the statistics of its own share of a batch")
    if is_first():
        write_record(run.folder, record)
        write_text(run.folder / "config.yaml", OmegaConf.to_yaml(run.config, resolve=True))
        write_text(run.folder / "protocol.txt", run.fold.describe() + "\n")
        taught = [member.heard_audio for member in run.teacher.members] if run.teacher else []
        write_heard_audio(run.folder, run.data, [*taught, *(upstream.heard_audio for upstream in run.upstreams)])
        take_along(run.upstreams, run.folder)
    try:
        _train_and_judge(run, module, record)
    except BaseException as fault:
        # an interrupted run stays 'running' and goes on next time; a broken one says why
        if is_first() and isinstance(fault, StoppedEarlyError):
            record.status = "stopped"
            record.notes.append(f"stopped early by the sweep {record.sweep or 'it was a trial of'}")
            write_record(run.folder, record)
        elif is_first() and isinstance(fault, Exception) and not is_broken_connection(fault):
            record.status, record.failure = "failed", str(fault) or type(fault).__name__
            write_record(run.folder, record)
        raise
    return record


def _train_and_judge(run: TrainingRun, module: DistillationModule, record: RunRecord) -> None:
    config = run.config
    last = run.folder / "checkpoints" / "last.ckpt"
    resume_step = compute_once(lambda: int(read_checkpoint(last)["global_step"]) if last.is_file() else None)
    if resume_step is not None:
        console.note(f"goes on from its last checkpoint, after step {resume_step}")
    loggers = [] if not is_first() else make_loggers(
        run.folder, config.logger.wandb, config.logger.project, config.logger.entity,
        name=f"{run.experiment} fold {config.fold} seed {config.seed}",
        group=config.logger.group or f"{run.experiment} {run.identity}",
        tags=[*config.logger.tags, f"fold={config.fold}", f"seed={config.seed}"],
        config=OmegaConf.to_container(config, resolve=True),  # type: ignore[arg-type]
        resume_step=resume_step,
    )  # fmt: skip
    try:
        _fit_and_judge(run, module, record, loggers)
    finally:
        end_tracking(loggers)


def _fit_and_judge(run: TrainingRun, module: DistillationModule, record: RunRecord, loggers: list[Logger]) -> None:
    config = run.config
    if run.asked is not None and run.asked.needs_fit:
        _fit_teacher(run.asked, run)
    chosen_epochs = None
    if config.refit:
        chosen_epochs = choose_epochs(run, module, record)
        run.data.refit()
        module = run.make_module()
        record.protocol = run.fold.to_record()
    trainer = fit_run(run, module, run.folder / "checkpoints", loggers, chosen_epochs, record)
    weights = run.folder / "checkpoints" / ("last.ckpt" if config.refit else "best.ckpt")
    if config.refit:
        if is_first():
            with replace_file(run.folder / "checkpoints" / "best.ckpt") as part:
                shutil.copyfile(weights, part)
        weights = run.folder / "checkpoints" / "best.ckpt"
        wait_for_all()
    settle_weights(run, module, trainer, weights, record)
    rows: list[dict[str, Any]] = []
    for split in ("validation", "test") if run.fold.validation_set else ("test",):
        start = time.perf_counter()
        judge = trainer.validate if split == "validation" else trainer.test
        judge(module, datamodule=run.data, ckpt_path=str(weights), verbose=False, weights_only=True)
        record.timings[f"{split}_s"] = time.perf_counter() - start
        result = module.results[split]
        record.metrics |= {f"{split}/{name}": value for name, value in result.values.items()}
        record.undefined |= {f"{split}/{name}": reason for name, reason in result.undefined.items()}
        record.confusion[split] = result.confusion
        if result.teacher_confusion:
            record.teacher_confusion[split] = result.teacher_confusion
        rows += module.predictions[split]
    record.status, record.failure, record.finished_at = "finished", "", now()
    if is_first():
        _write_result(run, module, record, rows)
    for logger in loggers:
        logger.finalize("success")


def _fit_teacher(teacher: TeacherEnsemble, run: TrainingRun) -> None:
    def fit() -> dict[str, Any]:
        teacher.fit(run.data.val_dataloader(shared=False), device_of(run.config))
        return teacher.give_fit()

    found = compute_once(fit)
    if not is_first():
        teacher.take_fit(found)


def _write_result(run: TrainingRun, module: DistillationModule, record: RunRecord, rows: list[dict[str, Any]]) -> None:
    record.parameters = count_parameters(module.student)
    example = next(iter(run.data.test_dataloader())).model_input().take([0])
    with torch.compiler.set_stance("force_eager"), whole_model(module.student, example) as heard:
        record.multiply_accumulates = count_multiply_accumulates(module.student.cpu(), heard)
    record.input_samples = example.waveforms.shape[1]
    write_predictions(run.folder, rows)
    write_record(run.folder, record)
    write_run_figures(run.folder, record)


def _new_record(run: TrainingRun) -> RunRecord:
    objective = build(run.config.objective)
    return RunRecord(
        experiment=run.experiment,
        identity=run.identity,
        status="running",
        seed=run.config.seed,
        corpus=run.data.corpus.name,
        protocol=run.fold.to_record(),
        teachers=[member.record for member in run.teacher.members] if run.teacher else [],
        teaching=run.teacher.describe() if run.teacher else {},
        sample_rate_hz=run.data.sample_rate_hz,
        objective=objective.describe(),
        clips_left_out=dict(run.data.manifest.left_out),
        notes=[
            *run.data.manifest.notes,
            *(run.noise.notes if run.noise else []),
            *run.switches,
            *run.remarks,
            *(upstream.describe() for upstream in run.upstreams),
            *list_notices(run.data),
        ],
        noise=run.noise.corpus.describe() if run.noise else {},
        packages=installed_packages(),
        hardware={**describe_hardware(), **_describe_processes(run)},
        git_revision=git_revision(Path(__file__).parent),
        command=run.command,
        started_at=now(),
        sweep=name_sweep(run.config.get("sweep")),
        unlearned_dimensions=list(run.unlearned),
    )


def _describe_processes(run: TrainingRun) -> dict[str, str]:
    nodes = int(run.config.trainer.get("num_nodes") or 1) if count_processes() > 1 else 1
    return {"processes": str(count_processes()), "nodes": str(nodes), "precision": str(run.config.trainer.get("precision") or "32-true")}


def _take_over_trial(run: TrainingRun, found: RunRecord) -> RunRecord:
    """Let a sweep's trial be an ordinary run from now on where an ordinary command asks for it."""
    if found.sweep and not name_sweep(run.config.get("sweep")):
        console.note(f"it was a trial of the sweep {found.sweep} and is an ordinary run now")
        found.sweep = ""
        if is_first():
            write_record(run.folder, found)
    return found


def _carry_start(found: RunRecord | None) -> list[str]:
    return [] if found is None else [note for note in found.notes if note.startswith("started from blocks")]


def _carry_over(found: RunRecord, record: RunRecord, resumed: bool) -> None:
    """Tell in the new record of an unfinished run what the old one knew of its beginning."""
    record.started_at = found.started_at or record.started_at
    record.sweep = record.sweep if found.sweep else ""  # what was begun as an ordinary run is more than a trial
    record.notes += [note for note in found.notes if note.startswith("resumed")]
    if resumed:
        changed = "" if found.git_revision == record.git_revision else f", by the code of {record.git_revision} after {found.git_revision}"
        record.notes.append(f"resumed from its last checkpoint{changed}")
