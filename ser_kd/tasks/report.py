"""``ser-kd report [RUNS] [KEY=VALUE …]``: tables, curves and matrices from the records of runs, as a page and as Markdown.

keys:
  runs=FOLDER        where the runs lie; also as the first word ($SER_KD_RUNS, else runs)
  out=FOLDER         where the report goes (reports)
  experiments=GLOB   which experiments, such as 'wav_to_mfcc/*'; several with commas (all)
  class=NAME         the class to look at closely (the one that students alone find worst)
  resamples=N        bootstrap resamples behind each interval (2000)
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.suggestions import suggest
from ser_kd.runtime import console
from ser_kd.runtime.faults import join_names, raise_faults
from ser_kd.runtime.paths import default_runs_dir, find_experiment_roots
from ser_kd.runtime.plain_words import split_plain_words

if TYPE_CHECKING:
    from ser_kd.reports.content import ReportContent
    from ser_kd.reports.ledger import Ledger

KEYS = ("runs", "out", "experiments", "class", "resamples")
_LEAST_RESAMPLES = 200
_NARROWEST, _WIDEST = 60, 160


@dataclass(frozen=True)
class ReportArguments:
    """What the command line asked for.

    Args:
        runs: Runs root.
        out: Folder of the report.
        experiments: Shell patterns; none takes every experiment.
        label: Class to look at closely, or None.
        resamples: Bootstrap resamples.
    """

    runs: Path
    out: Path
    experiments: tuple[str, ...]
    label: str | None
    resamples: int


def run(arguments: list[str]) -> int:
    """Make the report, print its tables and where it lies.

    Args:
        arguments: An optional folder and ``key=value`` words.

    Returns:
        0.

    Raises:
        ConfigError: If a key or value cannot be.
        DataError: If there is no such folder, no such experiment, or no finished run.
    """
    asked = read_arguments(arguments)
    # late: pandas and matplotlib take most of a second to import, and a typo should be told at once
    from ser_kd.reports.content import gather_content
    from ser_kd.reports.ledger import find_runs
    from ser_kd.reports.report_files import write_report

    ledger = find_runs(asked.runs)
    chosen = ledger.select(asked.experiments)
    _check_finished(ledger, chosen, asked)
    content = gather_content(chosen, find_experiment_roots(), resamples=asked.resamples, label=asked.label, out=asked.out)
    files = write_report(content, asked.out, made_at=datetime.now().strftime("%Y-%m-%d %H:%M"))
    _print_tables(content)
    for fault in content.faults:
        console.warn(f"{fault.path}: {fault.problem}")
    console.show(f"Markdown  {files.markdown}\npage      {files.page}")
    return 0


def read_arguments(arguments: Sequence[str]) -> ReportArguments:
    """Read the words behind the verb.

    Raises:
        ConfigError: All faults together: unknown keys, a second folder, a number that is none.
    """
    values = {"runs": "", "out": "reports", "experiments": "", "class": "", "resamples": "2000"}
    # a folder may be called fold=0: what exists as it is written is a folder
    words = [f"runs={word}" if "=" not in word or Path(word).is_dir() else word for word in arguments]
    given, _, faults = split_plain_words("report", words, KEYS)
    values |= given
    if not (values["resamples"].isdecimal() and int(values["resamples"]) >= _LEAST_RESAMPLES):
        expected = f"a whole number from {_LEAST_RESAMPLES}"
        faults.append(ConfigError("'resamples' is no such number.", expected=expected, got=values["resamples"], remedy="resamples=2000"))
    raise_faults(faults)
    patterns = tuple(pattern.strip() for pattern in values["experiments"].split(",") if pattern.strip())
    runs = Path(values["runs"]).expanduser() if values["runs"] else default_runs_dir()
    return ReportArguments(runs, Path(values["out"]).expanduser(), patterns, values["class"] or None, int(values["resamples"]))


def _check_finished(ledger: Ledger, chosen: Ledger, asked: ReportArguments) -> None:
    if asked.experiments and ledger.runs and not chosen.runs:
        names = ledger.experiments()
        near = suggest(asked.experiments[0], names)
        raise DataError(
            "No run is of these experiments.",
            expected=f"a pattern that fits one of {join_names(names)}",
            got=",".join(asked.experiments),
            remedy=near or "leave experiments away to take them all",
        )
    if not chosen.with_status("finished") and not chosen.sweeps:
        failed, running = chosen.with_status("failed"), chosen.with_status("running")
        counts = [f"{len(failed)} failed", f"{len(running)} unfinished", f"{len(chosen.faults)} unreadable"]
        reasons = [f"{failed[0].name}: {failed[0].record.failure.splitlines()[0]}"] if failed and failed[0].record.failure else []
        reasons += [f"{chosen.faults[0].path}: {chosen.faults[0].problem}"] if chosen.faults and not reasons else []
        raise DataError(
            "There is no finished run to report.",
            expected=f"a finished run below {asked.runs}",
            got="; ".join([", ".join(counts), *reasons]),
            remedy="train one (ser-kd demo, or ser-kd train …); an unfinished run goes on with its own command line",
        )


def _print_tables(content: ReportContent) -> None:
    from ser_kd.reports.tables import render_plain

    width = min(max(shutil.get_terminal_size((120, 24)).columns, _NARROWEST), _WIDEST)
    for section in content.sections:
        console.show(render_plain(section.table, width))
        if section.gain_table:
            console.show(render_plain(section.gain_table, width))
        if section.class_panel:
            console.show(render_plain(section.class_panel, width))
    for sweep in content.sweeps:
        console.show(render_plain(sweep.table, width))
