"""The model card beside an export: what the model is, what it was trained on, what it can do and what not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ser_kd.contracts.benchmark_record import BenchmarkRecord
from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.export_record import ExportRecord
from ser_kd.contracts.records import RunRecord
from ser_kd.reports.answers import read_answers
from ser_kd.reports.benchmark_tables import describe_conditions, latency_table, ratio_table
from ser_kd.reports.ledger import read_predictions
from ser_kd.reports.sign_off import list_reasons, make_calibration_table, make_sign_off_table
from ser_kd.reports.significance import Interval, bootstrap_metrics
from ser_kd.reports.tables import Column, Table, format_share, render_markdown

METRICS = {
    "ua": "UA",
    "wa": "WA",
    "f1_macro": "F1, macro",
    "f1_weighted": "F1, weighted",
    "ccc_mean": "CCC, mean",
    **{
        f"{key}_{name}": f"{head}, {name}"
        for key, head in (("ccc", "CCC"), ("pearson", "Pearson"), ("rmse", "RMSE"))
        for name in DIMENSIONS
    },
}

LIMITS = (
    "It was trained on the corpus named above and on no other: other languages, microphones, rooms, ages and spontaneous speech were "
    "not tried unless a figure above says so.",
    "Emotion labels are the judgement of actors or annotators, not what a person feels. Do not use it to judge people.",
    "A clip without speech still gets an answer, which does not say that it applies.",
)


def read_intervals(folder: Path, record: RunRecord) -> dict[str, dict[str, Interval]]:
    """Put intervals around the run's own metrics, from its predictions.

    Args:
        folder: Run folder.
        record: Its record.

    Returns:
        Split -> metric -> interval; empty where the run left no usable predictions.
    """
    found: dict[str, dict[str, Interval]] = {}
    predictions = read_predictions(folder)
    kinds = [record.protocol.classes] if record.protocol.classes else []
    kinds += [[]] if record.protocol.learns_dimensions else []
    for split in ("test", "validation"):
        if predictions is not None and (predictions["split"] == split).any():
            for classes in kinds:
                try:
                    found[split] = found.get(split, {}) | bootstrap_metrics(read_answers(predictions, classes, split))
                except DataError:
                    continue
    return found


def render_model_card(
    run: RunRecord,
    export: ExportRecord,
    intervals: Mapping[str, Mapping[str, Interval]] | None = None,
    benchmark: BenchmarkRecord | None = None,
) -> str:
    """Render the card as Markdown with the head that the Hugging Face hub reads.

    Args:
        run: The run.
        export: Its export.
        intervals: From ``read_intervals``.
        benchmark: A benchmark that measured the run; None tells how to make one.
    """
    metadata = export.metadata
    names = metadata.get("labels") or metadata.get("dimensions") or []
    rate = int(metadata.get("sample_rate_hz", run.sample_rate_hz))
    first = export.files[0].file if export.files else "model_fp32.onnx"
    parts = [
        _make_head(run),
        f"# {run.experiment}: speech emotion recognition in one ONNX file",
        *_warn_of_failures(export),
        _describe(run, names),
        "## Use",
        f"From the raw waveform ({rate:,} Hz, mono, float32) to the answer; {_list_contents(metadata)} are inside the file.",
        f"```bash\npip install 'ser-kd[predict]'\nser-kd predict {first} recording.wav\n```",
        f'```python\nfrom ser_kd.deploy import Predictor\n\nprint(Predictor("{first}")("recording.wav"))\n```',
        _describe_interface(metadata, rate),
        "## Data and protocol",
        _list_protocol(run),
        "Licences: " + "; ".join(metadata.get("licences") or ["none stated"]) + ".",
        "## Metrics",
        f"Of the run's best checkpoint; the files hold the {export.checkpoint} one (see below)." if export.checkpoint != "best" else "",
        _make_metrics(run, intervals or {}),
        _make_recalls(run),
        "## Against the trained model",
        "Every file was asked about all test clips and compared with the trained model in torch (`sign_off.md`).",
        render_markdown(make_sign_off_table(export)).rstrip(),
    ]
    calibration = make_calibration_table(export)
    if calibration is not None:
        parts += ["## Calibration", render_markdown(calibration).rstrip()]
    parts += ["## Latency", *_list_latencies(run, benchmark)]
    warned = tuple(run.protocol.warnings) + tuple(note for file in export.files for note in file.notes) + tuple(export.notes)
    parts += ["## Limits", "\n".join(f"* {text}" for text in (*LIMITS, *warned))]
    made, trained = hide_folders(export.command), hide_folders(run.command)
    parts.append(f"Made by `{made}`; trained by `{trained}` (revision {run.git_revision or 'unknown'}).")
    return "\n\n".join(part for part in parts if part) + "\n"


def _list_contents(metadata: Mapping[str, object]) -> str:
    return "front-end, labels and calibration" if metadata.get("labels") else "front-end and the names of the dimensions"


def _warn_of_failures(export: ExportRecord) -> list[str]:
    reasons = [f"{file.file}: {reason}" for file in export.files for reason in list_reasons(file)]
    return [f"**NOT SIGNED OFF. {'; '.join(reasons)}. Do not ship it.**"] if reasons else []


def _list_latencies(run: RunRecord, benchmark: BenchmarkRecord | None) -> list[str]:
    """Render what a benchmark says of this run's files, and of the teacher it stood beside."""
    key = (run.experiment, run.identity, run.protocol.fold, run.seed)
    systems = benchmark.systems if benchmark else []
    own = next((system.name for system in systems if (system.experiment, system.identity, system.fold, system.seed) == key), None)
    if benchmark is None or own is None:
        return ["Not measured yet: `ser-kd benchmark RUN_FOLDER`."]
    only = replace(
        benchmark,
        latency=[cell for cell in benchmark.latency if cell.system == own],
        ratios=[ratio for ratio in benchmark.ratios if ratio.system == own],
    )
    tables = [latency_table(only), ratio_table(only)]
    return [*(render_markdown(table).rstrip() for table in tables if table is not None and table.rows), describe_conditions(only)]


