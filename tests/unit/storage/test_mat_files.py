import numpy as np
import pytest
from scipy.io import savemat

from ser_kd.contracts.errors import DataError
from ser_kd.storage.audio_files import resample
from ser_kd.storage.mat_files import read_mat_waveform


def tone(samples=4000):
    return 0.5 * np.sin(0.2 * np.arange(samples))


@pytest.mark.parametrize(
    "stored",
    [np.round(32_767 * tone()).astype(np.int16), np.round(32_768 * tone()), tone(), np.round(127 * tone() + 128).astype(np.uint8)],
    ids=["int16", "whole numbers as double", "double", "uint8"],
)
def test_samples_of_any_kind_are_brought_to_full_scale(tmp_path, stored):
    savemat(tmp_path / "volvo.mat", {"volvo": stored[:, None]})
    read = read_mat_waveform(tmp_path / "volvo.mat", "volvo", 16_000, 16_000)
    assert read.dtype == np.float32
    assert np.abs(read - tone()).max() < (0.01 if stored.dtype == np.uint8 else 1e-4)


def test_it_is_resampled_as_any_audio(tmp_path):
    savemat(tmp_path / "f16.mat", {"something": tone(19_980)[None].astype(np.float32)})
    read = read_mat_waveform(tmp_path / "f16.mat", "f16", 19_980, 16_000)  # the only vector, whatever it is called
    np.testing.assert_array_equal(read, resample(tone(19_980).astype(np.float32), 19_980, 16_000))
    assert len(read) == 16_000


def test_loud_doubles_do_not_clip(tmp_path):
    savemat(tmp_path / "loud.mat", {"loud": 90_000 * tone()})
    read = read_mat_waveform(tmp_path / "loud.mat", "loud", 16_000, 16_000)
    assert np.corrcoef(read, tone())[0, 1] > 1 - 1e-6
    assert np.abs(read).max() == pytest.approx(1.0)


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_mat_waveform(tmp_path / "missing.mat", "babble", 19_980, 16_000)
    (tmp_path / "text.mat").write_text("no matlab")
    with pytest.raises(DataError, match="cannot be read"):
        read_mat_waveform(tmp_path / "text.mat", "babble", 19_980, 16_000)
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF")
    with pytest.raises(DataError, match="cannot be read"):
        read_mat_waveform(tmp_path / "new.mat", "babble", 19_980, 16_000)
    savemat(tmp_path / "matrix.mat", {"babble": np.ones((3, 4)), "rate": 19_980})
    with pytest.raises(DataError, match="does not hold the samples") as fault:
        read_mat_waveform(tmp_path / "matrix.mat", "babble", 19_980, 16_000)
    assert "babble (3, 4)" in fault.value.got
    savemat(tmp_path / "nan.mat", {"babble": np.array([1.0, np.nan, 2.0])})
    with pytest.raises(DataError, match="NaN"):
        read_mat_waveform(tmp_path / "nan.mat", "babble", 16_000, 16_000)
