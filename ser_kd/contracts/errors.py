"""The five kinds of error a user can meet, each saying what was expected, what was found and what to do."""

from __future__ import annotations


class UndefinedMetricWarning(UserWarning):
    """Metrics are NaN for a reason that lies in the clips, such as a class without one."""


class SerKdError(Exception):
    """A fault in what the user gave us; the command line prints it without a traceback and exits with 2.

    Args:
        problem: One sentence that names the fault.
        expected: What would have been right.
        got: What was found: the value, shape or file.
        remedy: What the user can do about it, as a command where there is one.

    Example:
        >>> print(ConfigError("Unknown key 'aplha'.", expected="a key of objective", got="aplha", remedy="did you mean 'alpha'?"))
        Unknown key 'aplha'.
          expected: a key of objective
          got:      aplha
          to do:    did you mean 'alpha'?
    """

    def __init__(self, problem: str, *, expected: str = "", got: str = "", remedy: str = "") -> None:
        self.problem = problem
        self.expected = expected
        self.got = got
        self.remedy = remedy
        rows = [("expected:", expected), ("got:     ", got), ("to do:   ", remedy)]
        super().__init__("\n".join([problem, *(f"  {name} {text}" for name, text in rows if text)]))


class ConfigError(SerKdError, ValueError):
    """A key, value, verb or combination of parts that cannot work."""


class DataError(SerKdError, ValueError):
    """A corpus, file, label or clip that is missing, damaged or outside its range."""


class LeakageError(SerKdError, ValueError):
    """Training, validation and test share a speaker, a file or identical audio, or a teacher has seen test speakers."""


class ShapeError(SerKdError, ValueError):
    """A tensor of the wrong rank, size or with values that are not finite."""


class ParityError(SerKdError, ArithmeticError):
    """Two forms of one computation that must agree do not."""
