"""Transcripts as a recogniser with a given word-error rate would write them, and the rate measured."""

from __future__ import annotations

import string
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.keyed_random import draw_uniform

SUBSTITUTED, DELETED = 0.6, 0.2
"""Shares of the errors that replace and drop a word; the others put one in behind it."""

_DRAWS = 3  # of each word: whether it errs, how, and which word comes instead


def split_words(text: str) -> list[str]:
    """Split a transcript at white space, without punctuation around words and in small letters, as word errors are counted.

    Example:
        >>> split_words("Get out - it's MY bag.")
        ['get', 'out', "it's", 'my', 'bag']
    """
    return [bare for part in text.split() if (bare := _strip(part).lower())]


def _strip(part: str) -> str:
    return part.strip(string.punctuation + "…“”‘’«»¿¡–—")


@dataclass(frozen=True)
class WordStock:
    """Words to err with, as often as they are said.

    Args:
        words: Each once, sorted.
        ends: How often the words up to and with each were said.
    """

    words: tuple[str, ...]
    ends: tuple[int, ...]

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> WordStock:
        """Count the words of transcripts.

        Raises:
            ConfigError: If they hold fewer than two different words, so that none could be put in the place of another.
        """
        counts = Counter(word for text in texts for word in split_words(text))
        if len(counts) < 2:
            raise ConfigError(
                "There are no words to err with.",
                expected="training transcripts with two different words at least",
                got=f"{len(counts)} in the transcripts of the training clips",
                remedy="choose a corpus with transcripts or give them (datamodule.transcripts=FILE), or set no word-error rate",
            )
        words = tuple(sorted(counts))
        return cls(words, tuple(accumulate(counts[word] for word in words)))

    def find(self, share: float) -> str:
        """Give the word at a share in [0, 1) of all that was said."""
        return self.words[bisect_right(self.ends, int(share * self.ends[-1]))]

    def find_other(self, share: float, word: str) -> str:
        """Give the word at a share in [0, 1) of all that was said but one word."""
        place = bisect_left(self.words, word)
        if self.words[place : place + 1] != (word,):
            return self.find(share)
        before = self.ends[place - 1] if place else 0
        said = int(share * (self.ends[-1] - (self.ends[place] - before)))
        return self.words[bisect_right(self.ends, said if said < before else said + self.ends[place] - before)]


def inject_word_errors(text: str, key: int, rate: float, stock: WordStock) -> str:
    """Let each word of a transcript err with a probability, by draws that depend on a key alone.

    Of the errors 60 % put another word in the place, 20 % drop the word and 20 % put one in behind it, so that the expected number of
    edits is ``rate`` times the number of words. The measured rate lies a little below, the more so the higher it is, because a dropped
    word beside an inserted one counts as one substitution.

    Args:
        text: Transcript; parts without a letter or digit, such as a dash, are no words and stay.
        key: 64-bit key.
        rate: Probability in [0, 1].
        stock: Words to err with.

    Returns:
        The transcript; as it was where no word errs, empty where all are dropped.

    Example:
        >>> stock = WordStock.of_texts(["you lost my bag", "the bag is lost"])
        >>> inject_word_errors("The bag is gone.", 5, 0.0, stock)
        'The bag is gone.'
    """
    parts = text.split()
    chances = draw_uniform(torch.tensor([key]), _DRAWS * len(parts))[0].tolist()
    heard: list[str] = []
    is_changed = False
    for place, part in enumerate(parts):
        errs, kind, share = chances[_DRAWS * place : _DRAWS * (place + 1)]
        word = _strip(part).lower()
        if not word or errs >= rate:
            heard.append(part)
            continue
        is_changed = True
        if kind < SUBSTITUTED:
            heard.append(stock.find_other(share, word))
        elif kind >= SUBSTITUTED + DELETED:
            heard += [part, stock.find(share)]
    return " ".join(heard) if is_changed else text


def count_word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Count the fewest substitutions, deletions and insertions that turn one sequence of words into another (Levenshtein 1966)."""
    costs = list(range(len(hypothesis) + 1))
    for row, said in enumerate(reference, start=1):
        diagonal, costs[0] = costs[0], row
        for column, heard in enumerate(hypothesis, start=1):
            diagonal, costs[column] = costs[column], min(diagonal + (said != heard), costs[column] + 1, costs[column - 1] + 1)
    return costs[-1]


def measure_word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Measure the word-error rate of transcripts: errors over words said, both summed over all of them.

    Args:
        pairs: What was said, and what was written.

    Returns:
        0 upwards; NaN where nothing was said.

    Example:
        >>> measure_word_error_rate([("get out of here", "get of there"), ("No.", "no")])
        0.4
    """
    errors = words = 0
    for said, written in pairs:
        reference = split_words(said)
        errors += count_word_errors(reference, split_words(written))
        words += len(reference)
    return errors / words if words else float("nan")
