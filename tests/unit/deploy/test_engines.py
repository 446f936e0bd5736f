import torch

from ser_kd.deploy.engines import ENGINES, count_cores, find_cpp_compiler, why_not


def test_the_cpu_engines_of_eager_and_onnxruntime_always_run():
    assert [why_not(ENGINES[name]) for name in ("eager", "onnx_fp32", "onnx_int8")] == ["", "", ""]


def test_without_a_compiler_nothing_is_compiled(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "C++ compiler" in why_not(ENGINES["compiled"])
    own = tmp_path / "g++"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert find_cpp_compiler() == str(own)
    assert why_not(ENGINES["compiled"]) == ""


def test_without_a_device_no_cuda_engine_runs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    names = [name for name, engine in ENGINES.items() if engine.device == "cuda"]
    assert names == ["eager_cuda", "onnx_fp32_cuda", "onnx_fp16_cuda"]
    assert {why_not(ENGINES[name]) for name in names} == {"there is no CUDA device"}


def test_there_is_a_core():
    assert count_cores() >= 1
