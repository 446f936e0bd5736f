"""The words of verbs that need no configuration, and so no Hydra."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest


def split_plain_words(verb: str, words: Sequence[str], keys: Sequence[str]) -> tuple[dict[str, str], list[str], list[ConfigError]]:
    """Split ``key=value`` words from bare ones; a path is bare even where it holds a ``=``, once a folder stands before it.

    Args:
        verb: The verb, for messages.
        words: As typed.
        keys: Keys it knows.

    Returns:
        Key -> value, the bare words, and what is wrong: unknown keys and keys given twice.
    """
    values: dict[str, str] = {}
    bare, faults = [], []
    for word in words:
        key, sign, value = word.partition("=")
        # Run folders are called fold=0/seed=0, so a word may be a path with = in it; no key has a slash.
        if not sign or "/" in key or os.sep in key:
            bare.append(word)
        elif key not in keys:
            remedy = suggest(key, keys) or f"'ser-kd {verb} --help' describes the keys"
            faults.append(ConfigError(f"Unknown key '{key}'.", expected=f"one of {', '.join(keys)}", got=word, remedy=remedy))
        elif key in values:
            faults.append(
                ConfigError(f"'{key}' is given twice.", expected="one value", got=f"{values[key]} and {value}", remedy="leave one out")
            )
        else:
            values[key] = value
    return values, bare, faults
