from __future__ import annotations

import dataclasses
import importlib.util
import math
import sys
from pathlib import Path

import onnx
import pytest
import torch

from ser_kd.__main__ import main
from ser_kd.contracts.benchmark_record import BenchmarkRecord, SystemRecord
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.export_record import ExportedFile
from ser_kd.contracts.records import RunRecord
from ser_kd.deploy.model_metadata import ModelMetadata
from ser_kd.tasks import benchmark, benchmark_grid, benchmark_systems
from ser_kd.tasks.benchmark_systems import find_systems
from tests.unit.contracts.test_export_record import make_record

METADATA = ModelMetadata(
    output="probabilities", labels=["angry", "sad"], dimensions=[], sample_rate_hz=16_000, minimum_samples=160, window_samples=84_351,
    padding="masked", crops=False, precision="fp32", calibration_temperature=1.0, experiment="x/small", identity="d98f", fold=0, seed=0,
    corpus="ravdess", protocol="p", protocol_fingerprint="f",
)  # fmt: skip


def _load(name: str, path: Path):
    # pytest's importlib mode puts no test folder on the path
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


UNIT = Path(__file__).parents[1]
small_graph = _load("small_graph_for_benchmark", UNIT / "deploy" / "test_graph_halves.py")
fake_runs = sys.modules.get("fake_runs") or _load("fake_runs", UNIT / "reports" / "fake_runs.py")


def write_file(path: Path, precision: str = "fp32") -> Path:
    """A small model file of ours: waveform to two classes, cut at its features."""
    path.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(str(small_graph.write_model(path)))
    onnx.helper.set_model_props(model, dataclasses.replace(METADATA, precision=precision).to_properties())
    onnx.save(model, str(path))
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


QUICK = ["rounds=2", "budget=0.05", "threads=1"]


def test_two_files_side_by_side(home, monkeypatch, capsys):
    monkeypatch.setattr(benchmark_grid, "FRESH_PROCESSES", 1)
    write_file(home / "student.onnx")
    write_file(home / "teacher.onnx")
    words = ["student.onnx", "teacher=teacher.onnx", "engines=onnx_fp32,onnx_int8,eager", "seconds=0.1,0.2", *QUICK]
    assert main(["benchmark", *words]) == 0
    out, err = capsys.readouterr()
    record = BenchmarkRecord.from_json((home / "reports" / "benchmark.json").read_text())
    assert [(system.name, system.role, system.kind) for system in record.systems] == [
        ("student.onnx", "student", "file"),
        ("teacher.onnx", "teacher", "file"),
    ]
    assert len(record.latency) == 2 * 2 * 3
    assert {cell.part for cell in record.latency} == {"whole", "frontend", "network"}
    assert all(0 < cell.shortest_ms <= cell.p50_ms <= cell.p95_ms for cell in record.latency)
    assert {ratio.what for ratio in record.ratios} >= {"latency", "frontend / network", "size", "live tensors"}
    assert all(item.live_bytes > 0 and item.high_water_bytes > item.live_bytes for item in record.memory)
    assert [item.live_bytes for item in record.memory[:1]] != [item.live_bytes for item in record.memory[2:3]]  # 0.1 s and 0.2 s
    assert all(engine.load_ms > 0 and engine.size_bytes == (home / engine.system).stat().st_size for engine in record.engines)
    assert "student.onnx in onnx_int8: no int8 model file" in " ".join(record.left_out)
    assert "Teacher / student" in out
    assert "reports/benchmark.md" in out
    assert "measuring 6 calls in turn" in err
    assert "measuring" not in out
    assert record.command.startswith("ser-kd benchmark student.onnx")
    assert not (home / "reports" / "benchmark.png").exists()


