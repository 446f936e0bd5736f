"""What every test may use: a quiet environment, small speech-like clips, folders named as RAVDESS, EmoDB and CREMA-D are."""

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


EMODB_SPEAKERS = {"03": 49, "08": 58, "09": 43, "10": 38, "11": 55, "12": 35, "13": 61, "14": 69, "15": 56, "16": 71}
EMODB_EMOTIONS = {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}
EMODB_SENTENCES = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")


def write_emodb(root: Path, seconds: float = 0.1, most: int | None = None) -> Path:
    """Write clips under EmoDB's own names, as many per speaker and per emotion as published.

    ``most`` limits the clips of one speaker in one emotion.
    """
    (root / "wav").mkdir(parents=True, exist_ok=True)
    spread = sorted((place / count, letter) for letter, count in EMODB_EMOTIONS.items() for place in range(count))
    letters = iter(letter for _, letter in spread)
    seed = 100_000  # other sounds than any other corpus' clips
    for speaker, count in EMODB_SPEAKERS.items():
        said: dict[str, int] = {}
        for letter in [next(letters) for _ in range(count)]:
            number = said[letter] = said.get(letter, 0) + 1
            seed += 1
            if most is None or number <= most:
                sentence, version = EMODB_SENTENCES[number % 10], "abcdef"[number // 10]
                _write_clip(root / "wav" / f"{speaker}{sentence}{letter}{version}.wav", seed, seconds)
    return root


CREMA_D_ACTORS = tuple(range(1001, 1092))
CREMA_D_SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
CREMA_D_WOMEN = {
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030, 1037, 1043, 1046, 1047,
    1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091,
}  # fmt: skip


def write_crema_d(
    root: Path, actors: tuple[int, ...] = CREMA_D_ACTORS, sentences: tuple[str, ...] = CREMA_D_SENTENCES, seconds: float = 0.1
) -> Path:
    """Write clips under CREMA-D's own names and its table of actors; with all of them as many per emotion as published.

    Three levels in sentence IEO, unspecified elsewhere and for neutral; one file has a single X, as in the published corpus.
    """
    (root / "AudioWAV").mkdir(parents=True, exist_ok=True)
    seed = 0
    for actor in actors:
        for sentence in sentences:
            for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
                # 20 clips of the full plan are not in the corpus: 5 neutral ones and 3 of each other emotion
                if sentence == "WSI" and actor < (1006 if emotion == "NEU" else 1004):
                    continue
                for level in ("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",):
                    seed += 1
                    short = (actor, sentence, emotion) == (1040, "ITH", "SAD")
                    _write_clip(root / "AudioWAV" / f"{actor}_{sentence}_{emotion}_{'X' if short else level}.wav", seed, seconds)
    rows = [f'{actor},30,"{"Female" if actor in CREMA_D_WOMEN else "Male"}","Unknown","Not Hispanic"' for actor in actors]
    (root / "VideoDemographics.csv").write_text('"ActorID","Age","Sex","Race","Ethnicity"\n' + "\n".join(rows) + "\n")
    return root


def _write_clip(path: Path, seed: int, seconds: float) -> None:
    """Write a clip; without a length only its name."""
    if seconds:
        soundfile.write(path, speech_like(seed, seconds), 16_000, subtype="PCM_16")
    else:
        path.touch()


@pytest.fixture(scope="session")
def emodb_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 535 clips of EmoDB by number, tiny."""
    return write_emodb(tmp_path_factory.mktemp("emodb"), seconds=0.02)


@pytest.fixture(scope="session")
def crema_d_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 7442 names of CREMA-D without sound."""
    return write_crema_d(tmp_path_factory.mktemp("crema_d"), seconds=0)


@pytest.fixture(scope="session")
def ravdess_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 1440 names of RAVDESS's speech part with tiny clips."""
    return write_ravdess(tmp_path_factory.mktemp("ravdess"), seconds=0.02)


def find_real(corpus: str, variable: str) -> Path:
    """The folder of a real corpus; the test is skipped where the variable does not say where it is."""
    root = os.environ.get(variable)
    if not root:
        pytest.skip(f"real {corpus}: set {variable} to its folder")
    return Path(root)


@pytest.fixture
def real_ravdess() -> Path:
    """The real RAVDESS, or a skip."""
    return find_real("RAVDESS", "SER_KD_RAVDESS")


@pytest.fixture
def real_emodb() -> Path:
    """The real EmoDB, or a skip."""
    return find_real("EmoDB", "SER_KD_EMODB")


@pytest.fixture
def real_crema_d() -> Path:
    """The real CREMA-D, or a skip."""
    return find_real("CREMA-D", "SER_KD_CREMA_D")


@pytest.fixture
def real_iemocap() -> Path:
    """The real IEMOCAP, or a skip."""
    return find_real("IEMOCAP", "SER_KD_IEMOCAP")


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
