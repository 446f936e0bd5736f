from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_runs import TRIO, FakeRun, change_record, make_predictions, make_record, write_run

from ser_kd.reports import page
from ser_kd.reports.content import gather_content
from ser_kd.reports.ledger import LedgerFault, RunEntry, find_runs
from ser_kd.reports.page import render_page
from ser_kd.reports.tables import Column, Table

VOID = {"meta", "br", "wbr", "link", "img", "input", "hr"}


class Outline(HTMLParser):
    """Collects tags and text, and refuses tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def trio_page(trio_content):
    return render_page(trio_content, "2026-11-22 06:00")


def without_figures(content):
    return replace(content, sections=tuple(replace(section, figures=()) for section in content.sections))


def test_the_page_needs_nothing_else(trio_page):
    outline = Outline(trio_page)
    assert not re.search(r"https?:|url\((?!#)|@import|\ssrc=", trio_page)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in outline.tags}
    links = [attributes["href"] for tag, attributes in outline.tags if tag == "a"]
    ids = [attributes["id"] for _, attributes in outline.tags if attributes.get("id")]
    assert links
    assert all(link[1:] in ids for link in links)
    assert len(ids) == len(set(ids))
    assert len(trio_page.encode()) < 400_000


def test_the_page_reads_well_in_light_and_dark_and_on_a_phone(trio_page):
    assert "prefers-color-scheme: dark" in trio_page
    assert '<meta name="viewport"' in trio_page
    body = trio_page[trio_page.index("<body>") :]
    assert re.findall(r"#[0-9a-f]{6}\b", body) == []


def test_what_a_reader_finds(trio_page, trio_content):
    text = Outline(trio_page).text
    section = trio_content.sections[0]
    for row in section.board.rows:
        assert row.variant in text
        assert f"{row.estimate('ua').mean:.3f}" in text
        assert f"{row.estimate('ua').interval.low:.3f} – {row.estimate('ua').interval.high:.3f}" in text
    for told in (section.headline, "245,235", "0.143", "next fold", "f03", "d3m0a71c", "84 utterances within each class"):
        assert told in text
    record = trio_content.finished[0].record
    for told in (record.command, "16 GB", "2.6.6", "3fd0c2a9be1147+changes", "empty audio", "41,300,000 at 5.27 s", "stopped early"):
        assert told in text
    assert trio_page.count("<svg viewBox") == 9 + 1
    assert "made 2026-11-22 06:00" in text
    assert "made" not in Outline(render_page(without_figures(trio_content))).text.split("Distillation")[0]


def test_bars_stand_where_the_numbers_are(trio_page, trio_content):
    told = trio_content.sections[0].board.rows[1].estimate("ua")
    assert f"--low:{told.interval.low:.4f};--high:{told.interval.high:.4f}" in trio_page
    assert f'class="point" style="--at:{told.mean:.4f}"' in trio_page
    assert trio_page.count('class="chance" style="--at:0.1429"') == 3


def test_names_and_messages_are_never_markup(trio_content):
    evil = '<script>alert("x")</script>'
    run = FakeRun(f"a/{evil}", status="failed", failure=evil)
    record = make_record(run, make_predictions(run))
    record.command = record.git_revision = evil
    record.hardware = {evil: evil}
    record.objective = {"terms": [evil]}
    entry = RunEntry(record, Path(), evil)
    table = Table((Column(evil),), ((evil,),), (evil,), evil)
    content = replace(
        without_figures(trio_content), title=evil, failed=(entry,), faults=(LedgerFault(evil, evil),), published={evil: table}
    )
    section = replace(content.sections[0], headline=evil, names=(evil, evil, evil))
    text = render_page(replace(content, sections=(section,)))
    assert "<script" not in text
    assert text.count("&lt;") > 12


def test_failed_and_unfinished_runs_are_shown(trio_content):
    failed = FakeRun("wav_to_mfcc/broken", status="failed", failure="The loss became NaN.\n  got: nan")
    running = FakeRun("wav_to_mfcc/slow", status="running")
    entries = [RunEntry(make_record(run, make_predictions(run)), Path(), run.experiment) for run in (failed, running)]
    content = replace(
        without_figures(trio_content), failed=(entries[0],), running=(entries[1],), faults=(LedgerFault("x/record.json", "torn"),)
    )
    text = Outline(render_page(content)).text
    for told in (
        "wav_to_mfcc/broken",
        "The loss became NaN.",
        "wav_to_mfcc/slow",
        "unfinished",
        "3 runs finished, 1 failed, 1 unfinished",
        "torn",
    ):
        assert told in text


def test_selection_on_test_and_unknown_teachers_are_loud(tmp_path):
    folder = write_run(tmp_path, replace(TRIO[2], selection="test", validation="test_fold", warnings=("optimistic",)))
    teacher = {"name": "hub", "experiment": None, "run": None, "protocol_fingerprint": None, "trained_on": ["unknown"], "parameters": 3}
    change_record(folder, teachers=[{**teacher, "metrics": {}}])
    content = without_figures(gather_content(find_runs(tmp_path), resamples=50))
    html = render_page(content)
    assert html.count('class="loud"') == 2
    text = Outline(html).text
    for told in ("SELECTED ON TEST", "TEACHER OF UNKNOWN TRAINING", "hub", "optimistic", "selected on test"):
        assert told in text


def test_undefined_values_are_dashes_and_draw_no_point(tmp_path):
    folder = write_run(tmp_path, FakeRun())
    (folder / "predictions.csv").unlink()
    change_record(folder, metrics={"test/ua": None}, undefined={"test/ua": "no clip with a class"})
    html = render_page(without_figures(gather_content(find_runs(tmp_path), resamples=50)))
    assert '<span class="score">—</span>' in html
    assert 'class="point"' not in html
    assert "no clip with a class" in html
    assert "nan" not in Outline(html).text.lower().replace("nanmean", "")


def test_a_page_of_hundreds_of_runs_stays_small(trio_content):
    many = tuple(replace(entry, name=f"{entry.name}/{number}") for number in range(200) for entry in trio_content.finished)
    text = render_page(replace(without_figures(trio_content), finished=many))
    assert len(text.encode()) < 3_000_000
    assert text.count("<details") == 150
    assert "And 450 more" in text


def test_figures_beyond_the_budget_are_left_out_with_a_remark(trio_content, monkeypatch):
    monkeypatch.setattr(page, "MOST_BYTES", 60_000)
    text = render_page(trio_content)
    assert 0 < text.count("<figure") < 9
    assert f"{9 - text.count('<figure')} figures would make this page too large" in text


def test_an_empty_report_is_a_page(tmp_path):
    write_run(tmp_path, FakeRun("mine", status="failed"))
    assert "0 runs finished, 1 failed" in Outline(render_page(gather_content(find_runs(tmp_path), resamples=50))).text


@pytest.mark.browser
@pytest.mark.parametrize("width", [380, 768, 1280])
def test_nothing_sticks_out_sideways(trio_content, tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium: the page's width is not measured")
    # in a frame, because a window is never narrower than 500; the frame tells its width by message, files may not look into each other
    probe = "<script>addEventListener('load',()=>parent.postMessage(document.documentElement.scrollWidth,'*'))</script></body>"
    wide = Table(tuple(Column(f"column_{number}") for number in range(14)), (("a value with words",) * 14,))
    (tmp_path / "inner.html").write_text(render_page(replace(trio_content, published={"paper": wide})).replace("</body>", probe))
    frame = f'<iframe src="inner.html" style="border:0;width:{width}px;height:900px"></iframe>'
    listen = "<script>addEventListener('message',told=>document.body.setAttribute('data-wide',told.data))</script>"
    (tmp_path / "page.html").write_text(f"<body>{listen}{frame}</body>")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,900", "--dump-dom", (tmp_path / "page.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-wide="(\d+)"', shown)
    assert found
    assert int(found[1]) <= width
