"""ser-kd cache-teacher: put a teacher's answers to the training clips of a fold on disk, for trainings with teacher.cache=auto."""

from __future__ import annotations

import shlex

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import console
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config


def run(arguments: list[str]) -> int:
    """Build the cache that a training with the same words and ``teacher.cache=auto`` reads.

    Args:
        arguments: ``key=value`` overrides of ``conf/train.yaml``.

    Returns:
        0.

    Raises:
        ConfigError: If there is no teacher, or its answers cannot be cached.
        DataError: If the cache cannot be written.
    """
    config = compose("train", arguments)
    check_config(config)
    from ser_kd.tasks.run_teacher import open_teacher_cache  # late: torch and lightning take seconds to import
    from ser_kd.tasks.training_run import prepare_run

    run = prepare_run(config, config.experiment or "own", shlex.join(["ser-kd", "train", *arguments]))
    if run.asked is None:
        raise ConfigError(
            "There is no teacher whose answers could be cached.",
            expected="an experiment with a teacher that a term listens to",
            got="teacher: null" if run.teacher is None else "; ".join(run.switches),
            remedy="choose one, such as experiments=wav_to_mfcc/ce_kl, or set teacher=finished_run teacher.run=FOLDER",
        )
    opened = open_teacher_cache(run)
    if opened.shelf is None:
        raise ConfigError(
            "The teacher's answers cannot be cached.",
            expected="clips that it hears alike in every epoch, and room for the answers",
            got=opened.reason,
            remedy="clips that are new in each epoch: cache.views=4, or a longer datamodule.clip_samples where they are cropped; "
            "mix-up: views=clean; too little room: a larger cache.budget_gb",
        )
    console.table(
        {
            "folder": str(opened.shelf.folder),
            "size": f"{opened.shelf.size_bytes / 1e6:,.1f} MB",
            "clips": f"{opened.clips} training clips of fold {config.fold}",
            "views": opened.view,
            "time": f"{opened.seconds:.1f} s for {opened.built} answers" if opened.built else "complete, nothing to do",
        }
    )
    return 0
