"""The report as one Markdown file, with the page's tables and its figures beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from ser_kd.contracts.records import ProtocolRecord
from ser_kd.reports.content import ReportContent, Section
from ser_kd.reports.ledger import RunEntry
from ser_kd.reports.robustness_section import RobustnessSection
from ser_kd.reports.sweep_section import SweepSection
from ser_kd.reports.systems import name_main_metric
from ser_kd.reports.tables import NOTHING, Column, Table, format_share, render_markdown

FIGURE_FOLDER = "figures"


def render_markdown_report(content: ReportContent) -> str:
    """Write the whole report; pictures are looked for as PNG in the folder ``figures`` beside it."""
    lines = [f"# {content.title}", ""]
    counts = [(len(content.finished), "finished"), (len(content.failed), "failed"), (len(content.running), "unfinished")]
    counts += [(len(content.trials), "more as trials of sweeps")]
    lines += ["Runs: " + ", ".join(f"{count} {name}" for count, name in counts if count or name == "finished") + ".", ""]
    for section in content.sections:
        lines += _tell_section(section)
    for sweep in content.sweeps:
        lines += _tell_sweep(sweep)
    for part in content.robustness:
        lines += _tell_robustness(part)
    for paper, table in content.published.items():
        lines += [f"## Beside the paper: {paper}", "", render_markdown(table)]
    lines += ["## Runs", "", render_markdown(_list_runs([*content.finished, *content.failed, *content.running]))]
    for entry in content.failed:
        lines += [f"**Failed:** `{entry.name}`", "", "```text", entry.record.failure or "no message", "```", ""]
    if content.faults:
        lines += ["## Could not be read", "", *(f"- `{fault.path}`: {fault.problem}" for fault in content.faults), ""]
    return "\n".join(lines)


def _tell_section(section: Section) -> Iterator[str]:
    board = section.board
    yield from (f"## {section.table.title}", "", f"**{section.headline}** {section.detail}", "")
    yield render_markdown(section.table)
    if section.gain_table:
        yield from (f"### {section.gain_table.title}", "", render_markdown(section.gain_table))
    if section.class_panel:
        yield from (f"### {section.class_panel.title}", "", render_markdown(section.class_panel))
    for item in (section.intervals, *section.figures):
        yield from (f"### {item.title}", "", item.caption, "", f"![{item.title}]({FIGURE_FOLDER}/{item.name}.png)", "")
    yield from ("### Protocol", "", render_markdown(_list_splits(board.protocols)))


def _tell_sweep(section: SweepSection) -> Iterator[str]:
    links = [*section.links, *[""] * (len(section.table.rows) - len(section.links))]
    rows = [(*row[:-1], f"[{row[-1]}]({link})" if link else row[-1]) for row, link in zip(section.table.rows, links, strict=True)]
    yield from (f"## {section.table.title}", "", f"**{section.headline}**", "")
    yield render_markdown(replace(section.table, rows=tuple(rows)))
    for item in section.figures:
        yield from (f"### {item.title}", "", item.caption, "", f"![{item.title}]({FIGURE_FOLDER}/{item.name}.png)", "")


def _tell_robustness(section: RobustnessSection) -> Iterator[str]:
    item = section.figure
    yield from (f"## {section.board.title}", "", f"**{section.headline}**", "")
    yield from (f"### {item.title}", "", item.caption, "", f"![{item.title}]({FIGURE_FOLDER}/{item.name}.png)", "")
    for table in section.tables:
        yield from (f"### {table.title}", "", render_markdown(table))
    yield from (*(f"- {note}" for note in section.board.notes), "")


def _list_splits(protocols: tuple[ProtocolRecord, ...]) -> Table:
    first = protocols[0]
    rows = []
    for protocol in protocols:
        for split, clips in protocol.counts.items():
            counts = protocol.class_counts.get(split, [])
            classes = ", ".join(f"{name} {count}" for name, count in zip(protocol.classes, counts, strict=False))
            rows.append((str(protocol.fold), split, str(clips), ", ".join(protocol.speakers.get(split, [])), classes))
    columns = (Column("fold"), Column("split"), Column("clips", "right"), Column("speakers"), Column("clips per class"))
    note = f"{first.name}, label set {first.label_set}, validation {first.validation}, selected on {first.selection}."
    return Table(columns, tuple(rows), (note,))


def _list_runs(entries: list[RunEntry]) -> Table:
    columns = [Column(name) for name in ("experiment", "status", "fold", "seed", "test score", "command", "git revision", "clips left out")]
    rows = []
    for entry in entries:
        record = entry.record
        status = "unfinished" if record.status == "running" else record.status
        ua = format_share(record.metrics.get(f"test/{name_main_metric(record.protocol)}", math.nan))
        cells = (record.experiment, status, str(record.protocol.fold), str(record.seed), ua)
        rows.append((*cells, f"`{record.command}`", record.git_revision or NOTHING, str(len(record.clips_left_out))))
    return Table(tuple(columns), tuple(rows))
