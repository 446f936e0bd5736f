"""Every kind of network as an ONNX file against torch: any number of clips, any length, padded with whatever."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.deploy.graph_parts import BOUNDARY
from ser_kd.deploy.model_metadata import ModelMetadata
from ser_kd.deploy.onnx_export import export_graph, write_model
from ser_kd.deploy.quantize import convert_graph
from ser_kd.deploy.speech_graph import FittedClip, SpeechGraph
from ser_kd.models.pretrained import keep_random_weights
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose

METADATA = ModelMetadata(
    output="probabilities", labels=list("abcde"), dimensions=[], sample_rate_hz=16_000, minimum_samples=1600, window_samples=16_000,
    padding="", crops=False, precision="fp32", calibration_temperature=1.0, experiment="e", identity="i", fold=0, seed=0, corpus="c",
    protocol="p", protocol_fingerprint="f",
)  # fmt: skip
LENGTHS = ([20_000, 12_000, 9_001], [1600], [16_000, 1700, 15_999, 1])


def make_model(words):
    torch.manual_seed(0)
    model = build(compose("train", ["corpus=demo", "scale=tiny", *words]).student, classes=5)
    keep_random_weights(model)
    for module in model.modules():
        if hasattr(module, "begin_fit"):
            module.begin_fit()
            module.update_fit(ModelInput(0.1 * torch.randn(4, 16_000), torch.full((4,), 16_000)))
            module.end_fit()
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):  # statistics that a forgotten normalisation would miss
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def export(words, folder, clip=None, precision="fp32"):
    """Give the graph in torch, an open session, and the exported model."""
    graph = SpeechGraph(make_model(words), clip or FittedClip(), temperature=1.3)
    exported = export_graph(graph, 16_000)
    noise = [{"waveform": np.random.default_rng(s).standard_normal((1, 16_000), "f") * 0.1, "length": np.array([16_000])} for s in range(4)]
    made = convert_graph(exported.proto, precision, "auto", lambda: noise)
    write_model(made.proto, METADATA, folder / "m.onnx")
    return graph, onnxruntime.InferenceSession(folder / "m.onnx", providers=["CPUExecutionProvider"]), exported


def largest_difference(graph, session, lengths):
    batch = torch.full((len(lengths), max(lengths)), torch.nan)  # nothing behind an end may be heard
    for number, length in enumerate(lengths):
        batch[number, :length] = 0.1 * torch.randn(length, generator=torch.Generator().manual_seed(number))
    feeds = {"waveform": batch.numpy(), "length": np.array(lengths)}
    names = [output.name for output in session.get_outputs()]
    with torch.no_grad():
        expected = graph(batch, torch.tensor(lengths))
    return max(
        float((torch.from_numpy(found) - expected[name]).abs().max()) for name, found in zip(names, session.run(names, feeds), strict=True)
    )


@pytest.mark.parametrize("clip", [FittedClip(15_000, "center")])
def test_timnet_of_fixed_clips(tmp_path, clip):
    graph, session, exported = export(["student=timnet_39"], tmp_path, clip)
    assert [output.name for output in session.get_outputs()] == ["probabilities", "embedding"]
    assert max(largest_difference(graph, session, lengths) for lengths in LENGTHS) < 1e-5
    assert "dynamo" in exported.exporter
    assert not [node for node in exported.proto.graph.node if node.op_type == "BatchNormalization"]
    assert {BOUNDARY[0]} <= {name for node in exported.proto.graph.node for name in node.output}
    text = exported.proto.SerializeToString()
    assert b".py" not in text  # no source line of the machine that made it
    assert session.get_modelmeta().custom_metadata_map["ser_kd.labels"] == '["a", "b", "c", "d", "e"]'


@pytest.mark.parametrize("student", ["hubert_base", "timnet_60", "wav2small"])
@pytest.mark.parametrize("classifier_input", ["concat", "pooled"])
def test_students_of_several_teachers_hear_the_waveform_alone(tmp_path, student, classifier_input):
    widths = ["student.head.projections.linguistic=24", "student.head.projections.prosodic=12"]
    words = [f"student=emodistill_{student}", *widths, f"student.head.classifier_input={classifier_input}"]
    graph, session, _ = export(words, tmp_path)
    assert {given.name for given in session.get_inputs()} == {"waveform", "length"}
    assert max(largest_difference(graph, session, lengths) for lengths in LENGTHS) < 1e-4
    assert bool(graph.model.head.embedding_widths) == (classifier_input == "concat")


SSL = {"hubert": "hubert_base", "wavlm": "wavlm_base_plus", "data2vec": "data2vec_audio_base", "wav2vec2_large": "wav2vec2_large_robust"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["student=timnet_60"], ["student=spectrogram_resnet"], ["student=cnn14"], ["student=crnn"], ["student=wav2vec2_base"],
        ["student=spectrogram_transformer"], ["student=ecapa_fbank"], ["student=ecapa_late_fusion"],
        ["student=ecapa_early_fusion", "student.frontend.parts.hubert.layers=weighted"],
        ["student=whisper_base"], *[["student=wav2vec2_base", f"encoder@student.encoder={name}"] for name in SSL.values()],
    ],
    ids=lambda words: words[-1].partition("=")[2],
)  # fmt: skip
def test_networks_that_mask_padding(tmp_path, words):
    graph, session, exported = export(words, tmp_path)
    # whisper drops its last frame, so a clip of one sample is silence to it and to torch alike
    assert max(largest_difference(graph, session, lengths) for lengths in LENGTHS) < 1e-4
    # torch.export takes the length of a recurrent layer for a constant: the older exporter has to do it, and says so
    assert ("traced" in exported.exporter) == (words == ["student=crnn"])


@pytest.mark.slow
@pytest.mark.parametrize(("words", "precision", "most"), [
    (["student=wav2vec2_base"], "int8", 0.02), (["student=wav2vec2_base"], "fp16", 0.005), (["student=timnet_60"], "int8", 0.05),
    (["student=timnet_60"], "fp16", 0.005), (["student=spectrogram_resnet"], "int8", 0.1),
])  # fmt: skip
def test_other_precisions_are_near(tmp_path, words, precision, most):
    graph, session, _ = export(words, tmp_path, precision=precision)
    assert 0 < largest_difference(graph, session, [16_000]) < most
