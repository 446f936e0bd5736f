from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from fake_runs import EMOTIONS
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ser_kd.reports.figures import (
    IntervalBar,
    plot_confusion,
    plot_groups,
    plot_intervals,
    plot_learning_curves,
    plot_recalls,
    plot_reliability,
)
from ser_kd.reports.style import ROLE_COLOURS

ROLES = {"t": "teacher", "s": "alone", "d": "distilled"}


def draw(figure: Figure) -> Figure:
    assert isinstance(figure, Figure)
    figure.savefig(BytesIO(), format="svg")
    return figure


def words(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_confusion_shows_shares_of_the_true_class_and_counts():
    axes = draw(plot_confusion([[30, 10], [0, 20]], ["happy", "sad"], "mine")).axes[0]
    assert words(axes) == ["75", "30", "25", "10", "100", "20"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["happy", "sad"]
    assert axes.get_title(loc="left") == "mine"
    shades = [patch.get_alpha() for patch in axes.patches if to_hex(patch.get_facecolor()) == ROLE_COLOURS["distilled"]]
    assert shades == [0.75, 0.25, 1.0]


def test_confusion_without_clips_of_a_class_says_so():
    assert "no clips" in words(draw(plot_confusion([[0, 0], [1, 1]], ["a", "b"])).axes[0])


def test_confusion_of_many_classes_leaves_numbers_out():
    assert words(draw(plot_confusion(np.eye(13, dtype=int), [f"c{n}" for n in range(13)])).axes[0]) == []


def test_learning_curves_part_losses_from_ua():
    curves = pd.DataFrame(
        {
            "learning_rate": [1.0, 1.0],
            "train/loss": [2.0, 1.0],
            "train/cross_entropy": [1.5, 0.8],
            "train/soft_targets": [0.5, 0.2],
            "validation/loss": [2.0, 1.5],
            "validation/ua": [0.2, 0.4],
            "validation/recall_sad": [0.1, 0.2],
            "validation/teacher_agreement": [0.1, 0.2],
        },
        index=[1, 2],
    )
    losses, scores = draw(plot_learning_curves(curves, best_epoch=2)).axes
    labels = [line.get_label() for line in losses.lines if not line.get_label().startswith("_")]
    assert labels == ["train · loss", "validation · loss", "train · cross entropy", "train · soft targets"]
    assert scores.lines[0].get_ydata().tolist() == [0.2, 0.4]
    assert scores.lines[1].get_xdata() == [2, 2]
    same = [line for line in losses.lines if line.get_label() in ("train · loss", "validation · loss")]
    assert len({line.get_color() for line in same}) == 1
    assert len({line.get_linestyle() for line in same}) == 2


def test_title_of_learning_curves_stands_clear_of_the_legend():
    figure = draw(plot_learning_curves(pd.DataFrame({"train/loss": [2.0, 1.0], "validation/ua": [0.2, 0.4]}, index=[1, 2]), title="mine"))
    legend = figure.axes[0].get_legend()
    assert figure.get_suptitle() == "mine"
    assert not legend.get_window_extent().overlaps(figure._suptitle.get_window_extent())


def test_a_single_part_is_not_drawn_twice():
    curves = pd.DataFrame({"train/loss": [2.0], "train/cross_entropy": [2.0]}, index=[1])
    (axes,) = draw(plot_learning_curves(curves)).axes
    assert [line.get_label() for line in axes.lines] == ["train · loss"]


def test_curves_without_anything_to_draw_are_no_crash():
    draw(plot_learning_curves(pd.DataFrame({"learning_rate": [1.0]}, index=[1])))


def test_intervals_with_and_without_ends():
    bars = [IntervalBar("a", "teacher", 0.7, 0.6, 0.8), IntervalBar("b", "alone", 0.5, float("nan"), float("nan"))]
    axes = draw(plot_intervals(bars, 1 / 7)).axes[0]
    assert words(axes) == ["0.700", "0.500", "chance"]
    assert axes.lines[0].get_xdata().tolist() == [0.6, 0.8]
    assert "chance" not in words(draw(plot_intervals(bars, float("nan"))).axes[0])
    draw(plot_intervals([], 0.1))


def test_recalls_by_hand():
    axes = draw(plot_recalls({"t": [[3, 1], [0, 2]], "s": [[2, 2], [1, 1]]}, ["a", "b"], ROLES)).axes[0]
    points = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert points["t"].get_xdata().tolist() == [0.75, 1.0]
    assert points["s"].get_xdata().tolist() == [0.5, 0.5]
    assert points["t"].get_color() == ROLE_COLOURS["teacher"]
    draw(plot_recalls({"t": [[0, 0], [0, 2]]}, ["a", "b"], ROLES))


def test_reliability_by_hand():
    confidence = np.array([0.15, 0.11, 0.95, 1.0])
    axes = draw(plot_reliability({"d": (confidence, np.array([False, True, True, True]))}, ROLES, calibration_errors={"d": 0.08})).axes[0]
    curve = axes.lines[1]
    assert curve.get_xdata() == pytest.approx([0.13, 0.975])
    assert curve.get_ydata() == pytest.approx([0.5, 1.0])
    assert axes.get_legend().get_texts()[0].get_text() == "d, calibration error 0.080"


def test_groups_by_hand():
    values = {"t": {"gender: female": 0.6, "gender: male": 0.7}, "s": {"gender: female": 0.5}}
    axes = draw(plot_groups(values, ROLES, 0.2)).axes[0]
    assert words(axes) == ["0.60", "0.70", "0.50"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["gender: female", "gender: male"]


def test_two_systems_of_one_role_look_different():
    roles = dict.fromkeys("abcd", "distilled")
    axes = draw(plot_recalls({name: [[1, 0], [0, 1]] for name in roles}, ["x", "y"], roles)).axes[0]
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines if not line.get_label().startswith("_")}
    assert len(looks) >= 3
    assert (ROLE_COLOURS["distilled"], "D") in looks


def test_seven_classes_fit_their_labels():
    figure = draw(plot_confusion(np.full((7, 7), 12), EMOTIONS))
    box = figure.get_tightbbox()
    assert box.width <= figure.get_figwidth() + 0.01
    assert box.height <= figure.get_figheight() + 0.01
