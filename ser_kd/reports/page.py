"""The report as one self-contained HTML page: no script, no request, light and dark, from a phone to a wall."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ser_kd.contracts.records import ProtocolRecord
from ser_kd.reports.content import ReportContent, Section
from ser_kd.reports.leaderboard import describe_folds, format_epochs, list_columns
from ser_kd.reports.report_figure import ReportFigure
from ser_kd.reports.robustness_section import RobustnessSection
from ser_kd.reports.run_cards import allow_breaks, show_run
from ser_kd.reports.significance import LEAST_SPEAKERS
from ser_kd.reports.style import draw_inline_svg
from ser_kd.reports.sweep_section import SweepSection
from ser_kd.reports.systems import MAIN_NAMES, ROLES, ProtocolBoard, SystemRow
from ser_kd.reports.tables import Table, format_count, format_share

MOST_BYTES = 2_600_000
"""Figures are left out, with a remark, before a page grows beyond this."""

_MOST_RUNS = 150
_MOST_CHIPS = 40
_WIDE_INCHES = 4.6
_GROUPS = {
    "confusion": (
        "Who is taken for whom",
        "Rows are true classes. Shade and large number: percent of the true class; small number: clips.",
    ),
    "comparison": ("Where they differ", ""),
    "curves": ("How they learned", "Dashed: training. Solid: validation. Dotted line: the epoch that was kept."),
}


def render_page(content: ReportContent, made_at: str = "") -> str:
    """Write the whole page as HTML.

    Args:
        content: What to tell.
        made_at: Date for the head of the page; empty leaves it out, so that the same runs give the same page.
    """
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    budget = Budget(MOST_BYTES)
    corpora = Counter(section.board.corpus for section in content.sections)
    counts = [
        (len(content.finished), "finished run", False),
        (len(content.failed), "failed", True),
        (len(content.running), "unfinished", True),
    ]
    counts += [(len(content.faults), "unreadable", True), (len(content.sections), "protocol", False)]
    counts += [(len(content.sweeps), "sweep", False)]
    facts = [
        {"count": count, "name": name + ("s" if name in ("finished run", "protocol", "sweep") and count != 1 else ""), "alarm": alarm}
        for count, name, alarm in counts
        if count or name == "finished run"
    ]
    return environment.get_template("page.html.jinja").render(
        title=content.title,
        css=Markup((folder / "page.css").read_text(encoding="utf-8")),
        made_at=made_at,
        facts=facts,
        wave=list(_draw_wave()),
        sections=[_show_section(section, f"s{number}", corpora, budget) for number, section in enumerate(content.sections, start=1)],
        published=[{"paper": paper, "table": _show_table(table, emphasised="ours")} for paper, table in content.published.items()],
        sweeps=[_show_sweep(section, f"w{number}", budget) for number, section in enumerate(content.sweeps, start=1)],
        robustness=[_show_robustness(section, f"n{number}", budget) for number, section in enumerate(content.robustness, start=1)],
        runs_headline=_count_runs(content),
        unfinished=[show_run(entry) for entry in (*content.failed, *content.running)[:_MOST_RUNS]],
        finished=[show_run(entry) for entry in content.finished[:_MOST_RUNS]],
        more_runs=max(len(content.finished) - _MOST_RUNS, 0),
        faults=content.faults,
        least_speakers=LEAST_SPEAKERS,
    )


class Budget:
    """How many bytes of figures a page may still take."""

    def __init__(self, size: int) -> None:
        self.left = size

    def spend(self, text: str) -> bool:
        """Take a text's bytes, or tell that they are too many."""
        if len(text) > self.left:
            return False
        self.left -= len(text)
        return True


