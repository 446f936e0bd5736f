"""Wrong wishes are told before a model is loaded; each clip meets the same stretch of noise at every ratio."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.records import ProtocolRecord, RunRecord, TeacherRecord
from ser_kd.contracts.robustness_record import CLEAN
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.dataset import SpeechDataset
from ser_kd.data.noise_corpora.synthetic import SyntheticNoise
from ser_kd.runtime.recording import write_record
from ser_kd.tasks import robustness, robustness_systems
from ser_kd.tasks.noisy_clips import NoisyClips
from ser_kd.tasks.robustness_systems import find_robustness_systems
from tests.conftest import speech_like


def write_run(root: Path, experiment: str, fingerprint: str = "print", fold: int = 0, status: str = "finished", **record: object) -> Path:
    protocol = ProtocolRecord("p", fingerprint, fold, 2, "next_fold", "validation", "merge7", ["neutral", "sad"], {}, {})
    identity = str(record.pop("identity", "id"))
    folder = root / experiment / identity / f"fold={fold}" / "seed=0"
    write_record(folder, RunRecord(experiment, identity, status, 0, "demo", protocol, **record))  # type: ignore[arg-type]
    OmegaConf.save({"corpus": {}, "datamodule": {}}, folder / "config.yaml")
    return folder


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["level=loud"], "rms or active_speech or p56"),
        (["checkpoint=worst"], "best or last"),
        (["snrs_db=[5,5]"], "different numbers"),
        (["snrs_db=[200]"], "-100 to 100"),
        (["snrs_db=5"], "a list, such as"),
        (["snrs_db=[]", "clean=false"], "different numbers"),
        (["resamples=10"], "from 200"),
        (["noise.types=[babel]", "run=here"], "types of 'synthetic': babble"),
        (["noise=nowhere", "run=here"], "synthetic"),
        (["noise=null", "run=here"], "noise=null"),
        (["enhancement=spectral", "run=here"], "vad_nmf"),
        ([], "nothing to judge"),
    ],
)
def test_wrong_values_are_told(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("[", r"\[")):
        robustness.run(words)


def test_runs_that_are_not_there_or_not_finished_are_told(tmp_path: Path) -> None:
    write_run(tmp_path, "p/a", status="running")
    for name in ("nothing", "p/a/id", "p/a/id/fold=0/seed=0"):
        with pytest.raises(DataError, match="no finished run"):
            robustness.run([f"run={tmp_path / name}"])
    write_run(tmp_path, "p/b", identity="one")
    write_run(tmp_path, "p/b", identity="two")
    with pytest.raises(DataError, match="identities one, two"):
        find_robustness_systems([str(tmp_path / "p/b")], [], None, False)


def test_runs_of_other_protocols_stand_apart(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, "p/a"), write_run(tmp_path, "p/b", fingerprint="other")]
    with pytest.raises(ConfigError, match=r"different protocols[\s\S]*other"):
        robustness.run([f"runs=[{folders[0]},{folders[1]}]"])


def test_the_enhancement_stands_before_the_teacher(tmp_path: Path) -> None:
    for fold in (0, 1):
        write_run(tmp_path, "p/teacher", identity="t", fold=fold)
        taught = [TeacherRecord("t", "p/teacher", None, "print", [], 1, identity="t")]
        write_run(tmp_path, "p/student", identity="s", fold=fold, teachers=taught)
    names = [str(tmp_path / "p/teacher/t"), str(tmp_path / "p/student/s")]
    found = find_robustness_systems(names, [], None, True)
    assert [(s.run.experiment, s.run.protocol.fold, s.is_enhanced) for s in found] == [
        ("p/teacher", 0, False), ("p/teacher", 1, False), ("p/student", 0, False), ("p/student", 1, False),
        ("p/teacher", 0, True), ("p/teacher", 1, True),
    ]  # fmt: skip
    assert [s.run.experiment for s in find_robustness_systems(names[1:], [], None, True)] == ["p/student"] * 4
    given = find_robustness_systems(names[:1], [], names[1], True)
    assert [s.run.experiment for s in given if s.is_enhanced] == ["p/student"] * 2


def test_a_model_file_away_from_its_run_borrows_no_more_than_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path, "p/a", noise={"corpus": "synthetic", "heard_types": ["engine"]})
    told = SimpleNamespace(
        output="probabilities", experiment="p/b", identity="b", seed=3, protocol_fingerprint="print", fold=0, teachers=["p/t"]
    )
    monkeypatch.setattr(robustness_systems, "read_model_metadata", lambda path: told)
    run, file = find_robustness_systems([str(folder)], [str(tmp_path / "away" / "b.onnx")], None, False)
    assert (file.is_borrowed, file.is_distilled, file.run.noise, file.run.experiment) == (True, True, {}, "p/b")
    assert file.find_weights("best") == tmp_path / "away" / "b.onnx"
    assert (run.is_borrowed, run.is_distilled, run.run.noise["corpus"]) == (False, False, "synthetic")


@pytest.fixture
def clips() -> NoisyClips:
    waveforms = {str(number): speech_like(number, 0.4 + 0.2 * number) for number in range(3)}
    audio = SimpleNamespace(read=waveforms.__getitem__, length_of=lambda name: len(waveforms[name]))
    label_set = LabelSet("two", ("neutral", "sad"))
    utterances = [Utterance(name, Path(name), "s", "sad") for name in waveforms]
    data = SimpleNamespace(dataset=lambda split: SpeechDataset(utterances, audio, label_set), label_set=label_set)  # type: ignore[arg-type]
    return NoisyClips(data, SyntheticNoise(types=["stationary", "engine"], duration_s=20.0), "rms", 0)  # type: ignore[arg-type]


def noise_of(clips: NoisyClips, noise: str, snr_db: float) -> list[np.ndarray]:
    found = []
    for whole, batch in clips.hear((noise, snr_db)):
        rows = zip(whole, batch.waveforms, batch.lengths.tolist(), strict=True)
        found += [(row[:length] - clip.waveform).numpy() for clip, row, length in rows]
    return found


def test_a_clip_meets_the_same_stretch_at_every_ratio(clips: NoisyClips) -> None:
    loud, quiet = noise_of(clips, "engine", 0.0), noise_of(clips, "engine", 20.0)
    for number, (first, second) in enumerate(zip(loud, quiet, strict=True)):
        np.testing.assert_allclose(first, 10.0 * second, atol=1e-4)
        clip = clips.dataset[number].waveform.numpy()
        assert 20 * np.log10(np.sqrt((clip**2).mean()) / np.sqrt((second**2).mean())) == pytest.approx(20.0, abs=0.1)
    again = NoisyClips.__new__(NoisyClips)
    again.__dict__.update(clips.__dict__, seed=1)
    assert not np.allclose(noise_of(again, "engine", 0.0)[0], loud[0])
    other = noise_of(clips, "stationary", 0.0)[0]
    assert not np.allclose(other, loud[0])


def test_clean_speech_is_the_corpus(clips: NoisyClips) -> None:
    for whole, batch in clips.hear((CLEAN, None)):
        for clip, row, length in zip(whole, batch.waveforms, batch.lengths.tolist(), strict=True):
            assert torch.equal(row[:length], clip.waveform)


def test_silent_clips_are_named_before_anything_is_computed(clips: NoisyClips) -> None:
    clips.check_audible()
    clips.dataset.audio.read("1")[:] = 0.0
    with pytest.raises(DataError, match=r"Silent speech[\s\S]*got:\s+1\n"):
        clips.check_audible()