def hide_folders(command: str) -> str:
    """Shorten absolute paths in a command to their last part: a card is read elsewhere.

    Example:
        >>> hide_folders("ser-kd train fold=0 corpus.root=/home/me/data/ravdess")
        'ser-kd train fold=0 corpus.root=…/ravdess'
    """
    return re.sub(r"(?<![\w.…])/(?:[^\s/'\"]+/)*([^\s/'\"]+)", r"…/\1", command)


def _make_head(run: RunRecord) -> str:
    lines = ["---", "library_name: onnx", "license: other", "pipeline_tag: audio-classification", "tags:", "- speech-emotion-recognition"]
    lines += ["- knowledge-distillation"] if run.is_distilled else []
    return "\n".join([*lines, "- ser_kd", "---"])


def _describe(run: RunRecord, names: Sequence[str]) -> str:
    taught = list(dict.fromkeys(teacher.experiment or teacher.name for teacher in run.teachers))
    verb = "distilled from" if run.is_distilled else "started from blocks of"
    origin = f"{verb} {len(run.teachers)} model(s) ({', '.join(taught)})" if taught else "trained without a teacher"
    size = f"{run.parameters['total']:,} parameters, running statistics included" if "total" in run.parameters else "size not recorded"
    macs = ""
    if run.multiply_accumulates and run.input_samples:
        seconds = run.input_samples / run.sample_rate_hz
        macs = f"; {run.multiply_accumulates / 1e6:,.1f} M multiply-accumulates for {seconds:.2f} s of speech"
    return f"It answers with {', '.join(names)}. {origin[0].upper()}{origin[1:]} by `ser_kd`; {size}{macs}."


def _describe_interface(metadata: Mapping[str, object], rate: int) -> str:
    output = metadata.get("output", "probabilities")
    shortest = int(str(metadata.get("minimum_samples", 0)))
    scale = " Dimensions lie on a scale from 0 to 1, which answers may leave." if output == "dimensions" else ""
    return (
        f"Inputs `waveform` (B, T) float32 and `length` (B,) int64, outputs `{output}` and `embedding`; at least {shortest:,} samples "
        f"({shortest / rate:.2f} s). {str(metadata.get('padding', '')).capitalize()}. "
        f"`ser-kd predict` hears longer recordings in windows of {int(str(metadata.get('window_samples', 0))) / rate:.2f} s and takes the "
        f"mean of their answers.{scale}"
    )


def _list_protocol(run: RunRecord) -> str:
    protocol = run.protocol
    rows = [
        f"* corpus {run.corpus}, protocol `{protocol.name}` (fingerprint `{protocol.fingerprint}`), "
        f"fold {protocol.fold} of {protocol.folds}, seed {run.seed}; "
        + ("trained on training and validation clips in the end" if protocol.selection == "refit" else f"chosen on {protocol.selection}"),
    ]
    for split, count in protocol.counts.items():
        speakers = protocol.speakers.get(split, [])
        rows.append(f"* {split}: {count:,} clips of {len(speakers)} speakers ({', '.join(speakers)})")
    return "\n".join(rows)


def _make_metrics(run: RunRecord, intervals: Mapping[str, Mapping[str, Interval]]) -> str:
    splits = [split for split in ("test", "validation") if any(name.startswith(f"{split}/") for name in run.metrics)]
    rows = []
    for key, name in METRICS.items():
        cells = []
        for split in splits:
            value, interval = run.metrics.get(f"{split}/{key}", math.nan), intervals.get(split, {}).get(key)
            around = f" ({interval.low:.3f} to {interval.high:.3f})" if interval else ""
            cells.append(f"{format_share(value)}{around}")
        if any(cell.lstrip("-")[0].isdigit() for cell in cells):
            rows.append((name, *cells))
    some = next((interval for found in intervals.values() for interval in found.values()), None)
    notes = (f"95 % bootstrap intervals, {some.units} {some.unit} resampled.",) if some else ()
    return render_markdown(Table((Column("metric"), *(Column(split, "right") for split in splits)), tuple(rows), notes)).rstrip()


def _make_recalls(run: RunRecord) -> str:
    labels = [label for label in run.protocol.classes if f"test/recall_{label}" in run.metrics]
    if not labels:
        return ""
    table = Table(
        tuple(Column(label, "right") for label in labels), (tuple(format_share(run.metrics[f"test/recall_{label}"]) for label in labels),)
    )
    return "Recall on test:\n\n" + render_markdown(table).rstrip()
