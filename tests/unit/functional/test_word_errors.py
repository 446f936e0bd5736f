import math
import random

import pytest
import torch
import torchaudio

from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.keyed_random import hash_text
from ser_kd.functional.word_errors import WordStock, count_word_errors, inject_word_errors, measure_word_error_rate, split_words

TEXTS = [
    "The bag is lying on the table, next to a small brown dog.", "Get out of here - and leave me alone!", "No way.",
    "Nobody said goodbye to her when she left the house in the morning.", "It's going to take eleven more minutes, I think.",
]  # fmt: skip
STOCK = WordStock.of_texts(TEXTS)


def test_errors_are_counted_as_the_definition_counts_them():
    draw = random.Random(0)
    for _ in range(200):
        reference, hypothesis = ([draw.choice("abc") for _ in range(draw.randrange(9))] for _ in range(2))
        assert count_word_errors(reference, hypothesis) == torchaudio.functional.edit_distance(reference, hypothesis)
    assert count_word_errors(["get", "out", "of", "here"], ["get", "of", "there", "now"]) == 3
    assert math.isnan(measure_word_error_rate([("...", "a")]))
    assert measure_word_error_rate([("a b", ""), ("c d", "c e")]) == 0.75


@pytest.mark.parametrize(("rate", "below"), [(0.05, 0.01), (0.2, 0.015), (0.4, 0.03)])
def test_the_measured_rate_is_the_wanted_one(rate, below):
    said = [text for text in TEXTS for _ in range(400)]
    written = [inject_word_errors(text, hash_text("x", number), rate, STOCK) for number, text in enumerate(said)]
    measured = measure_word_error_rate(zip(said, written, strict=True))
    assert rate - below <= measured <= rate + 0.01
    changes = [len(split_words(after)) - len(split_words(before)) for before, after in zip(said, written, strict=True)]
    assert any(change > 0 for change in changes)
    assert any(change < 0 for change in changes)
    assert abs(sum(changes)) < 0.05 * rate * sum(len(split_words(text)) for text in said) * 5  # as many are dropped as put in


def test_a_text_errs_by_its_key_alone():
    first = inject_word_errors(TEXTS[0], 5, 0.5, STOCK)
    torch.manual_seed(3)
    random.seed(3)
    assert inject_word_errors(TEXTS[0], 5, 0.5, STOCK) == first != TEXTS[0]
    assert inject_word_errors(TEXTS[0], 6, 0.5, STOCK) != first
    assert WordStock.of_texts(reversed(TEXTS)) == STOCK


def test_nothing_errs_at_zero_and_every_word_at_one():
    spaced = "two  spaces - and a dash"
    assert inject_word_errors(spaced, 1, 0.0, STOCK) == spaced
    for number in range(20):
        written = split_words(inject_word_errors("alpha beta gamma", number, 1.0, STOCK))
        assert count_word_errors(["alpha", "beta", "gamma"], written) >= 1
        assert set(written) <= {"alpha", "beta", "gamma", *STOCK.words}
    assert inject_word_errors("- ...", 1, 1.0, STOCK) == "- ..."
    assert inject_word_errors("", 1, 1.0, STOCK) == ""
    assert "" in {inject_word_errors("word", number, 1.0, STOCK) for number in range(40)}


def test_words_come_as_often_as_they_are_said_and_never_for_themselves():
    stock = WordStock.of_texts(["a a a b", "c A. c"])
    assert stock.words == ("a", "b", "c")
    shares = [number / 700 for number in range(700)]
    assert [sum(stock.find(share) == word for share in shares) for word in stock.words] == [400, 100, 200]
    for word in stock.words:
        found = [stock.find_other(share, word) for share in shares]
        assert word not in found
        assert set(found) == set(stock.words) - {word}
    assert sum(stock.find_other(share, "b") == "a" for share in shares) == pytest.approx(700 * 4 / 6, abs=1)
    assert stock.find_other(0.99, "unknown") == "c"


def test_without_words_there_is_nothing_to_err_with():
    with pytest.raises(ConfigError, match="no words to err with"):
        WordStock.of_texts(["yes", "Yes!"])
