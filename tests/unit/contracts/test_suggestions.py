"""Near names are suggested."""

import pytest

from ser_kd.contracts.suggestions import suggest


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("experimants", "experiments"),
        ("student.widht", "student.width"),
        ("temperature", "objective.temperature"),
        ("zzz", ""),
    ],
)
def test_suggest(word, near):
    answer = suggest(word, ["experiments", "student", "student.width", "objective.temperature"])
    assert answer == (f"did you mean '{near}'?" if near else "")
