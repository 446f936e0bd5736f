from __future__ import annotations

from itertools import combinations

import pytest
from fake_benchmark import STUDENT, TEACHER, make_benchmark
from matplotlib.text import Annotation, Text

from ser_kd.reports.pareto import ParetoPoint, find_pareto_front, plot_benchmark, plot_pareto


def point(name: str, ms: float, ua: float, mb: float = 1.0, role: str = "student") -> ParetoPoint:
    return ParetoPoint(name, role, f"{name} {ms:g}", ms, ua, int(mb * 1e6))


def beats(one: ParetoPoint, other: ParetoPoint) -> bool:
    no_worse = one.cost <= other.cost and one.accuracy >= other.accuracy
    return no_worse and (one.cost, one.accuracy) != (other.cost, other.accuracy)


def test_the_front_by_hand():
    fast, worse, middle, slow_and_bad, best = (
        point("fast", 1, 0.5), point("worse", 1, 0.4), point("middle", 3, 0.6), point("slow", 9, 0.55), point("best", 20, 0.8),
    )  # fmt: skip
    assert find_pareto_front([best, slow_and_bad, middle, worse, fast]) == [fast, middle, best]


def test_of_equal_points_the_first_stands_for_both():
    one, two = point("one", 1, 0.5), point("two", 1, 0.5)
    assert find_pareto_front([one, two]) == [one]
    assert find_pareto_front([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_who_nobody_beats(seed):
    import random

    draw = random.Random(seed)
    points = [point(f"p{n}", draw.randint(1, 12), draw.randint(1, 9) / 10) for n in range(25)]
    front = find_pareto_front(points)
    unbeaten = {(p.cost, p.accuracy) for p in points if not any(beats(other, p) for other in points)}
    assert {(p.cost, p.accuracy) for p in front} == unbeaten


def test_no_label_covers_another_or_leaves_the_axes():
    crowd = [point("a", 4.8, 0.574), point("a", 5.1, 0.574, 1.7), point("a", 7.9, 0.574), point("a", 9.4, 0.574)]
    crowd += [point("b", ms, 0.66, 45, "teacher") for ms in (27, 28, 30, 41)]
    figure = plot_pareto(crowd, "title", ["a note"])
    figure.canvas.draw()
    axes = figure.axes[0]
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    assert sorted(text.get_text() for text in labels) == sorted(p.label for p in crowd)
    boxes = [Text.get_window_extent(text) for text in labels]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)
    assert axes.get_xscale() == "log"


def test_one_point_is_drawn_too():
    figure = plot_pareto([point("a", 5, 0.5)], "title")
    assert len(figure.axes[0].texts) == 1


def test_areas_follow_sizes():
    figure = plot_pareto([point("a", 1, 0.5, 10), point("b", 2, 0.6, 40), point("c", 3, 0.7, 0.001)], "title")
    areas = sorted({float(item.get_sizes()[0]) for item in figure.axes[0].collections})
    assert areas[2] / areas[1] == pytest.approx(4.0)
    assert areas[0] > 5  # too small to be seen otherwise


def test_who_has_no_accuracy_is_named_below_and_the_nearest_length_is_drawn():
    figure = plot_benchmark(make_benchmark())
    told = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
    assert f"{TEACHER}, ONNX fp32: 790.5 ms" in told
    assert "5.27 s, 1 thread" in told
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [f"{STUDENT} (UA 0.600)"]
    assert {text.get_text() for text in figure.axes[0].texts} == {"eager\n15.8 ms, 1.0 MB", "ONNX fp32\n7.9 ms, 1.0 MB"}


def test_a_file_with_an_accuracy_of_its_own_stands_at_that():
    record = make_benchmark()
    record.find_engine(STUDENT, "onnx_fp32").test_ua = 0.55
    figure = plot_benchmark(record)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [f"{STUDENT} (UA 0.550 to 0.600)"]
    heights = {round(float(item.get_offsets()[0][1]), 3) for item in figure.axes[0].collections}
    assert heights == {0.55, 0.6}


def test_nothing_to_draw():
    assert plot_benchmark(make_benchmark(student_ua=None)) is None
    record = make_benchmark()
    record.latency = []
    assert plot_benchmark(record) is None
