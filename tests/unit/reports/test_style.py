from __future__ import annotations

import itertools
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from ser_kd.contracts.errors import ConfigError
from ser_kd.reports import style
from ser_kd.reports.figures import IntervalBar, plot_confusion, plot_intervals
from ser_kd.reports.style import CSS_VARIABLES, ROLE_COLOURS, SERIES, draw_inline_svg, save_figure

# Machado, Oliveira, Fernandes (2009), severity 1
SIGHT = {
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour):
    channels = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(light):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(light, 0, 1)
    xyz = xyz / [0.9505, 1.0, 1.089]
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def contrast(first, second):
    dark, bright = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (first, second))
    return (bright + 0.05) / (dark + 0.05)


def dark_theme():
    text = (style.Path(style.__file__).parent / "page.css").read_text()
    block = text[text.index("prefers-color-scheme: dark") :]
    return dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6})", block[: block.index("--shadow")]))


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_roles_are_told_apart_by_colour_blind_readers(sight, theme):
    colours = list(ROLE_COLOURS.values()) if theme == "light" else [dark_theme()[f"--{role}"] for role in ROLE_COLOURS]
    seen = [lab(np.array(SIGHT[sight]) @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 18


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_marks_stand_out(theme):
    light = {variable: colour for colour, variable in CSS_VARIABLES.items()}
    colours = light if theme == "light" else dark_theme()
    for name in ("--ink", "--muted"):
        assert contrast(colours[name], colours["--card"]) > 4.5
    for role in ROLE_COLOURS:
        assert contrast(colours[f"--{role}"], colours["--card"]) > 3
        assert contrast(colours["--on-fill"], colours[f"--{role}"]) > 4


def test_both_formats_are_written_and_the_same_each_time(tmp_path):
    bars = [IntervalBar("a.b", "alone", 0.5, 0.4, 0.6)]
    first = save_figure(plot_intervals(bars, 0.2), tmp_path / "x" / "ua.v1")
    assert [path.name for path in first] == ["ua.v1.png", "ua.v1.svg"]
    second = save_figure(plot_intervals(bars, 0.2), tmp_path / "y" / "ua.v1")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="pdf"):
        save_figure(Figure(), tmp_path / "x", ("pdf",))


def test_inline_svg_takes_the_colours_and_type_of_the_page():
    svg = draw_inline_svg(plot_confusion([[3, 1], [0, 4]], ["happy", "sad"]), "fig1", 'a "title" <here> & there')
    assert svg.startswith("<svg viewBox=")
    assert 'aria-label="a &quot;title&quot; &lt;here> &amp; there"' in svg
    assert "var(--distilled)" in svg
    assert "var(--ink)" in svg
    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []
    assert "font-family" not in svg
    assert "http" not in svg
    assert ">happy<" in svg


def test_ids_of_two_figures_never_meet():
    figure = plot_intervals([IntervalBar("a", "alone", 0.5, 0.4, 0.6)], 0.2)
    first, second = (draw_inline_svg(figure, prefix, "x") for prefix in ("f1", "f2"))
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, known in zip((first, second), ids, strict=True):
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
        assert used
        assert used <= known


def test_rounding_of_coordinates_leaves_labels_alone():
    svg = draw_inline_svg(plot_intervals([IntervalBar("a", "alone", 0.1234, 0.1, 0.2)], 0.2), "f", "x")
    assert ">0.123<" in svg
    assert not re.search(r' d="[^"]*\d\.\d{3}', svg)


def test_names_are_names_and_never_formulas():
    svg = draw_inline_svg(plot_confusion([[3, 1], [0, 4]], ["$x^2$", "a < b"]), "f", "x")
    assert ">$x^2$<" in svg
    assert ">a &lt; b<" in svg


def test_the_readers_own_settings_stay():
    before = dict(matplotlib.rcParams)
    draw_inline_svg(plot_confusion([[1, 0], [0, 1]], ["a", "b"]), "f", "x")
    assert dict(matplotlib.rcParams) == before


def test_series_begin_with_the_roles():
    assert SERIES[:3] == tuple(ROLE_COLOURS.values())
    assert set(SERIES) <= set(CSS_VARIABLES)
