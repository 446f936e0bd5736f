"""What the page says of one run: command, machine, packages, clips left out."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from markupsafe import Markup, escape

from ser_kd.reports.ledger import RunEntry
from ser_kd.reports.systems import MAIN_NAMES, name_main_metric
from ser_kd.reports.tables import format_count, format_share

_MOST_LISTED = 12
_STATES = {"failed": "failed", "running": "unfinished", "stopped": "stopped early"}


def show_run(entry: RunEntry) -> dict[str, Any]:
    """Put one run into words for its card, whatever its status."""
    record = entry.record
    name = name_main_metric(record.protocol)
    told = [f"{MAIN_NAMES[name]} {format_share(record.metrics[f'test/{name}'])}"] if f"test/{name}" in record.metrics else []
    told += [_tell_duration(record.timings["fit_s"])] if "fit_s" in record.timings else []
    told += [record.started_at[:16].replace("T", " ")] if record.started_at else []
    left_out = list(record.clips_left_out.items())
    training: list[tuple[str, str]] = [("identity", record.identity), ("folder", allow_breaks(entry.name))]
    training += [("epochs", ", ".join(f"{name} {count}" for name, count in record.epochs.items()))] if record.epochs else []
    training += [(name.removesuffix("_s").replace("_", " "), _tell_duration(seconds)) for name, seconds in record.timings.items()]
    if record.multiply_accumulates is not None:
        length = f" at {record.input_samples / record.sample_rate_hz:.2f} s" if record.input_samples else ""
        training.append(("multiply-accumulates", f"{format_count(record.multiply_accumulates)}{length}"))
    for teacher in record.teachers:
        heard = "unknown speakers" if "unknown" in teacher.trained_on else f"{len(teacher.trained_on)} speakers"
        training.append(("teacher", allow_breaks(f"{teacher.name} ({teacher.experiment or 'foreign'}), trained on {heard}")))
    machine = [*record.hardware.items()]
    if record.git_revision:
        machine.append(("git revision", record.git_revision))
    clips = left_out[:_MOST_LISTED]
    if len(left_out) > _MOST_LISTED:
        clips.append(("and", f"{len(left_out) - _MOST_LISTED} more, in record.json"))
    return {
        "experiment": record.experiment,
        "fold": record.protocol.fold,
        "seed": record.seed,
        "status": record.status,
        "state": _STATES.get(record.status, record.status),
        "summary": ", ".join(told),
        "failure": record.failure,
        "command": record.command,
        "notes": record.notes,
        "facts": [
            ("Run", training),
            ("Objective", [(name, _tell_value(value)) for name, value in record.objective.items()]),
            ("Machine", machine),
            ("Packages", list(record.packages.items())),
            (f"Clips left out ({len(left_out)})", clips),
        ],
    }


def allow_breaks(name: str) -> Markup:
    """Let a long name break after an underscore or a slash."""
    return Markup(re.sub(r"([_/])", r"\1<wbr>", str(escape(name))))


def _tell_duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "—"
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _tell_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
