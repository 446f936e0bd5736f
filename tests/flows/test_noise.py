"""A student trains in noise that is audited, told and recorded; what cannot be mixed is refused before the first step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.io import savemat

from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

QUICK = [*SMALL, "trainer.max_epochs=1", "noise.guard_s=0.5"]
SYNTHETIC = ["noise=synthetic", "noise.duration_s=20"]


def test_check_proves_that_no_noise_of_the_test_was_heard(ser_kd) -> None:
    code, output, errors = ser_kd("check", "corpus=demo", *SMALL[:2], *SYNTHETIC, "noise.held_out=[cockpit]")
    assert code == 0, errors
    assert "noise babble: train 0.0 to 11.8 s; validation 12.2 to 15.8 s; test 16.2 to 20.0 s" in output
    assert "noise cockpit: train never; validation never; test 16.2 to 20.0 s" in output
    assert "no noise of the test or the validation sounds in training" in output
    code, output, errors = ser_kd("check", "corpus=demo", *SMALL[:2], *SYNTHETIC, "noise.types=[engine]", "noise.noise_split=paper")
    assert code == 0, errors
    assert "the noise of the test was heard in training" in errors
    assert "400 of 400 blocks of test noise engine sound in train, too" in output


def test_a_student_trains_in_noise_that_stands_in_its_record(ser_kd, workplace: Path) -> None:
    words = ["experiments=demo/student", "views=noisy_student", *QUICK, *SYNTHETIC, "noise.held_out=[channel]", "experiment=noisy"]
    code, output, errors = ser_kd("train", *words)
    assert code == 0, errors
    assert "noise channel: train never" in output
    record = json.loads((only_run(workplace, "noisy") / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["noise"]["heard_types"] == ["babble", "stationary", "engine", "cockpit"]
    assert record["noise"]["held_out"] == ["channel"]
    assert record["noise"]["babble_speakers"] == sorted(record["protocol"]["speakers"]["train"])
    assert "noise channel: train never; validation never; test 16.2 to 20.0 s" in record["notes"]
    code, output, _ = ser_kd("train", *words)
    assert (code, "nothing to do" in output) == (0, True)


def test_noisex92_by_the_papers_way(ser_kd, workplace: Path) -> None:
    folder = workplace / "NOISEX-92"
    folder.mkdir()
    for seed, name in enumerate(("babble", "volvo")):
        samples = (3000 * np.random.default_rng(seed).standard_normal(19_980 * 6)).astype(np.int16)
        if name == "volvo":
            savemat(folder / "volvo.mat", {"volvo": samples[:, None]})
        else:
            soundfile.write(folder / "babble.wav", samples, 19_980, subtype="PCM_16")
    noise = ["noise=noisex92", f"noise.root={folder}", "noise.noise_split=paper"]
    words = ["experiments=demo/student", "views=noisy_student", *QUICK, *noise, "noise.types=[babble,volvo]", "experiment=papers"]
    code, _, errors = ser_kd("train", *words)
    assert code == 2
    assert "does not last as long as the published one" in errors
    code, _, errors = ser_kd("train", *words, "noise.check_duration=false")
    assert code == 0, errors
    record = json.loads((only_run(workplace, "papers") / "record.json").read_text())
    assert record["noise"]["test_was_heard"] is True
    assert any("the noise of the test was heard in training" in note for note in record["notes"])
    code, _, errors = ser_kd("train", *words[:-2], *noise[:2])
    assert code == 2
    assert "missing: f16, factory1, hfchannel" in errors


def test_what_cannot_be_mixed_is_refused(ser_kd) -> None:
    train = ["train", "experiments=demo/student", *SMALL]
    for words, *wanted in (
        (["views=noisy_student"], "no noises are chosen", "noise=synthetic"),
        (["noise=synthetic", "noise.types=[engine]"], "nobody hears", "views=noisy_student"),
        (["views=noisy_student", "noise=synthetic", "noise.types=[motor]"], "Unknown type of noise: motor", "cockpit"),
        (["views=noisy_student", "noise=folder", "noise.root=nowhere"], "no such folder"),
        (["views=noisy_student", "noise=synthetic", "noise.noise_split=random"], "one of time, paper"),
    ):
        code, _, errors = ser_kd(*train, *words)
        assert code == 2, errors
        assert "Traceback" not in errors
        for text in wanted:
            assert text in errors
