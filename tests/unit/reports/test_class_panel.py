from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_runs import EMOTIONS

from ser_kd.contracts.errors import ConfigError
from ser_kd.reports.aggregate import build_boards
from ser_kd.reports.class_panel import choose_class, class_panel
from ser_kd.reports.content import gather_content
from ser_kd.reports.leaderboard import name_systems
from ser_kd.reports.ledger import find_runs


@pytest.fixture
def board(runs_root):
    return build_boards(find_runs(runs_root), resamples=50)[0]


def test_shares_of_a_class_are_those_of_its_row(board):
    label = EMOTIONS[2]
    table = class_panel(board, name_systems(board.rows), label)
    assert len(table.rows) == len(board.rows)
    for cells, row in zip(table.rows, board.rows, strict=True):
        counts = row.confusion[2]
        assert float(cells[2]) == pytest.approx(counts[2] / counts.sum(), abs=5e-4)
        assert float(cells[3]) == pytest.approx(counts[2] / row.confusion[:, 2].sum(), abs=5e-4)
        assert sum(map(float, (cells[2], *cells[4:]))) == pytest.approx(1.0, abs=0.005)
    assert [column.name for column in table.columns][4:] == [f"taken for {other}" for other in EMOTIONS if other != label]


def test_the_class_students_alone_find_worst_is_looked_at(board):
    rows = []
    for row in board.rows:
        matrix = np.eye(len(EMOTIONS), dtype=int) * 9 + 1
        matrix[4 if row.role == "alone" else 1, :] = 2  # the teacher is weak elsewhere, which does not count
        rows.append(replace(row, confusion=matrix))
    assert choose_class(replace(board, rows=tuple(rows))) == EMOTIONS[4]
    assert choose_class(replace(board, rows=tuple(replace(row, confusion=None) for row in rows))) is None
    assert choose_class(board, "sad") == "sad"
    assert choose_class(board, "no such class") is None


def test_a_class_that_nobody_knows_is_refused(runs_root):
    with pytest.raises(ConfigError, match="No run knows the class 'sorrow'"):
        gather_content(find_runs(runs_root), resamples=50, label="sorrow")
