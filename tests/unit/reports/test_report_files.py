from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.reports.report_files import write_report


def test_all_files_are_written_and_the_same_each_time(trio_content, tmp_path):
    few = replace(trio_content, sections=(replace(trio_content.sections[0], figures=trio_content.sections[0].figures[:1]),))
    files = write_report(few, tmp_path / "a")
    for path in (files.page, files.markdown, files.numbers, files.latex, *files.figures):
        assert path.stat().st_size > 100
    pictures = re.findall(r"\((figures/[^)]+)\)", files.markdown.read_text())
    assert len(pictures) == 2
    assert all((tmp_path / "a" / picture).is_file() for picture in pictures)
    assert files.latex.read_text().startswith("% demo, demo_sessions5")
    assert len(files.numbers.read_text().splitlines()) == 4
    again = write_report(few, tmp_path / "b")
    for name in ("page", "markdown", "numbers", "latex"):
        assert getattr(files, name).read_text() == getattr(again, name).read_text()
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_is_a_file_is_told(trio_content, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_report(trio_content, tmp_path / "out")