def _show_section(section: Section, key: str, corpora: Counter[str], budget: Budget) -> dict[str, Any]:
    board = section.board
    protocol = board.protocol
    chance = board.chance.get(board.main_metric, math.nan)
    figures: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _GROUPS}
    left_out = 0
    for number, item in enumerate(section.figures):
        svg = draw_inline_svg(item.figure, f"{key}f{number}", f"{item.title}. {item.caption}")
        if budget.spend(svg):
            figures[item.kind].append({"title": _mark_title(item), "caption": item.caption, "svg": Markup(svg)})
        else:
            left_out += 1
    notes = [note for note in section.table.notes if not note.startswith("SELECTED ON TEST") and note not in protocol.warnings]
    if left_out:
        notes.append(f"{left_out} figures would make this page too large; they stand in the folder figures.")
    folds = [each.fold for each in board.protocols]
    tell_runs = any(len(row.runs) > 1 for row in board.rows) or len(folds) > 1
    return {
        "corpus": board.corpus,
        "is_twin": corpora[board.corpus] > 1,
        "protocol": protocol.name,
        "fingerprint": protocol.fingerprint,
        "headline": section.headline,
        "detail": section.detail,
        "loud": _find_loud(board),
        "chance": "" if math.isnan(chance) else f"{chance:.4f}",
        "chance_text": format_share(chance),
        "rows": [_show_row(board, row, name, tell_runs) for row, name in zip(board.rows, section.names, strict=True)],
        "learns_dimensions": protocol.learns_dimensions,
        "main_name": MAIN_NAMES[board.main_metric],
        "others": list(_list_others(board).values()),
        "notes": notes,
        "gain_table": _show_table(section.gain_table) if section.gain_table and len(section.gains) > 1 else "",
        "class_panel": _show_table(section.class_panel) if section.class_panel else "",
        "class_title": section.class_panel.title if section.class_panel else "",
        "groups": [{"title": _GROUPS[kind][0], "subtitle": _GROUPS[kind][1], "figures": drawn} for kind, drawn in figures.items() if drawn],
        "protocol_facts": _tell_protocol(protocol, folds, sorted({kind for row in board.rows for kind in row.selections})),
        "splits": [_show_split(protocol, split) for split in sorted(protocol.counts, key=_place_split)],
        "fold": protocol.fold,
        "other_folds": ", ".join(str(fold) for fold in folds if fold != protocol.fold),
        "warnings": list(dict.fromkeys(warning for each in board.protocols for warning in each.warnings)),
    }


def _show_robustness(section: RobustnessSection, key: str, budget: Budget) -> dict[str, Any]:
    item = section.figure
    svg = draw_inline_svg(item.figure, key, f"{item.title}. {item.caption}")
    wide = item.figure.get_size_inches()[0] > _WIDE_INCHES
    shown = [{"title": item.title, "caption": item.caption, "svg": Markup(svg), "wide": wide}] if budget.spend(svg) else []
    return {
        "title": section.board.title,
        "headline": section.headline,
        "figures": shown,
        "tables": [{"title": table.title, "table": _show_table(table)} for table in section.tables],
        "notes": section.board.notes,
    }


def _show_sweep(section: SweepSection, key: str, budget: Budget) -> dict[str, Any]:
    figures = []
    for number, item in enumerate(section.figures):
        svg = draw_inline_svg(item.figure, f"{key}f{number}", f"{item.title}. {item.caption}")
        if budget.spend(svg):
            wide = item.figure.get_size_inches()[0] > _WIDE_INCHES
            figures.append({"title": item.title, "caption": item.caption, "svg": Markup(svg), "wide": wide})
    return {
        "name": section.record.name,
        "method": section.record.method,
        "headline": section.headline,
        "lead": section.table.notes[0] if section.table.notes else "",
        "table": _show_table(section.table, links=section.links),
        "figures": figures,
    }


def _find_loud(board: ProtocolBoard) -> list[dict[str, str]]:
    loud = []
    on_test = [row.experiment for row in board.rows if "test" in row.selections]
    if on_test:
        text = f"{', '.join(on_test)}: chosen by test figures, which are therefore too good and compare with nothing chosen on validation."
        loud.append({"head": "SELECTED ON TEST.", "text": text})
    unknown = sorted(
        {teacher.name for row in board.rows for run in row.runs for teacher in run.record.teachers if "unknown" in teacher.trained_on}
    )
    if unknown:
        text = f"Which speakers {', '.join(unknown)} was trained on is unknown; it may have heard the test speakers."
        loud.append({"head": "TEACHER OF UNKNOWN TRAINING.", "text": text})
    return loud


def _list_others(board: ProtocolBoard) -> dict[str, str]:
    """List what fits on the page beside the main metric."""
    return {metric: head for metric, head in list_columns(board)[1].items() if not metric.startswith(("pearson_", "rmse_"))}


def _show_row(board: ProtocolBoard, row: SystemRow, name: str, tell_runs: bool) -> dict[str, Any]:
    main, _, agreement = list_columns(board)
    told = row.estimate(main)
    interval = told.interval
    spread = []
    if told.std is not None:
        spread.append(f"± {told.std:.3f}")
    if interval is not None:
        spread.append(f"{format_share(interval.low)} – {format_share(interval.high)}")
    singles = [run.record.metrics.get(f"test/{main}", math.nan) for run in row.runs] if len(row.runs) > 1 else []
    return {
        "name": allow_breaks(name),
        "experiment": row.experiment,
        "identity": row.identity,
        "role": row.role,
        "role_name": ROLES[row.role],
        "runs": describe_folds(row).replace(" (", " runs (") if row.runs and tell_runs else "",
        "on_test": "test" in row.selections,
        "ua": format_share(told.mean),
        "spread": spread,
        "at": "" if math.isnan(told.mean) else f"{told.mean:.4f}",
        "low": f"{interval.low:.4f}" if interval else "",
        "high": f"{interval.high:.4f}" if interval else "",
        "singles": [f"{value:.4f}" for value in singles if not math.isnan(value)],
        "others": [(label, format_share(row.estimate(metric).mean)) for metric, label in _list_others(board).items()],
        "total": format_count(row.parameters.get("total")),
        "trainable": format_count(row.parameters.get("trainable")),
        "agreement": format_share(row.estimate(agreement).mean),
        "epochs": format_epochs(row),
    }


