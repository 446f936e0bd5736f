"""ser-kd train: train a teacher, a baseline or a distilled student on one fold, and judge it once on the test split."""

from __future__ import annotations

import math
import shlex
from contextlib import nullcontext

from ser_kd.contracts.records import RunRecord
from ser_kd.runtime import console
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config

SHOWN = (
    "test/ua", "test/wa", "test/f1_macro", "test/f1_weighted", "test/teacher_agreement",
    "test/ccc_arousal", "test/ccc_dominance", "test/ccc_valence", "test/ccc_mean",
    "test/teacher_ccc_mean", "test/teacher_agreement_ccc_mean",
)  # fmt: skip
"""Metrics that are told at the end, as far as a run has them."""


def run(arguments: list[str]) -> int:
    """Train one run.

    Args:
        arguments: ``key=value`` overrides of ``conf/train.yaml``.

    Returns:
        0; faults of the user's are raised.
    """
    config = compose("train", arguments)
    check_config(config)
    # late: torch and lightning take seconds to import, and a typo should be told at once
    from ser_kd.data.sampling import check_shares
    from ser_kd.runtime.process_group import is_first
    from ser_kd.runtime.process_start import foresee_processes, join_processes
    from ser_kd.tasks.dry_run import describe_costs
    from ser_kd.tasks.run_execution import execute_run
    from ser_kd.tasks.training_run import prepare_run

    command = shlex.join(["ser-kd", "train", *arguments])
    with nullcontext() if config.dry_run else join_processes(config.trainer):
        prepared = prepare_run(config, config.experiment or "own", command)
        console.show(prepared.fold.describe())
        for line in prepared.noise.audit.describe() if prepared.noise else []:
            console.show(line)
        if config.dry_run:
            check_shares(config.datamodule.batch_size, foresee_processes(config.trainer))
            console.table(describe_costs(prepared))
            console.note("dry run: nothing was trained")
            return 0
        console.note(f"run folder {prepared.folder}")
        record = execute_run(prepared)
        if is_first():
            _show_result(record)
    return 0


def _show_result(record: RunRecord) -> None:
    found = {name: record.metrics[name] for name in SHOWN if name in record.metrics}
    known = {name: value for name, value in found.items() if not math.isnan(value)}
    if all("teacher_agreement" in name for name in known):  # clips without labels: nothing else can be known
        found = known or found
    shown = {name.removeprefix("test/"): f"{value:.4f}" for name, value in found.items()}
    console.heading(f"{record.experiment}: test, fold {record.protocol.fold}, seed {record.seed}")
    if record.protocol.selection == "test":
        console.warn("the model was selected on this very test fold (protocol.validation=test_fold)")
    if "train/teacher_confidence" in record.metrics:
        shown["teacher_confidence"] = (
            f"{record.metrics['train/teacher_confidence']:.4f} (the teacher's mean largest probability on training clips)"
        )
    console.table(shown)
