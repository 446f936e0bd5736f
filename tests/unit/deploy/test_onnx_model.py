"""A model file is refused before any audio is read, each fault with its own words."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.deploy.onnx_model import OnnxModel
from tests.tiny_models import METADATA, classify, embed, write_tiny_model


def test_it_answers_one_clip(tmp_path):
    model = OnnxModel(write_tiny_model(tmp_path / "m.onnx"))
    assert model.metadata == METADATA
    assert model.providers == ["CPUExecutionProvider"]
    clip = np.random.default_rng(0).normal(0, 0.1, 300).astype(np.float32)
    answer, embedding = model.answer(clip)
    np.testing.assert_allclose(answer, classify(clip), atol=1e-6)
    np.testing.assert_allclose(embedding, embed(clip), atol=1e-6)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "is missing"), (b"", "no whole ONNX file"), (b"plain text", "no whole ONNX file"), ("half", "no whole ONNX file")],
)
def test_what_is_no_onnx_file(tmp_path, content, told):
    path = tmp_path / "m.onnx"
    if content == "half":
        whole = write_tiny_model(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        OnnxModel(path)
    assert "m.onnx" in caught.value.got


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(DataError, match="missing") as caught:
        OnnxModel(tmp_path)
    assert "a folder" in caught.value.got


@pytest.mark.parametrize(
    ("properties", "renamed", "told"),
    [
        ({"producer": "others"}, {}, "no model of ser_kd"),
        ({}, {}, "no model of ser_kd"),
        (METADATA.to_properties() | {"ser_kd.labels": '["a", '}, {}, "damaged"),
        (METADATA.to_properties() | {"ser_kd.labels": '["a", "b"]'}, {}, "damaged"),
        (None, {"waveform": "audio"}, "inputs of the model"),
        (None, {"length": "lengths"}, "inputs of the model"),
        (None, {"probabilities": "scores"}, "outputs of the model"),
        (None, {"embedding": "frames"}, "outputs of the model"),
    ],
)
def test_a_file_that_is_not_ours_or_damaged(tmp_path, properties, renamed, told):
    with pytest.raises(DataError, match=told) as caught:
        OnnxModel(write_tiny_model(tmp_path / "m.onnx", METADATA, properties, **renamed))
    assert "m.onnx" in caught.value.got


def test_fp16_wants_cuda_unless_the_cpu_is_asked_for_by_name(tmp_path, monkeypatch):
    path = write_tiny_model(tmp_path / "m.onnx", dataclasses.replace(METADATA, precision="fp16"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match="CUDAExecutionProvider cannot be used") as caught:
        OnnxModel(path)
    assert "fp16" in caught.value.expected
    assert OnnxModel(path, "cpu").providers == ["CPUExecutionProvider"]
    assert OnnxModel(path, ["CPUExecutionProvider"]).providers == ["CPUExecutionProvider"]


def test_a_provider_that_is_there_but_cannot_compute_is_told(tmp_path, monkeypatch):
    path = write_tiny_model(tmp_path / "m.onnx")
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda self: ["CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(ConfigError, match="CUDAExecutionProvider cannot be used") as caught:
        OnnxModel(path, "cuda")
    assert "would compute on CPUExecutionProvider" in caught.value.got


def test_an_unknown_provider_is_told(tmp_path):
    with pytest.raises(ConfigError, match="TPU cannot be used"):
        OnnxModel(write_tiny_model(tmp_path / "m.onnx"), ["TPU"])


def test_what_the_graph_cannot_hear_and_answers_that_are_no_numbers(tmp_path):
    model = OnnxModel(write_tiny_model(tmp_path / "m.onnx"))
    with pytest.raises(DataError, match="cannot answer"):
        model.answer(np.zeros(0, dtype=np.float32))
    with pytest.raises(DataError, match="NaN or infinity"):
        model.answer(np.full(100, np.nan, dtype=np.float32))
