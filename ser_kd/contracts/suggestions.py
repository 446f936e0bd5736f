"""What a misspelt name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(word: str, candidates: Iterable[str]) -> str:
    """Give ``did you mean …?`` for the nearest candidates, or nothing where none is near.

    A candidate with the same last part as a dotted key counts as near, whatever stands before it.

    Example:
        >>> suggest("experimants", ["experiments", "student"]), suggest("zzz", ["student"])
        ("did you mean 'experiments'?", '')
        >>> suggest("ddb", ["cpu", "ddp", "fsdp"])
        "did you mean 'ddp'?"
        >>> suggest("temperature", ["objective.terms.kl.temperature", "seed"])
        "did you mean 'objective.terms.kl.temperature'?"
    """
    known = list(dict.fromkeys(candidates))
    cutoff = 0.7 if len(word) > 4 else 0.6  # one wrong letter of three is 0.67
    near = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    last = word.rpartition(".")[2]
    near += [key for key in known if key.rpartition(".")[2] == last and key not in near]
    if not near:
        ends = {key.rpartition(".")[2]: key for key in known}
        near = [ends[end] for end in difflib.get_close_matches(last, ends, n=1, cutoff=0.75)]
    return f"did you mean {' or '.join(repr(key) for key in near[:3])}?" if near else ""
