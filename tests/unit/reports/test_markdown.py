from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fake_runs import FakeRun, make_predictions, make_record

from ser_kd.reports.ledger import LedgerFault, RunEntry
from ser_kd.reports.markdown import render_markdown_report
from ser_kd.reports.tables import Column, Table, render_markdown


def test_the_same_tables_as_the_page(trio_content):
    text = render_markdown_report(trio_content)
    section = trio_content.sections[0]
    assert text.startswith("# wav_to_mfcc\n")
    assert "Runs: 3 finished." in text
    assert section.headline in text
    assert render_markdown(section.table) in text
    assert render_markdown(section.gain_table) in text
    for figure in (section.intervals, *section.figures):
        assert f"(figures/{figure.name}.png)" in text
    assert "| 0 | train | 252 | f03, m03, f04, m04, f05, m05 | neutral 36, happy 36" in text
    assert "`ser-kd train experiments=wav_to_mfcc/student corpus=demo fold=0 seed=0`" in text


def test_failures_faults_and_papers(trio_content):
    run = FakeRun("wav_to_mfcc/broken", status="failed", failure="The loss became NaN.")
    entry = RunEntry(make_record(run, make_predictions(run)), Path(), "wav_to_mfcc/broken/x")
    table = Table((Column("published"),), (("78.67 %",),))
    content = replace(trio_content, failed=(entry,), faults=(LedgerFault("x/record.json", "torn"),), published={"wav_to_mfcc": table})
    text = render_markdown_report(content)
    assert "Runs: 3 finished, 1 failed." in text
    assert "```text\nThe loss became NaN.\n```" in text
    assert "- `x/record.json`: torn" in text
    assert "## Beside the paper: wav_to_mfcc" in text
    assert "78.67 %" in text
