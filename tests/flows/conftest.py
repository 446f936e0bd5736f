"""A small demo corpus and quick settings, shared by all flows of a test session."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.__main__ import main

SMALL = [
    "corpus.speakers=6", "corpus.clips_per_emotion=2", "scale=tiny", "trainer.accelerator=cpu", "logger=csv",
]  # fmt: skip


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/ and cache/."""
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture
def ser_kd(workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Call the command line inside this process: gives (exit code, output, errors)."""
    monkeypatch.chdir(workplace)
    for corpus in ("RAVDESS", "EMODB", "CREMA_D", "IEMOCAP", "MSP_PODCAST"):
        monkeypatch.delenv(f"SER_KD_{corpus}", raising=False)
    monkeypatch.setenv("SER_KD_RUNS", str(workplace / "runs"))
    monkeypatch.setenv("SER_KD_CACHE", str(workplace / "cache"))

    def call(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        output = capfd.readouterr()
        return code, output.out, output.err

    return call


def only_run(workplace: Path, experiment: str) -> Path:
    """The folder of the one run of an experiment."""
    (record,) = (workplace / "runs").glob(f"{experiment}/*/fold=*/seed=*/record.json")
    return record.parent


def small_demo_corpus(workplace: Path) -> Path:
    """The folder of the demo corpus that SMALL describes, once a command has made it."""
    (manifest,) = (
        path for path in (workplace / "cache" / "demo_corpus").glob("*/manifest.csv") if len(path.read_text().splitlines()) == 85
    )
    return manifest.parent