def _tell_protocol(protocol: ProtocolRecord, folds: list[int], selections: list[str]) -> list[tuple[str, str]]:
    ran = ", ".join(map(str, folds))
    return [
        ("name", protocol.name),
        ("fingerprint", protocol.fingerprint),
        ("folds run", f"fold{'s' if len(folds) > 1 else ''} {ran} (of folds 0 to {protocol.folds - 1})"),
        ("validation", protocol.validation.replace("_", " ")),
        ("selected on", ", ".join(selections).replace("test", "TEST")),
        *([("label set", protocol.label_set), ("classes", ", ".join(protocol.classes))] if protocol.classes else []),
        *([("dimensions", "arousal, dominance, valence in [0, 1]")] if protocol.learns_dimensions else []),
    ]


def _place_split(split: str) -> int:
    order = ("train", "validation", "test")
    return order.index(split) if split in order else len(order)


def _show_split(protocol: ProtocolRecord, split: str) -> dict[str, Any]:
    speakers = protocol.speakers.get(split, [])
    counts = protocol.class_counts.get(split, [])
    most = max(counts, default=0) or 1
    return {
        "name": split,
        "clips": format_count(protocol.counts[split]),
        "speakers": speakers,
        "shown": speakers[:_MOST_CHIPS],
        "more": max(len(speakers) - _MOST_CHIPS, 0),
        "heights": [f"{count / most:.3f}" for count in counts],
        "classes_text": ", ".join(f"{name} {count}" for name, count in zip(protocol.classes, counts, strict=False)),
    }


def _show_table(table: Table, emphasised: str = "", links: Sequence[str] = ()) -> Markup:
    """Turn a table into HTML in a card that scrolls sideways where it must; a row's link stands on its last cell."""

    def side(place: int) -> str:
        column = table.columns[place]
        kinds = {"right": column.align == "right", "ours": column.name == emphasised, "wide": column.name in ("source", "note")}
        names = [name for name, holds in kinds.items() if holds]
        return f' class="{" ".join(names)}"' if names else ""

    heads = "".join(f'<th scope="col"{side(place)}>{escape(column.name)}</th>' for place, column in enumerate(table.columns))

    def fill(number: int, place: int, cell: str) -> str:
        link = links[number] if place == len(table.columns) - 1 and number < len(links) else ""
        return f'<a href="{escape(link)}">{escape(cell)}</a>' if link else str(escape(cell))

    rows = "".join(
        "<tr>" + "".join(f"<td{side(place)}>{fill(number, place, cell)}</td>" for place, cell in enumerate(row)) + "</tr>"
        for number, row in enumerate(table.rows)
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    below = f'<ul class="notes">{notes}</ul>' if notes else ""
    inside = f'<table class="plain"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return Markup(f'<div class="card"><div class="scroll" tabindex="0">{inside}</div>{below}</div>')


def _mark_title(item: ReportFigure) -> Markup:
    """Set the role's sign before the title of a single system's figure."""
    role = item.name.rpartition("_")[2]
    if role not in ROLES:
        return escape(item.title)
    return Markup('<span class="role {0} {0}"></span>{1}').format(role, item.title)


def _count_runs(content: ReportContent) -> str:
    finished = len(content.finished)
    parts = [f"{finished} run{'s' if finished != 1 else ''} finished"]
    parts += [f"{len(content.failed)} failed"] if content.failed else []
    parts += [f"{len(content.running)} unfinished"] if content.running else []
    parts += [f"{len(content.trials)} more are trials of sweeps"] if content.trials else []
    return ", ".join(parts)


def _draw_wave(bars: int = 96) -> Iterator[dict[str, str]]:
    """Draw the ornament: one utterance as bars, loud in the teacher's colour, handed on softer in the student's."""
    for number in range(bars):
        place = number / (bars - 1)
        syllables = abs(math.sin(7.5 * math.pi * place)) * (0.62 + 0.38 * math.sin(23.0 * place + 1.1))
        envelope = math.sin(math.pi * min(1.0, 0.06 + place)) ** 0.5 * (1.0 - 0.55 * place)
        yield {"x": f"{place:.3f}", "h": f"{max(0.05, abs(syllables) * envelope):.3f}"}
