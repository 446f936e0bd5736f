"""How records are written as strict JSON and read back: one schema version, NaN as null."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from ser_kd.contracts.errors import DataError

SCHEMA_VERSION = 1

Record = TypeVar("Record")


def format_record(data: dict[str, Any]) -> str:
    """Put plain data into strict JSON with sorted keys; NaN and infinity become null."""
    return json.dumps(_nan_to_null(data), indent=2, allow_nan=False, sort_keys=True) + "\n"


def read_versioned(text: str, source: str, remedy: str, again: str) -> dict[str, Any]:
    """Read the JSON object of a record of this schema version.

    Args:
        text: The file's text.
        source: Named in errors.
        remedy: What to do about a file that is no record.
        again: What makes the record anew, for one of another version.

    Raises:
        DataError: If the text is no JSON object, or of another schema version.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as fault:
        raise DataError(f"{source} is not a readable record.", expected="a JSON object", got=str(fault), remedy=remedy) from fault
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{source} was written by another version of ser_kd.",
            expected=f"schema_version {SCHEMA_VERSION}",
            got=f"schema_version {version}",
            remedy=f"read it with the version that wrote it, or {again}",
        )
    return dict(data)


def restore_record(
    kind: type[Record], text: str, source: str, *, holds: str, remedy: str, again: str, restore: Callable[[dict[str, Any]], dict[str, Any]]
) -> Record:
    """Read a record back; unknown keys of later versions are refused.

    Args:
        kind: The record's dataclass.
        text: The file's text.
        source: Named in errors.
        holds: What such a file holds, in words.
        remedy: What to do about a file that is no such record.
        again: What makes the record anew, for one of another version.
        restore: Turns the parts of the JSON object into what ``kind`` takes.

    Raises:
        DataError: If the text is no JSON, of another schema version, or misses a key.
    """
    data = read_versioned(text, source, remedy, again)
    try:
        return kind(**restore(data))
    except (AttributeError, KeyError, TypeError) as fault:
        expected = f"the keys {', '.join(f.name for f in fields(kind))}"  # type: ignore[arg-type]
        raise DataError(f"{source} does not hold what {holds} holds.", expected=expected, got=str(fault), remedy=remedy) from fault


def restore_metrics(part: dict[str, Any]) -> dict[str, Any]:
    """Turn the nulls among a record's ``metrics`` back into NaN."""
    metrics = {name: math.nan if value is None else value for name, value in part.get("metrics", {}).items()}
    return {**part, "metrics": metrics}


def _nan_to_null(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _nan_to_null(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nan_to_null(part) for part in value]
    return value