def test_an_experiment_with_random_weights_and_the_export_of_them(home, monkeypatch, capsys):
    asked = []

    def export_untrained(model, folder, *, labels, sample_rate_hz, clip, experiment, precisions):
        asked.append((labels, sample_rate_hz, clip.clip_samples, clip.padding, experiment, precisions, model.training))
        return {"fp32": write_file(folder / "model_fp32.onnx")}

    monkeypatch.setattr(benchmark_systems, "export_untrained", export_untrained)
    words = ["wav_to_mfcc/student", "engines=eager,onnx_fp32,onnx_int8", "seconds=0.3", "scale=tiny", "out=made", *QUICK]
    assert main(["benchmark", *words]) == 0
    record = BenchmarkRecord.from_json((home / "made" / "benchmark.json").read_text())
    system = record.systems[0]
    assert (system.name, system.kind, system.source) == ("wav_to_mfcc/student (random)", "untrained", "wav_to_mfcc/student scale=tiny")
    assert system.parameters["total"] == 245_235
    assert {(cell.engine, cell.part) for cell in record.latency} == {
        (engine, part) for engine in ("eager", "onnx_fp32") for part in ("whole", "frontend", "network")
    }
    assert [(cost.seconds, cost.flops) for cost in record.costs] == [(0.3, 2 * record.costs[0].multiply_accumulates)]
    assert len(asked) == 1
    assert len(asked[0][0]) == 7
    assert asked[0][1:] == (16_000, 84_351, "center", "wav_to_mfcc/student", ["fp32", "int8"], False)
    assert system.fixed_samples == 84_351
    assert record.costs[0].multiply_accumulates == 61_260_300  # of the fixed clip, not of 0.3 s
    assert "random" in capsys.readouterr().out


def test_a_run_brings_its_accuracy_and_its_model_files(home):
    folder = fake_runs.write_run(home / "runs", fake_runs.TRIO[2])
    write_file(folder / "export" / "model_int8.onnx", "int8")
    (system,) = find_systems([str(folder)], "", "paper")
    assert system.record.kind == "run"
    assert system.record.test_ua == RunRecord.from_json((folder / "record.json").read_text()).metrics["test/ua"]
    assert list(system.files) == ["int8"]
    assert f"ser-kd export run={folder}" in system.why_no_file


def test_a_signed_off_file_brings_its_own_accuracy(home, capsys):
    folder = fake_runs.write_run(home / "runs", fake_runs.TRIO[2])
    write_file(folder / "export" / "model_int8.onnx", "int8")
    without = ExportedFile("fp32", "model_fp32.onnx", 1, "torch", 20, "CPUExecutionProvider", 3, metrics={"ua": math.nan})
    (folder / "export" / "sign_off.json").write_text(make_record(files=[*make_record().files, without]).to_json())
    (system,) = find_systems([str(folder)], "", "paper")
    assert {name: scores for name, scores in system.file_scores.items() if scores} == {"int8": {"ua": 0.5}}
    (folder / "export" / "sign_off.json").write_text('{"files": 3}')
    (system,) = find_systems([str(folder)], "", "paper")
    assert system.file_scores == {}
    assert "Scores of its files are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("clip_samples", "padding", "heard"),
    [(None, "masked", [800, 2000]), (1000, "masked", [800, 1000]), (1000, "center", [1000, 1000]), (1000, "right", [1000, 1000])],
)
def test_torch_hears_clips_as_long_as_the_model_file_makes_them(clip_samples, padding, heard):
    record = SystemRecord("a", "student", "run", "a", 16_000)
    system = benchmark_systems.System(record, None, clip_samples=clip_samples, padding=padding)
    assert [system.count_heard_samples(samples) for samples in (800, 2000)] == heard


def test_runs_of_one_experiment_are_told_apart(home):
    run = fake_runs.TRIO[2]
    folders = [fake_runs.write_run(home / "runs", dataclasses.replace(run, seed=seed)) for seed in (0, 1)]
    names = [system.record.name for system in find_systems([str(folder) for folder in folders], str(folders[1]), "paper")]
    assert names == [f"wav_to_mfcc/ce_kl fold=0 seed={seed}" for seed in (0, 1)]


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("runs/a/b/c/fold=0/seed=0", DataError, "no finished run in this folder"),
        ("missing.onnx", DataError, "no such model file"),
        ("foreign.onnx", DataError, "no model of ser_kd"),
        ("text.onnx", DataError, "no ONNX file"),
        ("wav_to_mfcc/techer", ConfigError, "did you mean 'wav_to_mfcc/teacher'?"),
    ],
)
def test_what_cannot_be_measured_is_told(home, name, kind, told, capsys):
    small_graph.write_model(home / "foreign.onnx")
    (home / "text.onnx").write_text("this is no protobuf, whatever it is called")
    with pytest.raises(kind, match=told.replace("?", r"\?")):
        find_systems([name], "", "paper")
    assert main(["benchmark", name]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_typo_is_exit_code_two(home, capsys):
    assert main(["benchmark", "a/b", "engines=onx"]) == 2
    assert "Unknown engine 'onx'" in capsys.readouterr().err


def test_nothing_that_this_machine_can_run(home):
    write_file(home / "a.onnx")
    with pytest.raises(DataError, match="Nothing of this can be measured"):
        benchmark.run(["a.onnx", "engines=onnx_int8", "seconds=0.1"])
