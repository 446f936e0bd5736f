"""Words of the export that are told, or understood, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.tasks import export


@pytest.mark.parametrize("word", ["precision=int8", "precision=[int8]", "precision=[fp32,int8]"])
def test_a_single_precision_needs_no_brackets(tmp_path: Path, word: str) -> None:
    with pytest.raises(DataError, match="no finished run"):  # the words were understood
        export.run([f"run={tmp_path}", word])


def test_an_unknown_precision_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'int8'"):
        export.run([f"run={tmp_path}", "precision=int9"])
