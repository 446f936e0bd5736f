"""ser-kd evaluate: judge a finished run again, or on another corpus with labels mapped by name; or a teacher as it is."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ser_kd.contracts.cross_corpus_record import CrossCorpusRecord
from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError, LeakageError
from ser_kd.data.manifest import describe_left_out
from ser_kd.data.protocols.annotated_dimensions import describe_dimensions
from ser_kd.runtime import console
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config

SUMMARY = (
    "ua", "wa", "f1_macro", "f1_weighted", "calibration_error", "ccc_mean",
    *(f"{kind}_{name}" for kind in ("ccc", "pearson", "rmse") for name in DIMENSIONS),
)  # fmt: skip
"""Metrics that are shown, as far as a run has them."""


def run(arguments: list[str]) -> int:
    """Evaluate a run.

    Args:
        arguments: ``key=value`` overrides of ``conf/evaluate.yaml``.

    Returns:
        0.

    Raises:
        ConfigError: If neither a run nor a teacher is named, or the split or the protocol's clips are not those of the run.
        LeakageError: If all clips of the run's own corpus are asked for.
    """
    config = compose("evaluate", arguments)
    check_config(config)
    _check_who(config)
    for key, choices in (
        ("split", ("test", "validation", "all", None)),
        ("checkpoint", ("best", "last")),
        ("submission", ("dimensions", "classes", None)),
    ):
        if config[key] not in choices:
            named = [choice for choice in choices if choice]
            raise ConfigError(f"Unknown {key}.", expected=" or ".join(named), got=str(config[key]), remedy=f"set {key} to one of them")
    from ser_kd.runtime.build import build  # late: torch and lightning take seconds to import
    from ser_kd.tasks.cross_corpus import is_own_corpus, judge_other_corpus
    from ser_kd.tasks.finished_runs import read_finished_run, read_run_config

    command = shlex.join(["ser-kd", "evaluate", *arguments])
    if config.teacher is not None:
        from ser_kd.tasks.teacher_evaluation import evaluate_teacher, show_teacher  # late

        show_teacher(*evaluate_teacher(config, command))
        return 0
    folder = Path(config.run)
    record, run_config = read_finished_run(folder), read_run_config(folder)
    corpus = build(config.corpus) if "_target_" in config.corpus else None
    if getattr(corpus, "part", None) == "test3":
        _submit(config, corpus)
        return 0
    if config.submission is not None:
        raise ConfigError(
            "Only turns whose labels are hidden are submitted.",
            expected="submission beside corpus=msp_podcast corpus.part=test3",
            got=f"submission={config.submission}",
            remedy="leave it out: what the run answers stands in evaluations/ beside it",
        )
    if corpus is None or is_own_corpus(record, run_config, corpus):
        _judge_own_corpus(config, record.corpus)
        return 0
    if config.split not in (None, "all"):
        raise ConfigError(
            f"The run has no {config.split} split of {corpus.name}.",
            expected="split=all, or no split: another corpus is judged whole",
            got=f"split={config.split} of a run that was trained on {record.corpus}",
            remedy="leave split out",
        )
    if config.word_error_rate is not None:
        raise ConfigError(
            "Words err in the texts of a run's own corpus only, by the words of its training clips.",
            expected="word_error_rate without another corpus",
            got=f"word_error_rate={config.word_error_rate} beside corpus={corpus.name}",
            remedy="leave one of the two out",
        )
    evaluation, place = judge_other_corpus(
        folder, corpus, checkpoint=config.checkpoint, restrict=config.restrict, label_set=config.label_set,
        command=command, cache_dir=config.paths.cache, texts=_read_texts(config),
    )  # fmt: skip
    _show_other_corpus(evaluation)
    console.show(f"\nwritten: {place} and {place.with_suffix('.csv').name}")
    return 0


def _check_who(config: DictConfig) -> None:
    """Check that either a run or a teacher is to be judged, and that a teacher has a corpus."""
    named = [key for key in ("run", "teacher") if config[key] is not None]
    if len(named) != 1:
        raise ConfigError(
            "Who is to be judged is said twice." if named else "Nobody is to be judged.",
            expected="run=FOLDER of a finished run, or teacher=adv_ensemble corpus=NAME",
            got=" and ".join(named) or "neither",
            remedy="take one of the two away" if named else "give one of the two",
        )
    if config.teacher is None:
        return
    idle = [f"{key}={config[key]}" for key, plain in (("split", None), ("checkpoint", "best"), ("restrict", False), ("label_set", None),
            ("word_error_rate", None))
            if config[key] != plain]  # fmt: skip
    if idle or "_target_" not in config.corpus:
        raise ConfigError(
            "A teacher is judged on all clips of a corpus." if idle else "A teacher is judged, and no corpus is chosen.",
            expected="teacher=… corpus=NAME and nothing that belongs to a run",
            got=", ".join(idle) or "no corpus",
            remedy="leave these out" if idle else "choose one, such as corpus=demo",
        )


def _read_texts(config: DictConfig) -> dict[str, str]:
    """Give the keys that say which texts are read, as far as they are given."""
    return {key: config[key] for key in ("transcripts", "on_missing_text") if config[key] is not None}


def _submit(config: DictConfig, corpus: Any) -> None:
    from ser_kd.tasks.submission import write_submission  # late: torch and lightning take seconds to import

    place, clips, missing = write_submission(
        Path(config.run), corpus, config.checkpoint, config.submission, config.paths.cache, _read_texts(config)
    )
    console.show(f"{clips} turns answered, {place}")
    if missing:
        console.warn(f"not in it, for {describe_left_out(missing)}")


def _judge_own_corpus(config: DictConfig, trained_on: str) -> None:
    if config.split == "all":
        raise LeakageError(
            "The run was trained on clips of this corpus, so it cannot be judged on all of them.",
            expected="split=test or split=validation, or a corpus other than the run's own",
            got=f"split=all of {trained_on}",
            remedy="leave split out, or choose another corpus (corpus=…)",
        )
    idle = [f"{key}={config[key]}" for key in ("restrict", "label_set") if config[key]]
    if idle:
        raise ConfigError(
            "The run's own corpus is judged under the run's own classes.",
            expected="restrict and label_set only beside a corpus other than the run's own",
            got=", ".join(idle),
            remedy="leave them out, or choose another corpus (corpus=…)",
        )
    from ser_kd.tasks.finished_runs import judge_again  # late: torch and lightning take seconds to import

    split = config.split or "test"
    moved = {name: value for name, value in config.corpus.items() if value is not None}
    record, result, notes = judge_again(
        Path(config.run), split, config.checkpoint, moved, config.paths.cache, config.word_error_rate, _read_texts(config)
    )
    rows = {}
    for name in (name for name in SUMMARY if name in result.values):
        recorded = record.metrics.get(f"{split}/{name}")
        then = "" if recorded is None or config.checkpoint != "best" else f"   (record: {recorded:.4f})"
        rows[name] = f"{_format(result.values[name])}{then}"
    console.heading(f"{record.experiment}, fold {record.protocol.fold}, seed {record.seed}: {split}, {config.checkpoint} checkpoint")
    console.table(rows)
    labels = record.protocol.classes
    if labels:
        console.columns(["true | predicted", *labels], [(label, *row) for label, row in zip(labels, result.confusion, strict=True)])
    for text in notes:
        console.warn(text)


def _show_other_corpus(evaluation: CrossCorpusRecord) -> None:
    source = f"{evaluation.experiment}, fold {evaluation.fold}, seed {evaluation.seed}, trained on {evaluation.trained_on}"
    console.heading(f"{source}: all of {evaluation.corpus}, {evaluation.checkpoint} checkpoint")
    present = [(label, count) for label, count in zip(evaluation.classes, evaluation.class_counts, strict=True) if count]
    renamed = ", ".join(f"{label} counts as {name}" for label, name in evaluation.mapping.items() if label != name)
    unmapped = ", ".join(f"{label} {count} clips" for label, count in evaluation.unmapped.items())
    fate = "the model was not allowed to answer so" if evaluation.restricted else "such an answer counts as an error"
    of_unmapped = "left out" if evaluation.targets == "classes" else "not counted among classes"
    judged = {"judged": f"{evaluation.clips} clips of {evaluation.speakers} speakers, fingerprint {evaluation.fingerprint}"}
    if evaluation.classes:
        judged |= {
            "classes": ", ".join(f"{label} {count}" for label, count in present) + (f"; {renamed}" if renamed else ""),
            "unmapped": f"{unmapped}: {of_unmapped}, the model has no such class" if unmapped else "nothing",
            "not in corpus": f"{', '.join(evaluation.absent)}: {fate}" if evaluation.absent else "nothing",
        }
    if evaluation.targets != "classes":
        judged["dimensions"] = f"in [0, 1] by the corpus' own scale: {describe_dimensions(evaluation.dimension_counts, evaluation.clips)}"
    console.table(judged)
    console.show()
    console.table((name, _format(evaluation.metrics[name])) for name in SUMMARY if name in evaluation.metrics)
    if evaluation.classes:
        console.show()
        console.columns(
            ["class", "clips", "recall"],
            [(label, count, _format(evaluation.metrics[f"recall_{label}"])) for label, count in present],
        )
    shown = [name for name in ("ua", "wa", "ccc_mean") if name in evaluation.metrics]
    groups = [name.removeprefix(f"{shown[0]}_") for name in evaluation.metrics if name.startswith(f"{shown[0]}_") and "=" in name]
    if groups:
        console.show()
        console.columns(
            ["group", *shown], [(group, *(_format(evaluation.metrics[f"{name}_{group}"]) for name in shown)) for group in groups]
        )
    if evaluation.classes:
        console.show()
        rows = dict(zip(evaluation.classes, evaluation.confusion, strict=True))
        console.columns(["true | predicted", *evaluation.classes], [(label, *rows[label]) for label, _ in present])
    for text in evaluation.warnings:
        console.warn(text)
    if evaluation.clips_left_out:
        console.warn(describe_left_out(evaluation.clips_left_out))


def _format(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4f}"
