"""ser-kd evaluate: judge a checkpoint of a finished run again and compare with its record."""

from __future__ import annotations

from pathlib import Path

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import console
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config


def run(arguments: list[str]) -> int:
    """Evaluate a run.

    Args:
        arguments: ``key=value`` overrides of ``conf/evaluate.yaml``.

    Returns:
        0.

    Raises:
        ConfigError: If the split or the protocol's clips are not those of the run.
    """
    config = compose("evaluate", arguments)
    check_config(config)
    if config.split not in ("test", "validation"):
        raise ConfigError("Unknown split.", expected="test or validation", got=str(config.split), remedy="set split to one of them")
    from ser_kd.tasks.finished_runs import judge_again  # late: torch and lightning take seconds to import

    moved = {name: value for name, value in config.corpus.items() if value is not None}
    record, result = judge_again(Path(config.run), config.split, config.checkpoint, moved, config.paths.cache)
    rows = {}
    for name in ("ua", "wa", "f1_macro", "f1_weighted", "calibration_error"):
        recorded = record.metrics.get(f"{config.split}/{name}")
        then = "" if recorded is None or config.checkpoint != "best" else f"   (record: {recorded:.4f})"
        rows[name] = f"{result.values[name]:.4f}{then}"
    console.heading(f"{record.experiment}, fold {record.protocol.fold}, seed {record.seed}: {config.split}, {config.checkpoint} checkpoint")
    console.table(rows)
    labels = record.protocol.classes
    console.columns(["true | predicted", *labels], [(label, *row) for label, row in zip(labels, result.confusion, strict=True)])
    return 0
