from __future__ import annotations

import csv

import pytest

from ser_kd.reports.tables import (
    Column,
    Table,
    format_count,
    format_p,
    format_points,
    format_share,
    render_csv,
    render_latex,
    render_markdown,
    render_plain,
)

TABLE = Table(
    (Column("model"), Column("UA", "right"), Column("long heading here", "right")),
    (("a|b", "0.612 [0.553, 0.668]", "7"), ("student_60", "—", "12")),
    ("50 % & more_notes.",),
    "A title",
)


def test_markdown_keeps_its_columns():
    lines = render_markdown(TABLE).splitlines()
    assert lines[0] == "| model | UA | long heading here |"
    assert lines[1] == "|---|---:|---:|"
    assert lines[2] == r"| a\|b | 0.612 [0.553, 0.668] | 7 |"
    assert lines[-1] == "- 50 % & more_notes."


def test_csv_is_read_back():
    assert list(csv.reader(render_csv(TABLE).splitlines())) == [["model", "UA", "long heading here"], *map(list, TABLE.rows)]


def test_latex_escapes_and_aligns():
    text = render_latex(TABLE)
    assert r"\begin{tabular}{lrr}" in text
    assert r"student\_60 & --- & 12 \\" in text
    assert r"50 \% \& more\_notes." in text


def test_latex_signs():
    text = render_latex(Table((Column("x"),), ((r"a\b ± 1 − 2 – 3 ~ ^ # $ { } < > ∞",),)))
    assert r"a\textbackslash{}b $\pm$ 1 $-$ 2 -- 3 \textasciitilde{} \textasciicircum{} \# \$ \{ \} $<$ $>$ $\infty$" in text


def test_plain_text_is_aligned_and_its_headings_broken():
    lines = render_plain(TABLE).splitlines()
    assert lines[:2] == ["A title", ""]
    assert [line.split() for line in lines[2:5]] == [["long"], ["heading"], ["model", "UA", "here"]]
    assert lines[6].endswith("0.612 [0.553, 0.668]        7")
    assert len({len(line) for line in lines[4:8]}) == 1


def test_plain_text_turns_where_it_would_be_too_wide():
    rows = tuple((f"system_{n}", "0.612 [0.553, 0.668]", f"{n}") for n in range(4))
    columns = (*TABLE.columns, Column("a further column of much text"))
    rows = tuple((*row, "which fills the line") for row in rows)
    text = render_plain(Table(columns, rows, ("a note that is quite a bit longer than the terminal is wide, so it breaks",)), 60)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 60
    assert [line.split()[0] for line in lines if line][:2] == ["model", "─" * 29]
    assert all(f"system_{n}" in text for n in range(4))
    assert text.count("long heading here") == 4


def test_an_empty_table_is_no_crash():
    empty = Table(TABLE.columns, ())
    for render in (render_csv, render_latex, render_markdown, render_plain):
        assert "model" in render(empty)
    assert "model" in render_plain(empty, 10)


def test_numbers():
    assert (format_share(0.61249), format_share(float("nan"))) == ("0.612", "—")
    assert (format_count(245_235), format_count(None)) == ("245,235", "—")
    assert (format_points(0.0431), format_points(-0.02), format_points(float("nan"))) == ("+4.3", "−2.0", "—")


def test_p_values_keep_a_sixteenth_and_are_never_nothing():
    assert [format_p(value) for value in (1.0, 0.0625, 0.00012, 0.00001, float("nan"))] == ["1.0000", "0.0625", "0.0001", "< 0.0001", "—"]


@pytest.mark.parametrize("width", [20, 80, 200])
def test_every_cell_survives_any_width(width):
    text = render_plain(TABLE, width)
    assert all(cell in text for row in TABLE.rows for cell in row)
