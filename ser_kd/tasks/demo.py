"""ser-kd demo: the whole story on speech made offline: teacher, student alone, distilled student, report."""

from __future__ import annotations

import shlex
import time

from ser_kd.runtime import console
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config

STORY = (
    ("demo/teacher", "a spectrogram ResNet learns from labels: the teacher"),
    ("demo/student", "a small TIM-Net learns from labels alone: the student"),
    ("demo/distilled", "the same TIM-Net learns from labels and from the teacher"),
)


def run(arguments: list[str]) -> int:
    """Tell the story; runs that are finished already are found and not repeated.

    Args:
        arguments: ``key=value`` overrides of ``conf/train.yaml`` for all three trainings.

    Returns:
        0.
    """
    configs = []
    for experiment, _ in STORY:
        config = compose("train", [f"experiments={experiment}", *arguments])
        check_config(config)
        configs.append(config)
    from ser_kd.tasks import check, report  # late: torch and lightning take seconds to import
    from ser_kd.tasks.run_execution import execute_run
    from ser_kd.tasks.training_run import prepare_run

    start = time.perf_counter()
    steps = len(STORY) + 2
    console.heading(f"1/{steps}  make the corpus and prove that its folds do not leak")
    check.run(["corpus=demo", *(word for word in arguments if word.startswith(("paths.", "corpus.", "protocol")))])
    for number, ((experiment, line), config) in enumerate(zip(STORY, configs, strict=True), start=2):
        console.heading(f"{number}/{steps}  {line}")
        execute_run(prepare_run(config, experiment, shlex.join(["ser-kd", "train", f"experiments={experiment}", *arguments])))
    console.heading(f"{steps}/{steps}  read the records and make the report")
    report.run([str(configs[0].paths.runs), "experiments=demo/*"])
    console.show(f"the whole story took {(time.perf_counter() - start) / 60:.1f} minutes")
    return 0
