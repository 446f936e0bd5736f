"""The words of ``ser-kd benchmark``, read and checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.deploy.engines import ENGINES, count_cores
from ser_kd.runtime.faults import raise_faults
from ser_kd.runtime.plain_words import split_plain_words

DEFAULTS = {
    "teacher": "", "seconds": "1,3,5.27,10", "threads": "1,all", "engines": "all", "rounds": "20", "budget": "5", "scale": "paper",
    "out": "reports",
}  # fmt: skip
"""Key -> what it is where nothing is given."""

LONGEST_S = 600.0

T = TypeVar("T")


@dataclass(frozen=True)
class BenchmarkArguments:
    """What the command line asked for.

    Args:
        systems: Run folders, model files and experiments, the students.
        teacher: The same for the one they stand beside; empty for none.
        seconds: Lengths of the clips, ascending.
        threads: Thread counts, ascending.
        engines: Names of engines in the order of ``ENGINES``.
        rounds: Rounds in which the calls take turns, at most.
        budget_s: Time per call and setting, about.
        scale: Of experiments with random weights.
        out: Folder of the files.
    """

    systems: tuple[str, ...]
    teacher: str
    seconds: tuple[float, ...]
    threads: tuple[int, ...]
    engines: tuple[str, ...]
    rounds: int
    budget_s: float
    scale: str
    out: Path

    @property
    def names(self) -> tuple[str, ...]:
        """All systems, the teacher last."""
        return (*self.systems, self.teacher) if self.teacher else self.systems


def read_benchmark_words(arguments: Sequence[str], cores: int | None = None) -> BenchmarkArguments:
    """Read the words behind the verb.

    Args:
        arguments: As typed; a path may hold ``=``, as run folders do.
        cores: What ``threads=all`` means; None asks this machine.

    Raises:
        ConfigError: All faults together: unknown keys and values, or no system.
    """
    paths = [word for word in arguments if _is_path(word)]
    given, names, faults = split_plain_words("benchmark", [word for word in arguments if word not in paths], list(DEFAULTS))
    values = {**DEFAULTS, **given}
    cores = count_cores() if cores is None else cores
    systems = tuple(dict.fromkeys(word for word in arguments if word in paths or word in names))
    if not systems and not values["teacher"]:
        faults.append(
            ConfigError(
                "There is nothing to measure.",
                expected="run folders, model files (.onnx) or experiments",
                got="none",
                remedy="name one: ser-kd benchmark runs/wav_to_mfcc/ce_kl/IDENTITY/fold=0/seed=0",
            )
        )
    if values["teacher"] in systems:
        faults.append(
            ConfigError(
                "The teacher is named more than once.",
                expected="the teacher as teacher=SYSTEM, the others bare",
                got=values["teacher"],
                remedy="leave one of the two out",
            )
        )
    seconds = _read_list(values, "seconds", _read_seconds, f"lengths in seconds, above 0 and at most {LONGEST_S:g}", faults)
    threads = _read_list(
        values, "threads", lambda text: _read_threads(text, cores), f"thread counts from 1 to {cores} (the cores here), or all", faults
    )
    engines = _read_engines(values["engines"], faults)
    rounds = _read_list(values, "rounds", _read_count, "one whole number, 1 or more", faults, most=1)
    budget = _read_list(values, "budget", _read_seconds, f"one number of seconds, above 0 and at most {LONGEST_S:g}", faults, most=1)
    raise_faults(faults)
    return BenchmarkArguments(
        systems,
        values["teacher"],
        tuple(sorted(set(seconds))),
        tuple(sorted(set(threads))),
        engines,
        rounds[0],
        budget[0],
        values["scale"],
        Path(values["out"]).expanduser(),
    )


def _is_path(word: str) -> bool:
    """Tell a run folder such as ``runs/x/fold=0/seed=0`` from a key and its value."""
    key = word.partition("=")[0]
    return key not in DEFAULTS and ("/" in key or word.endswith(".onnx") or ("=" in word and Path(word).exists()))


def _read_list(
    values: Mapping[str, str], key: str, read: Callable[[str], T | None], expected: str, faults: list[ConfigError], most: int = 0
) -> list[T]:
    parts = [part.strip() for part in values[key].split(",")]
    found = [read(part) for part in parts]
    if any(value is None for value in found) or 0 < most < len(found):
        faults.append(ConfigError(f"'{key}' cannot be read.", expected=expected, got=values[key], remedy=f"such as {key}={DEFAULTS[key]}"))
    return [value for value in found if value is not None]


def _read_seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0.0 < value <= LONGEST_S else None


def _read_count(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() and int(text) > 0 else None


def _read_threads(text: str, cores: int) -> int | None:
    count = cores if text == "all" else _read_count(text)
    return count if count is not None and count <= cores else None


def _read_engines(text: str, faults: list[ConfigError]) -> tuple[str, ...]:
    asked = list(ENGINES) if text == "all" else [part.strip() for part in text.split(",")]
    for name in _unknown(asked):
        remedy = suggest(name, ENGINES) or "leave engines away for all that this machine can run"
        faults.append(ConfigError(f"Unknown engine '{name}'.", expected=f"some of {', '.join(ENGINES)}", got=text, remedy=remedy))
    return tuple(name for name in ENGINES if name in asked)


def _unknown(names: Iterable[str]) -> list[str]:
    return [name for name in names if name not in ENGINES]
