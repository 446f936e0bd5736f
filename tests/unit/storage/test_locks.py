from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.storage.locks import hold_folder

HOLD = """
import sys, time
from pathlib import Path
from ser_kd.storage.locks import hold_folder
with hold_folder(Path(sys.argv[1]), "trained"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told_who_is_there_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with (
        pytest.raises(DataError, match=rf"(?s)being trained by another process.*held by process {process.pid}"),
        hold_folder(folder, "trained"),
    ):
        pass
    process.kill()
    process.communicate()
    with hold_folder(folder, "trained"):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"), hold_folder(tmp_path / "file" / "run", "trained"):
        pass
