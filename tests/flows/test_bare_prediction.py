"""Prediction on a machine that has only the extra ``predict``: a new environment, the built package, files of many kinds."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr

from tests.conftest import speech_like
from tests.tiny_models import METADATA, write_tiny_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RATE = 16_000
LARGEST_MB = 250
FILES = {
    "a.wav": (RATE, 1, 3.0),
    "b.flac": (44_100, 2, 2.5),
    "c.ogg": (48_000, 1, 4.1),
    "d.mp3": (22_050, 1, 3.3),
    "e.wav": (96_000, 6, 1.7),
}
OFFLINE = (
    "No matching distribution",
    "Could not find a version",
    "ConnectionError",
    "NewConnectionError",
    "Temporary failure",
    "ReadTimeout",
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment in which the checkout is installed with ``[predict]`` alone."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    began = time.perf_counter()
    command = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", f"{ROOT}[predict]"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=clean_environment())
    if answer.returncode and any(words in answer.stderr for words in OFFLINE):
        pytest.skip(f"pip reaches no package index: {answer.stderr.strip().splitlines()[-1]}")
    assert answer.returncode == 0, answer.stderr
    print(f"installed in {time.perf_counter() - began:.0f} s")
    return python


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead back into the checkout."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


def ask(python: Path, *words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *words], capture_output=True, text=True, check=False, cwd=folder, env=clean_environment())


def test_it_is_small_and_has_no_torch(bare: Path, tmp_path: Path) -> None:
    for module in ("torch", "pandas", "rich", "hydra"):
        assert f"No module named '{module}'" in ask(bare, "-c", f"import {module}", folder=tmp_path).stderr
    where = ask(bare, "-c", "import ser_kd, sysconfig; print(ser_kd.__file__); print(sysconfig.get_path('purelib'))", folder=tmp_path)
    home, packages = where.stdout.split()
    assert home.startswith(packages)
    sizes = {
        package.name: sum(file.stat().st_size for file in package.rglob("*") if file.is_file() and not file.is_symlink())
        for package in Path(packages).iterdir()
    }
    ours = sum(size for name, size in sizes.items() if not name.startswith(("pip", "setuptools"))) / 1e6
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:6]
    print(f"install size {ours:.0f} MB: {', '.join(f'{name} {sizes[name] / 1e6:.0f}' for name in largest)}")
    assert ours < LARGEST_MB


def test_a_folder_of_mixed_files_is_predicted_as_the_graph_says(bare: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for seed, (name, (rate, channels, seconds)) in enumerate(FILES.items()):
        soundfile.write(clips / name, np.stack([speech_like(seed + 10 * c, seconds, rate) for c in range(channels)], axis=1), rate)
    metadata = dataclasses.replace(METADATA, sample_rate_hz=RATE, minimum_samples=1600, window_samples=84_000)
    model = write_tiny_model(tmp_path / "m.onnx", metadata)
    answer = ask(bare, "-m", "ser_kd", "predict", model, clips, "format=jsonl", "embedding=true", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    rows = {Path(row["file"]).name: row for row in map(json.loads, answer.stdout.splitlines())}
    assert [*rows] == sorted(FILES)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for name, (rate, channels, _) in FILES.items():
        samples, found_rate = soundfile.read(clips / name, dtype="float32", always_2d=True)
        assert (found_rate, samples.shape[1]) == (rate, channels)
        waveform = soxr.resample(samples.mean(axis=1), rate, RATE, quality="HQ").astype(np.float32)
        feeds = {"waveform": waveform[None], "length": np.array([len(waveform)])}
        probabilities, embedding = session.run(["probabilities", "embedding"], feeds)
        np.testing.assert_allclose([*rows[name]["probabilities"].values()], probabilities[0], atol=1e-4)
        np.testing.assert_allclose(rows[name]["embedding"], embedding[0], atol=1e-4)
        assert rows[name]["end_s"] == pytest.approx(len(waveform) / RATE, abs=1e-6)
    assert "5 files, 0 failed" in answer.stderr
    table = ask(bare, "-m", "ser_kd", "predict", model, clips, "per=window", "window_s=1", folder=tmp_path)
    assert table.returncode == 0, table.stderr
    assert table.stdout.splitlines()[0].split()[:4] == ["file", "start", "end", "answer"]
    bad = ask(bare, "-m", "ser_kd", "predict", model, "nowhere.wav", clips / "a.wav", folder=tmp_path)
    assert bad.returncode == 2
    assert "Audio file is missing." in bad.stderr
    assert "a.wav" in bad.stdout


def test_from_python_and_for_a_verb_that_needs_more(bare: Path, tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "m.onnx")
    soundfile.write(tmp_path / "a.wav", speech_like(1, 0.3, 1000), 1000)
    program = 'from ser_kd.deploy import Predictor; import sys; print(Predictor("m.onnx")("a.wav").label, "torch" in sys.modules)'
    assert ask(bare, "-c", program, folder=tmp_path).stdout.split()[1] == "False"
    refused = ask(bare, "-m", "ser_kd", "train", folder=tmp_path)
    assert refused.returncode == 2
    assert 'pip install "ser-kd[train]"' in refused.stderr


def measure_high_water(model: Path, recording: Path) -> float:
    """Predict in a fresh process and give its largest resident memory in MB; getrusage would count in what this process had at the fork."""
    program = f"""
import re, sys
from pathlib import Path
from ser_kd.__main__ import main
code = main(["predict", {str(model)!r}, {str(recording)!r}, "format=jsonl", "per=window", "threads=1"])
peak = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
print("peak", code, int(peak[1]) / 1024, file=sys.stderr)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert all(json.loads(line)["label"] for line in answer.stdout.splitlines())
    _, code, peak = answer.stderr.splitlines()[-1].split()
    assert code == "0"
    return float(peak)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the high-water of a process stands in Linux's /proc")
def test_twenty_minutes_need_no_more_memory_than_one(tmp_path: Path) -> None:
    metadata = dataclasses.replace(METADATA, sample_rate_hz=RATE, minimum_samples=1600, window_samples=84_000)
    model = write_tiny_model(tmp_path / "m.onnx", metadata)
    minute = speech_like(3, 60, 44_100)
    peaks = {}
    for minutes in (1, 20):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 44_100, 1, subtype="PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        peaks[minutes] = measure_high_water(model, path)
    print(f"memory high-water: 1 minute {peaks[1]:.1f} MB, 20 minutes {peaks[20]:.1f} MB")
    assert peaks[20] <= 1.1 * peaks[1]
