"""The sign-off of an export as a table and a page: may these files ship?"""

from __future__ import annotations

import math

from ser_kd.contracts.export_record import ExportedFile, ExportRecord
from ser_kd.reports.tables import NOTHING, Column, Table, format_points, format_share, render_markdown, render_plain


def make_sign_off_table(record: ExportRecord) -> Table:
    """Put size, distance from torch and loss on the test split side by side, one row for each file."""
    with_classes = any("argmax_agreement" in file.metrics for file in record.files)
    score, name = ("ua", "UA") if with_classes else ("ccc", "CCC")
    columns = [Column("file"), Column("KB", "right"), Column("max |Δ|", "right"), Column("mean |Δ|", "right")]
    columns += [Column("same answer", "right")] if with_classes else []
    columns += [Column(f"{name} torch", "right"), Column(name, "right"), Column(f"Δ{name}, points", "right")]
    columns += [Column("ECE", "right")] if with_classes else []
    columns.append(Column("signed off"))
    return Table(tuple(columns), tuple(_make_row(file, score, with_classes) for file in record.files))


def tell_sign_off(record: ExportRecord) -> str:
    """Tell the outcome in plain text for a terminal, with every condition that does not hold."""
    lines = [render_plain(make_sign_off_table(record)).rstrip()]
    lines += [f"{file.file}: {note}" for file in record.files for note in file.notes]
    lines += [f"NOT SIGNED OFF  {file.file}: {reason}" for file in record.files for reason in list_reasons(file)]
    return "\n".join(lines)


def list_reasons(file: ExportedFile) -> list[str]:
    """List why a file is not signed off; none where it is."""
    if not file.gates:
        return ["no condition was judged: give it bounds (gates)"]
    return [gate.describe() for gate in file.gates if not gate.passed]


def render_sign_off(record: ExportRecord) -> str:
    """Render the whole sign-off as Markdown."""
    parts = [
        f"# Sign-off of {record.experiment}, fold {record.fold}, seed {record.seed}",
        f"{'Signed off.' if record.signed_off else 'NOT signed off.'} Run `{record.identity}`, {record.checkpoint} checkpoint; "
        f"every file was asked about the raw waveforms of {record.files[0].clips if record.files else 0} test clips, one by one, "
        "and compared with the trained model in torch.",
        render_markdown(make_sign_off_table(record)).rstrip(),
    ]
    for file in record.files:
        parts.append(f"## {file.file}")
        parts.append(_tell_making(file))
        gates = tuple(
            (gate.name, f"{gate.value:.3g}", _tell_bound(gate.bound, gate.at_least), "yes" if gate.passed else "NO") for gate in file.gates
        )
        if gates:
            columns = (Column("condition"), Column("found", "right"), Column("wanted", "right"), Column("holds"))
            parts.append(render_markdown(Table(columns, gates)).rstrip())
        parts += [f"* {note}" for note in file.notes]
    calibration = make_calibration_table(record)
    if calibration is not None:
        temperature = record.metadata.get("calibration_temperature", 1.0)
        parts += [
            "## Calibration",
            f"Logits are divided by {temperature:.3f}, fitted on validation.",
            render_markdown(calibration).rstrip(),
        ]
    parts += [f"* {note}" for note in record.notes]
    parts.append(f"Made by `{record.command}`, {record.finished_at}.")
    return "\n\n".join(parts) + "\n"


def make_calibration_table(record: ExportRecord) -> Table | None:
    """Put calibration error and log loss before and after the temperature side by side; None where no temperature was fitted."""
    rows = []
    for split in ("validation", "test"):
        if f"{split}/calibration_error_before" in record.metrics:
            names = [f"{split}/{name}{ending}" for name in ("calibration_error", "log_loss") for ending in ("_before", "")]
            rows.append((split, *(format_share(record.metrics.get(name, math.nan)) for name in names)))
    columns = ("split", "ECE before", "ECE after", "log loss before", "log loss after")
    return Table(tuple(Column(name, "right" if place else "left") for place, name in enumerate(columns)), tuple(rows)) if rows else None


def _make_row(file: ExportedFile, score: str, with_classes: bool) -> tuple[str, ...]:
    metrics = file.metrics
    row = [file.file, f"{file.bytes / 1000:,.1f}", _small(metrics, "max_difference"), _small(metrics, "mean_difference")]
    if with_classes:
        row.append(f"{100 * metrics.get('argmax_agreement', math.nan):.2f} %")
    row += [format_share(metrics.get(f"{score}_torch", math.nan)), format_share(metrics.get(score, math.nan))]
    row.append(format_points(metrics.get(f"{score}_change", math.nan)))
    if with_classes:
        row.append(format_share(metrics.get("calibration_error", math.nan)))
    return (*row, "yes" if file.signed_off else "NO")


def _tell_making(file: ExportedFile) -> str:
    heard = (
        f" from {len(file.calibration_speakers)} training speakers ({', '.join(file.calibration_speakers)})"
        if file.calibration_speakers
        else ""
    )
    return f"{file.method or 'float32'}{heard}; {file.exporter}, operator set {file.opset}; judged by onnxruntime with {file.provider}."


def _tell_bound(bound: float, at_least: bool) -> str:
    return f"{'≥' if at_least else '≤'} {bound:g}"


def _small(metrics: dict[str, float], name: str) -> str:
    value = metrics.get(name, math.nan)
    return NOTHING if math.isnan(value) else f"{value:.1e}"
