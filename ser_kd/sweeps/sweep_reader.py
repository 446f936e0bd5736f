"""Sweep files in W&B's own format, read into plain objects with every fault told at once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.suggestions import suggest
from ser_kd.sweeps.sweep_command import find_train_words
from ser_kd.sweeps.sweep_file import Hyperband, Parameter, SweepFile, tell_uncountable

METHODS = ("grid", "random", "bayes")
GOALS = ("maximize", "minimize")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # as W&B's schema has it
_KEYS = (
    "program", "command", "method", "metric", "parameters", "early_terminate", "run_cap", "name", "description", "project", "entity",
)  # fmt: skip
_KEYS_OF_DISTRIBUTION: dict[str, tuple[str, ...]] = {
    "categorical": ("values",),
    "constant": ("value",),
    "uniform": ("min", "max"),
    "int_uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "log_uniform_values": ("min", "max"),
}


def read_sweep(content: Any, environment: Mapping[str, str]) -> tuple[SweepFile | None, list[ConfigError]]:
    """Read the content of a sweep file.

    Args:
        content: What its YAML says.
        environment: Variables that ``${envvar:NAME}`` stands for.

    Returns:
        The sweep as far as it can be read, None where there are no keys; and every fault.
    """
    if not isinstance(content, Mapping) or not content:
        kind = "nothing" if not content else f"a {type(content).__name__}"
        return None, [ConfigError("A sweep file holds keys and values.", expected="method, metric, parameters and command", got=kind)]
    reader = _Reader()
    reader.check_keys(content, _KEYS, "the sweep file")
    method = reader.choose(content, "method", METHODS)
    metric, maximize = reader.read_metric(content.get("metric"))
    parameters = reader.read_parameters(content.get("parameters"), method)
    hyperband = reader.read_hyperband(content.get("early_terminate"))
    run_cap = content.get("run_cap")
    if run_cap is not None and not (_is_whole(run_cap) and run_cap > 0):
        reader.add("run_cap cannot be used.", "a whole number of 1 or more", repr(run_cap), "write run_cap: 24, say")
    for key in ("name", "program", "project", "entity", "description"):
        if content.get(key) is not None and not isinstance(content[key], str):
            reader.add(f"{key} is no text.", "a text", repr(content[key]), f"write {key}: '{content[key]}'")
    words, faults = find_train_words(content.get("command"), str(content.get("program") or ""), environment)
    reader.faults += faults
    name = str(content.get("name") or "")
    return SweepFile(name, method, metric, maximize, tuple(parameters), tuple(words), run_cap, hyperband), reader.faults


class _Reader:
    def __init__(self) -> None:
        self.faults: list[ConfigError] = []

    def add(self, problem: str, expected: str, got: str, remedy: str) -> None:
        self.faults.append(ConfigError(problem, expected=expected, got=got, remedy=remedy))

    def check_keys(self, content: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
        for key in content:
            if key not in known:
                self.add(f"Unknown key '{key}' in {where}.", f"one of {', '.join(known)}", str(key), suggest(str(key), known))

    def choose(self, content: Mapping[Any, Any], key: str, offered: Sequence[str], where: str = "") -> str:
        value = content.get(key)
        if value not in offered:
            place = f"{where}.{key}".lstrip(".")
            got = "nothing" if value is None else str(value)
            self.add(f"{place} cannot be used.", f"one of {', '.join(offered)}", got, suggest(got, offered) or f"write {key}: {offered[0]}")
            return offered[0]
        return str(value)

    def read_metric(self, content: Any) -> tuple[str, bool]:
        if not isinstance(content, Mapping):
            got = "nothing" if content is None else repr(content)
            self.add("metric is missing.", "name and goal", got, "write metric: {name: validation/ua, goal: maximize}")
            return "", True
        self.check_keys(content, ("name", "goal", "target"), "metric")
        if content.get("target") is not None:
            self.add("metric.target is not offered.", "no key target", str(content["target"]), "leave it out; run_cap ends a sweep")
        name = str(content.get("name") or "")
        if not name.startswith("validation/"):
            chosen_on_test = name.startswith("test/")
            self.add(
                "A sweep must not choose on test clips." if chosen_on_test else "metric.name is no metric of validation.",
                "a metric that judges validation clips, such as validation/ua",
                name or "nothing",
                f"write metric.name: validation/{name.rpartition('/')[2] or 'ua'}",
            )
        return name, self.choose(content, "goal", GOALS, "metric") == "maximize"

    def read_parameters(self, content: Any, method: str) -> list[Parameter]:
        if not isinstance(content, Mapping) or not content:
            got = "nothing" if not content else repr(content)
            self.add("parameters is missing.", "keys of ser-kd train with values", got, "write objective.alpha: {values: [0.1, 0.5]}, say")
            return []
        found = [self.read_parameter(str(name), part) for name, part in content.items()]
        parameters = [parameter for parameter in found if parameter is not None]
        if method == "grid":
            self.faults += [tell_uncountable(parameter.name) for parameter in parameters if parameter.list_values() is None]
        return parameters

    def read_parameter(self, name: str, content: Any) -> Parameter | None:
        """Give a parameter, or None where it is told what is wrong with it."""
        where, before = f"parameters.{name}", len(self.faults)
        if not _NAME.fullmatch(name):
            self.add(f"'{name}' cannot be a parameter's name.", "a key of ser-kd train", name, "leave signs such as + and ~ out")
        if not isinstance(content, Mapping):
            self.add(f"{where} cannot be read.", "values, value, or min and max", repr(content), f"write {name}: {{value: {content}}}")
            return None
        if "parameters" in content:
            self.add(f"{where} is nested.", "dotted names", repr(dict(content)), f"write {name}.KEY: {{values: […]}} instead")
            return None
        distribution = content.get("distribution") or _infer_distribution(content)
        if distribution not in _KEYS_OF_DISTRIBUTION:
            offered, got = tuple(_KEYS_OF_DISTRIBUTION), str(distribution or ", ".join(map(str, content)) or "nothing")
            near = suggest(got, offered) or "choose another distribution, or list values"
            self.add(f"{where} has no distribution that can be drawn from.", f"one of {', '.join(offered)}", got, near)
            return None
        allowed = _KEYS_OF_DISTRIBUTION[distribution]
        self.check_keys(content, (*allowed, "distribution"), f"{where} ({distribution})")
        missing = [key for key in allowed if key not in content and key != "q"]
        if missing:
            self.add(f"{where} lacks {' and '.join(missing)}.", f"{' and '.join(allowed)} ({distribution})", "nothing", f"add {missing[0]}")
        if len(self.faults) > before:
            return None
        if distribution in ("categorical", "constant"):
            return self.read_choice(name, content["values"] if distribution == "categorical" else [content["value"]])
        return self.read_range(name, content, distribution)

    def read_choice(self, name: str, values: Any) -> Parameter | None:
        where, before = f"parameters.{name}", len(self.faults)
        if not isinstance(values, list) or not values:
            self.add(f"{where}.values is no list of values.", "one value or more", repr(values), "write values: [0.1, 0.5]")
            return None
        for value in values:
            if value is None:
                # W&B writes Python's None into the command line, where it would be read as a text
                self.add(
                    f"{where} holds null, which W&B cannot put on a command line.", "texts, numbers, true, false", "null", "leave it out"
                )
            elif not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
                self.add(
                    f"{where} holds something that is no plain value.", "texts, numbers, true, false", repr(value), "write it as a text"
                )
        twice = [value for place, value in enumerate(values) if value in values[:place]]
        if twice:
            self.add(f"{where} names a value twice.", "each value once", ", ".join(map(str, twice)), "leave one out")
        return Parameter(name, values=tuple(values)) if len(self.faults) == before else None

    def read_range(self, name: str, content: Mapping[Any, Any], distribution: str) -> Parameter | None:
        where, low, high = f"parameters.{name}", content["min"], content["max"]
        kind = _is_whole if distribution == "int_uniform" else _is_number
        if not (kind(low) and kind(high)) or low >= high:
            whole = "whole numbers" if distribution == "int_uniform" else "numbers"
            self.add(f"{where} has no range.", f"{whole}, min below max", f"min {low}, max {high}", "correct min and max")
            return None
        if distribution == "log_uniform_values":
            if low <= 0:
                self.add(f"{where} has no logarithm.", "min above 0", f"min {low}", "correct min, or take distribution: uniform")
                return None
            return Parameter(name, low=float(low), high=float(high), is_log=True)
        if distribution == "uniform":
            return Parameter(name, low=float(low), high=float(high))
        step = content.get("q", 1)
        if not _is_number(step) or step <= 0 or any(abs(end / step - round(end / step)) > 1e-9 for end in (low, high)):
            # W&B rounds to multiples of q, Optuna counts steps from min: the same only where the ends are multiples
            self.add(f"{where} cannot be counted in steps.", "q above 0, min and max multiples of it", f"min {low}, max {high}, q {step}",
                     "correct q, min and max")  # fmt: skip
            return None
        if all(map(_is_whole, (low, high, step))):
            return Parameter(name, low=low, high=high, step=step)
        return Parameter(name, low=float(low), high=float(high), step=float(step))

    def read_hyperband(self, content: Any) -> Hyperband | None:
        if content is None:
            return None
        before = len(self.faults)
        if not isinstance(content, Mapping) or content.get("type") != "hyperband":
            got = str(content.get("type")) if isinstance(content, Mapping) else repr(content)
            self.add("early_terminate cannot be used.", "type: hyperband, the one that W&B knows", got,
                     "write {type: hyperband, min_iter: 3}; for the median's rule leave it out and set early_terminate=median")  # fmt: skip
            return None
        self.check_keys(content, ("type", "min_iter", "max_iter", "s", "eta", "strict"), "early_terminate")
        eta, least, most, stages = (content.get(key) for key in ("eta", "min_iter", "max_iter", "s"))
        eta = 3 if eta is None else eta
        for key, value, lowest in (("eta", eta, 2), ("min_iter", least, 1), ("max_iter", most, 1), ("s", stages, 1)):
            if value is not None and not (_is_number(value) and float(value).is_integer() and value >= lowest):
                self.add(f"early_terminate.{key} cannot be used.", f"a whole number of {lowest} or more", repr(value), f"correct {key}")
        if least is None and (most is None or stages is None):
            self.add("early_terminate lacks a beginning.", "min_iter, or max_iter and s", "neither", "add min_iter: 3, say")
        if len(self.faults) > before:
            return None
        first = int(least) if least is not None else max(int(most) // int(eta) ** int(stages), 1)  # type: ignore[arg-type]
        if most is not None and most < first:
            self.add("early_terminate ends before it begins.", "max_iter of min_iter or more", f"{most} below {first}", "correct max_iter")
            return None
        return Hyperband(first, None if most is None else int(most), int(eta))


def _infer_distribution(content: Mapping[Any, Any]) -> str:
    """Give the distribution that W&B takes where none is named."""
    if "values" in content:
        return "categorical"
    if "value" in content:
        return "constant"
    if "min" not in content and "max" not in content:
        return ""
    return "int_uniform" if all(_is_whole(content.get(key)) for key in ("min", "max")) else "uniform"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
