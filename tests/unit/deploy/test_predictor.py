"""Files, arrays and streams are heard alike: as slices of the whole, answered by the model, averaged."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.deploy.predictor import Predictor, StreamingPredictor
from ser_kd.storage.audio_files import resample
from tests.tiny_models import DIMENSIONAL, LABELS, RATE, classify, embed, write_tiny_model


@cache
def predictor() -> Predictor:
    return Predictor(write_tiny_model(Path(mkdtemp()) / "m.onnx"), threads=1)


def noise(samples: int, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, samples).astype(np.float32)


def write_wav(folder: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    path = folder / "a.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def check_is_answer_to(prediction, clip: np.ndarray) -> None:
    np.testing.assert_allclose([*prediction.probabilities.values()], classify(clip), atol=1e-5)
    np.testing.assert_allclose(prediction.embedding, embed(clip), atol=1e-5)


def test_a_file_no_longer_than_the_window_is_heard_whole(tmp_path):
    for count in (50, 399, 400):
        clip = noise(count)
        prediction = predictor()(write_wav(tmp_path, clip))
        check_is_answer_to(prediction, clip)
        assert (prediction.start_s, prediction.end_s, prediction.notes) == (0.0, count / RATE, ())
        assert prediction.label == LABELS[int(np.argmax(classify(clip)))]
        assert [*prediction.probabilities] == LABELS


def test_a_longer_one_is_the_mean_over_windows_that_end_where_it_ends(tmp_path):
    clip = np.concatenate([noise(500, 0.3), noise(430, 0.01)])
    slices = [slice(0, 400), slice(200, 600), slice(400, 800), slice(530, 930)]
    path = write_wav(tmp_path, clip)
    for windows in (list(predictor().windows(path)), list(predictor().windows(clip))):
        assert [(window.start_s, window.end_s) for window in windows] == [(0.0, 0.4), (0.2, 0.6), (0.4, 0.8), (0.53, 0.93)]
        for window, stretch in zip(windows, slices, strict=True):
            check_is_answer_to(window, clip[stretch])
    answer = predictor()(path)
    np.testing.assert_allclose([*answer.probabilities.values()], np.mean([classify(clip[s]) for s in slices], axis=0), atol=1e-5)
    np.testing.assert_allclose(answer.embedding, np.mean([embed(clip[s]) for s in slices], axis=0), atol=1e-5)
    assert answer.end_s == 0.93


def test_whole_hears_any_length_as_one_piece(tmp_path):
    clip = noise(3000)
    check_is_answer_to(predictor()(write_wav(tmp_path, clip), window_s="whole"), clip)
    assert len(list(predictor().windows(clip, window_s="whole"))) == 1


@given(
    count=st.integers(50, 1500),
    window=st.integers(60, 500),
    hop_share=st.floats(0.1, 1),
    rate=st.sampled_from([500, RATE, 3000]),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_a_stream_in_any_chunks_is_exactly_the_windowed_recording(count, window, hop_share, rate, sizes):
    clip = noise(count * rate // RATE + rate // 10, seed=count)
    places = {"window_s": window / RATE, "hop_s": max(1, int(hop_share * window)) / RATE}
    stream = StreamingPredictor(predictor(), **places, sample_rate_hz=rate, source="array")
    streamed, begin, turn = [], 0, 0
    while begin < len(clip):
        size = sizes[turn % len(sizes)]
        streamed += stream.feed(clip[begin : begin + size])
        begin, turn = begin + size, turn + 1
    streamed += stream.finish()
    at_once = list(predictor().windows(clip, sample_rate_hz=rate, **places))
    assert streamed == at_once
    for ours, theirs in zip(streamed, at_once, strict=True):
        np.testing.assert_array_equal(ours.embedding, theirs.embedding)
    heard = resample(clip, rate, RATE)  # the plain second form: resample at once, then slice
    for prediction in streamed:
        check_is_answer_to(prediction, heard[round(prediction.start_s * RATE) : round(prediction.end_s * RATE)])
    assert streamed[-1].end_s == len(heard) / RATE


def test_a_stream_one_sample_at_a_time():
    clip = noise(950)
    stream = StreamingPredictor(predictor(), sample_rate_hz=RATE, source="array")
    streamed = [prediction for sample in clip for prediction in stream.feed(np.array([sample]))] + stream.finish()
    assert streamed == list(predictor().windows(clip))
    assert stream.answer() == predictor()(clip)


def test_what_was_done_to_the_audio_is_noted(tmp_path):
    six = np.stack([noise(900, seed=seed) for seed in range(6)], axis=1)
    prediction = predictor()(write_wav(tmp_path, six, 3 * RATE))
    assert prediction.notes == ("6 channels averaged", "resampled from 3,000 Hz")
    check_is_answer_to(prediction, resample(six.mean(axis=1), 3 * RATE, RATE))
    assert predictor()(six[:300]).notes == ("6 channels averaged",)
    narrow = predictor()(noise(100), sample_rate_hz=500)
    assert narrow.notes == ("resampled from 500 Hz", "narrow-band: nothing above 250 Hz where the model heard up to 500")


def test_silent_windows_say_nothing_and_are_left_out_of_the_mean():
    clip = noise(900)
    clip[200:700] = 2e-5
    windows = list(predictor().windows(clip))
    assert [window.is_answered for window in windows] == [True, False, True, True]
    assert windows[1].label is None
    assert windows[1].abstained
    assert windows[1].notes == ("silent",)
    heard = [clip[:400], clip[400:800], clip[500:900]]
    answer = predictor()(clip)
    np.testing.assert_allclose([*answer.probabilities.values()], np.mean([classify(part) for part in heard], axis=0), atol=1e-5)
    assert answer.notes == ("1 of 4 windows silent, left out of the mean",)


@pytest.mark.parametrize(
    ("clip", "told"),
    [
        (np.zeros(0, dtype=np.float32), "Audio is empty"),
        (np.zeros(900, dtype=np.float32), "Audio is silent"),
        (np.full(300, 5e-5, dtype=np.float32), "Audio is silent"),
        (noise(49), "too short"),
        (np.where(np.arange(900) == 700, np.nan, noise(900)), "NaN or infinity"),
        (np.where(np.arange(900) == 700, np.inf, noise(900)), "NaN or infinity"),
        ((noise(900) * 1000).astype(np.int16), "These are no samples"),
        (noise(900).reshape(1, 1, 900), "These are no samples"),
    ],
)
def test_what_cannot_be_answered_is_told(clip, told):
    with pytest.raises(DataError, match=told) as caught:
        predictor()(clip)
    assert "array" in caught.value.got


def test_nan_is_told_with_its_place(tmp_path):
    clip = noise(900)
    clip[700] = np.nan
    with pytest.raises(DataError, match="NaN") as caught:
        predictor()(write_wav(tmp_path, clip))
    assert "the first at 0.70 s" in caught.value.got


def test_a_short_rest_behind_long_windows_is_no_fault():
    for rest in (1, 49, 50):
        windows = list(predictor().windows(noise(400 + rest), hop_s=0.4))
        assert [window.end_s for window in windows] == [0.4, (400 + rest) / RATE]


def test_nothing_is_complete_before_a_window_is():
    stream = StreamingPredictor(predictor())
    assert stream.feed(noise(399)) == []
    with pytest.raises(DataError, match="No window is complete"):
        stream.answer()
    assert len(stream.feed(noise(1))) == 1
    assert stream.heard_s == 0.4


def test_a_model_that_is_unsure_abstains(tmp_path):
    unsure = Predictor(predictor().model.path, threads=1, abstain_below=0.9)
    clip = noise(400, 0.1)
    prediction = unsure(clip)
    assert max(prediction.probabilities.values()) < 0.9
    assert (prediction.label, prediction.abstained) == (None, True)
    assert predictor()(clip).label is not None


def test_dimensions_have_their_own_names_in_one_order(tmp_path):
    path = write_tiny_model(tmp_path / "d.onnx", DIMENSIONAL)
    clip = noise(300)
    prediction = Predictor(path)(clip)
    valence, arousal, dominance = embed(clip)
    assert prediction.dimensions == pytest.approx({"arousal": arousal, "dominance": dominance, "valence": valence}, abs=1e-6)
    assert [*prediction.dimensions] == ["arousal", "dominance", "valence"]
    assert prediction.probabilities == {}
    assert prediction.label is None
    assert not prediction.abstained
    with pytest.raises(ConfigError, match="cannot abstain"):
        Predictor(path, abstain_below=0.5)


def test_a_rate_that_cannot_be():
    with pytest.raises(ConfigError, match="sample rate"):
        StreamingPredictor(predictor(), sample_rate_hz=0)


def test_the_face_of_the_package_imports_nothing_until_asked():
    program = """
import sys
import ser_kd.deploy
print({"numpy", "onnxruntime", "soundfile"} & set(sys.modules))
from ser_kd.deploy import ModelMetadata, Prediction, Predictor, StreamingPredictor
print("onnxruntime" in sys.modules, "torch" in sys.modules)
print(hasattr(ser_kd.deploy, "Predicter"), "Predictor" in dir(ser_kd.deploy))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n")[:3] == ["set()", "True False", "False True"]


@pytest.mark.parametrize("rate", [RATE, 3 * RATE])
def test_a_finished_stream_takes_nothing_more(rate):
    stream = StreamingPredictor(predictor(), sample_rate_hz=rate)
    stream.feed(noise(3000))
    stream.finish()
    for again in (stream.finish, lambda: stream.feed(noise(10))):
        with pytest.raises(ConfigError, match="stream is finished"):
            again()


def test_an_array_that_lies_the_other_way_round_is_told():
    with pytest.raises(DataError, match=r"waveform\.T"):
        predictor()(noise(2000).reshape(2, 1000))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_abstaining_needs_a_probability(tmp_path, share):
    with pytest.raises(ConfigError, match="no probability"):
        Predictor(write_tiny_model(tmp_path / "m.onnx"), abstain_below=share)
