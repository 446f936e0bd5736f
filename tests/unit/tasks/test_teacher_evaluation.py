"""ser-kd evaluate teacher=…: what a teacher is worth on a corpus, without a student."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_kd.contracts.errors import ConfigError, LeakageError
from ser_kd.tasks import evaluate
from tests.conftest import speech_like
from tests.published_models import save_odyssey, save_wav2vec2

DIMENSIONS = ("arousal", "dominance", "valence")


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("SER_KD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SER_KD_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    lines = ["path,label,speaker,arousal,dominance,valence"]
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", speech_like(number, 0.2 + 0.1 * number), 16_000)
        arousal, dominance, valence = (f"{value:.3f}" for value in random.uniform(0, 1, 3))
        lines.append(f"{number}.wav,neutral,s{number % 2},{arousal},{dominance},{valence if number else ''}")
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    save_wav2vec2(tmp_path / "dawn")
    save_odyssey(tmp_path / "odyssey")
    paths = [f"teacher.members.{name}.path={tmp_path / name}" for name in ("dawn", "odyssey")]
    return ["teacher=adv_ensemble", *paths, "corpus=manifest_csv", f"corpus.path={tmp_path / 'clips.csv'}", "batch_size=4"]


def concordance(truth: np.ndarray, said: np.ndarray) -> float:
    """Lin's coefficient, divided by n."""
    covariance = ((truth - truth.mean()) * (said - said.mean())).mean()
    return 2 * covariance / (truth.var() + said.var() + (truth.mean() - said.mean()) ** 2)


def test_ensemble_and_members_are_judged_on_all_annotated_clips(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.run(words) == 0
    told = capsys.readouterr()
    assert "licence: CC BY-NC-SA 4.0, for research only" in told.out + told.err
    (place,) = (tmp_path / "runs" / "teachers").glob("*/evaluations/manifest_csv.json")
    record = json.loads(place.read_text())
    rows = list(csv.DictReader(place.with_suffix(".csv").open()))
    assert record["clips"] == len(rows) == 6
    for name in DIMENSIONS:
        known = [row for row in rows if row[f"truth_{name}"]]
        assert len(known) == (5 if name == "valence" else 6)
        truth = np.array([float(row[f"truth_{name}"]) for row in known])
        said = {who: np.array([float(row[f"{who}prediction_{name}"]) for row in known]) for who in ("", "dawn_", "odyssey_")}
        np.testing.assert_allclose(said[""], (said["dawn_"] + said["odyssey_"]) / 2, atol=2e-6)
        for who, values in said.items():
            metric = f"{who.replace('_', '/')}ccc_{name}"
            assert record["metrics"][metric] == pytest.approx(concordance(truth, values), abs=1e-4)


@pytest.mark.parametrize(
    ("more", "error", "told"),
    [
        (["split=test"], ConfigError, "split=test"),
        (["run=somewhere"], ConfigError, "run and teacher"),
        (["+teacher.members.dawn.seen.manifest_csv=[train]"], LeakageError, "of no known part"),
        (["+teacher.members.own.experiment=a/b"], ConfigError, "own by its experiment"),
        (["teacher.weights=validation_confidence"], ConfigError, "weights=validation_confidence"),
    ],
)
def test_a_wrong_wish_is_told(words: list[str], more: list[str], error: type[Exception], told: str) -> None:
    with pytest.raises(error) as fault:
        evaluate.run([*words, *more])
    assert told in str(fault.value)


@pytest.mark.parametrize(("words", "told"), [([], "neither"), (["teacher=adv_ensemble"], "no corpus")])
def test_somebody_and_something_must_be_named(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as fault:
        evaluate.run(words)
    assert told in fault.value.got
