"""What every test may use: a quiet environment, small speech-like clips, a RAVDESS-shaped folder."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")

import numpy as np
import pytest
import soundfile

ACTORS = tuple(range(1, 25))


def speech_like(seed: int, seconds: float = 0.3, rate: int = 16_000) -> np.ndarray:
    """A buzz with a gliding pitch and a noise floor; different for each seed."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    pitch = random.uniform(90, 260) * (1 + 0.2 * np.sin(2 * np.pi * random.uniform(1, 5) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, 12))
    return (0.1 * buzz + 0.003 * random.standard_normal(len(time))).astype(np.float32)


def write_ravdess(root: Path, actors: tuple[int, ...] = ACTORS, statements: tuple[int, ...] = (1, 2), seconds: float = 0.1) -> Path:
    """Write clips under RAVDESS's own names (neutral has no strong intensity)."""
    seed = 0
    for actor in actors:
        folder = root / f"Actor_{actor:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for emotion in range(1, 9):
            for intensity in (1, 2):
                if emotion == 1 and intensity == 2:
                    continue
                for statement in statements:
                    for repetition in (1, 2):
                        seed += 1
                        name = f"03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}.wav"
                        soundfile.write(folder / name, speech_like(seed, seconds), 16_000, subtype="PCM_16")
    return root


@pytest.fixture(scope="session")
def ravdess_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 1440 names of RAVDESS's speech part with tiny clips."""
    return write_ravdess(tmp_path_factory.mktemp("ravdess"), seconds=0.02)


@pytest.fixture
def real_ravdess() -> Path:
    """The real corpus; skipped where SER_KD_RAVDESS does not say where it is."""
    root = os.environ.get("SER_KD_RAVDESS")
    if not root:
        pytest.skip("real RAVDESS: set SER_KD_RAVDESS to its folder")
    return Path(root)


@pytest.fixture
def manifest_csv(tmp_path: Path) -> Path:
    """A user's own CSV of 20 files: 5 speakers, 2 labels."""
    rows = ["path,label,speaker,session,text,arousal,gender"]
    for number in range(20):
        soundfile.write(tmp_path / f"clip{number:02d}.wav", speech_like(number), 16_000)
        speaker = number // 4
        rows.append(
            f"clip{number:02d}.wav,{('Anger', 'neutral')[number % 2]},s{speaker},{speaker},hello there,0.{number % 9},{'fm'[speaker % 2]}"
        )
    path = tmp_path / "my.csv"
    path.write_text("\n".join(rows) + "\n")
    return path
