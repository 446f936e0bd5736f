"""Wav2Small as it ships: float32 in pieces of a second, int8 of at most 120,000 bytes with filled channels."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.deploy.live_tensors import measure_live_tensors
from ser_kd.deploy.measured_sessions import make_waveform, open_session, session_options
from ser_kd.deploy.speech_graph import FittedClip
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose
from ser_kd.tasks.untrained_export import export_untrained

pytestmark = pytest.mark.slow

SAMPLES = 80_000
LABELS = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")


def make_clips():
    """Three clips of another length each, whose loudness and colour change within them."""
    time = np.arange(SAMPLES) / 16_000
    clips = np.stack([make_waveform(SAMPLES, seed)["waveform"][0] * np.sin(3 * time + seed) ** 2 for seed in range(3)])
    clips[:, 1:] += 0.9 * clips[:, :-1]
    return clips.astype(np.float32), np.array([80_000, 56_032, 40_001], dtype=np.int64)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    model = build(compose("train", ["student=wav2small", "corpus=demo"]).student, classes=len(LABELS))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    waveforms, lengths = make_clips()
    with torch.no_grad():
        model(ModelInput(torch.from_numpy(waveforms), torch.from_numpy(lengths)))  # running statistics as after training
    folder = tmp_path_factory.mktemp("wav2small")
    files = export_untrained(
        model.eval(), folder, labels=LABELS, sample_rate_hz=16_000, clip=FittedClip(), experiment="none", precisions=("fp32", "int8")
    )
    return model, files


def answer(path, waveforms, lengths):
    return open_session(path, session_options(threads=1)).run(["probabilities"], {"waveform": waveforms, "length": lengths})[0]


def test_both_files_answer_as_the_model_does_whole_clips_and_ragged_ones(exported):
    model, files = exported
    waveforms, lengths = make_clips()
    with torch.no_grad():
        expected = model(ModelInput(torch.from_numpy(waveforms), torch.from_numpy(lengths))).logits.softmax(dim=1).numpy()
    assert np.ptp(expected, axis=1).min() > 0.05
    for precision, bound in (("fp32", 1e-5), ("int8", 0.05)):
        assert np.abs(answer(files[precision], waveforms, lengths) - expected).max() < bound
        for row, length in enumerate(lengths):
            alone = answer(files[precision], waveforms[row : row + 1, :length], lengths[row : row + 1])
            assert np.abs(alone - expected[row]).max() < bound


def test_int8_is_at_most_120_kilobytes_and_its_convolutions_are_int8(exported):
    _, files = exported
    assert files["int8"].stat().st_size <= 120_000
    graph = onnx.load(str(files["int8"])).graph
    rounded = [constant for constant in graph.initializer if constant.data_type == onnx.TensorProto.INT8]
    assert sum(list(constant.dims) == [16, 16, 3, 3] for constant in rounded) == 6
    # masks are minima of rounded values: but for the first convolution's, none is multiplied
    assert sum(node.op_type == "Min" for node in graph.node) == 7


def test_live_tensors_of_five_seconds_are_at_most_9_megabytes(exported):
    _, files = exported
    assert measure_live_tensors(files["int8"], make_waveform(SAMPLES)).peak.size_bytes <= 9_000_000
    live = {seconds: measure_live_tensors(files["fp32"], make_waveform(16_000 * seconds)).peak.size_bytes for seconds in (5, 20)}
    assert live[5] <= 3_000_000
    assert live[20] < 4 * live[5]  # what grows is the waveform and its features
