import numpy as np
import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.deploy.fresh_session import measure_fresh_session, read_high_water_bytes
from ser_kd.deploy.identity_model import write_identity


def test_a_fresh_process_does_not_inherit_the_memory_of_the_one_that_starts_it(tmp_path):
    ballast = np.ones(80_000_000, dtype=np.float32)  # 320 MB
    assert read_high_water_bytes() > 320_000_000
    fresh = measure_fresh_session(write_identity(tmp_path / "identity.onnx"), 1600)
    assert 10_000_000 < fresh.high_water_bytes < 320_000_000
    assert 0.0 < fresh.load_ms < 60_000.0
    assert ballast[-1] == 1.0


def test_a_process_that_fails_is_told_with_its_last_line(tmp_path):
    (tmp_path / "m.onnx").write_text("no graph")
    with pytest.raises(DataError, match="exit code 1") as told:
        measure_fresh_session(tmp_path / "m.onnx", 1600)
    assert "m.onnx" in str(told.value)
