"""How every figure looks: colours that colour-blind readers tell apart, one type size, and saving in both formats."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_kd.contracts.errors import ConfigError
from ser_kd.storage.atomic import replace_file

# Every colour of a figure is one of these; the page swaps them for CSS variables, so one SVG serves light and dark.
INK = "#1c2128"
MUTED = "#5d6570"
GRID = "#dfdcd4"
SURFACE = "#fffefc"
ON_FILL = "#fffeff"
ROLE_COLOURS = {"teacher": "#4650a0", "alone": "#b06208", "distilled": "#0a8577"}
ROLE_MARKERS = {"teacher": "s", "alone": "o", "distilled": "D"}
SERIES = (*ROLE_COLOURS.values(), "#a8386b", "#5f7181")
"""Colours of series that are no roles, in order."""

CSS_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    SURFACE: "--card",
    ON_FILL: "--on-fill",
    ROLE_COLOURS["teacher"]: "--teacher",
    ROLE_COLOURS["alone"]: "--alone",
    ROLE_COLOURS["distilled"]: "--distilled",
    SERIES[3]: "--rose",
    SERIES[4]: "--slate",
}
"""Figure colour -> the page's variable."""

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # a class or experiment called $x$ is a name, not a formula
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.labelcolor": INK,
    "figure.facecolor": SURFACE,
    "figure.dpi": 100,
    "savefig.dpi": 220,
    "svg.fonttype": "none",  # text stays text: small files, and the page's own type
    "svg.hashsalt": "ser_kd",  # the same figure is the same file
}

P = ParamSpec("P")


def in_house_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let a drawing function work under the house's settings and leave the reader's own as they were."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(_RC):
            figure = draw(*args, **kwargs)
            # Constrained layout moves a little with every drawing; solved once, all files of a figure agree.
            engine = figure.get_layout_engine()
            if engine is not None:
                engine.execute(figure)
                figure.set_layout_engine("none")
            return figure

    return drawn


def save_figure(figure: Figure, path: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write a figure, whole or not at all.

    Args:
        figure: Any figure of this room.
        path: Target without a suffix; dots in its name stay.
        formats: ``png`` and ``svg``.

    Returns:
        The files written.

    Raises:
        ConfigError: If a format is neither.
        DataError: If the folder cannot be written.
    """
    strange = [name for name in formats if name not in ("png", "svg")]
    if strange:
        raise ConfigError("Unknown figure format.", expected="png, svg", got=", ".join(strange), remedy="choose one of the two")
    written = []
    for suffix in formats:
        target = path.parent / f"{path.name}.{suffix}"
        with replace_file(target) as part, matplotlib.rc_context(_RC):
            figure.savefig(part, format=suffix, metadata={"Date": None} if suffix == "svg" else None)
        written.append(target)
    return written


def draw_inline_svg(figure: Figure, prefix: str, description: str) -> str:
    """Give a figure as an ``<svg>`` element for the middle of a page.

    Its colours become the page's variables, its type the page's type, its background nothing; ids get the prefix, because
    two figures on one page must not share any.

    Args:
        figure: Any figure of this room.
        prefix: Unique on the page; letters, digits, hyphens.
        description: What a screen reader says.
    """
    target = StringIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = target.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id|xlink:href|href)="(#?)', rf'\1="\g<2>{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-")
    text = re.sub(r"font-family: [^;\"]*;?|font: (\S+) [^;\"]*", lambda found: f"font-size: {found[1]}" if found[1] else "", text)
    for colour, variable in CSS_VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    # inside tags only: a label such as 0.845 keeps its decimals
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), text)
    text = re.sub(r">\s+<", "><", text)
    return re.sub(r"^<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", lambda found: _open_svg(found[1], description), text)


def tidy_axes(axes: Axes, *, grid: str = "y") -> None:
    """Keep grid lines along one axis (``x``, ``y``, ``both`` or ``none``) and hide tick marks."""
    axes.grid(False)
    if grid != "none":
        axes.grid(True, axis=grid)  # type: ignore[arg-type]
    axes.tick_params(length=0)


def _open_svg(view_box: str, description: str) -> str:
    plain = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return f'<svg {view_box} role="img" aria-label="{plain}">'
