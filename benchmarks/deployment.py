"""System 000's student beside its wav2vec 2.0 base-sized teacher as ONNX files, one thread, 5.27 s; and three forms of the student's MFCC.

Weights are random: they change no latency.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from benchmarks.measuring import Ratio, measure_s, write_result
from ser_kd.contracts.batch import ModelInput
from ser_kd.deploy.graph_halves import cut_at_features
from ser_kd.deploy.measured_sessions import make_waveform
from ser_kd.deploy.onnx_calls import OnnxFile
from ser_kd.deploy.onnx_export import export_graph
from ser_kd.deploy.speech_graph import FittedClip, SpeechGraph
from ser_kd.frontends.convolutional_stft import ConvolutionalStft
from ser_kd.tasks.benchmark import make_record
from ser_kd.tasks.benchmark_systems import find_systems
from ser_kd.tasks.benchmark_words import read_benchmark_words

STUDENT, TEACHER, ENGINE, SECONDS, SAMPLES = "wav_to_mfcc/student", "wav_to_mfcc/teacher", "onnx_fp32", 5.27, 84_351
ROUNDS = 20


def find_frontend_ms(form: str, folder: Path) -> tuple[float, float]:
    """Give milliseconds of the student's front-end alone in a form, and its largest difference from the FFT / largest coefficient."""
    (system,) = find_systems([STUDENT], "", "paper")
    model = system.make_model()
    graph = SpeechGraph(model, FittedClip(SAMPLES, "center"))
    for module in graph.model.modules():
        if isinstance(module, ConvolutionalStft):
            module.form = form
    path = folder / f"{form}.onnx"
    path.write_bytes(export_graph(graph, SAMPLES).proto.SerializeToString())
    file = OnnxFile(path, cut_at_features(path, folder / form), threads=1)
    seconds = measure_s(file.make_calls(SAMPLES)["frontend"], rounds=ROUNDS)[0]
    inputs = make_waveform(SAMPLES)
    waveform = torch.from_numpy(inputs["waveform"])
    with torch.no_grad():
        exact = model.frontend(ModelInput(waveform, torch.tensor([SAMPLES]))).frames
    found = torch.from_numpy(file.halves[0].run(["features"], inputs)[0])
    return 1e3 * seconds, float((found - exact).abs().max() / exact.abs().max())


def main() -> None:
    """Measure on one core."""
    torch.set_num_threads(1)
    words = [STUDENT, f"teacher={TEACHER}", f"seconds={SECONDS}", "threads=1", f"engines=eager,{ENGINE}", "budget=15"]
    record = make_record(read_benchmark_words(words), " ".join(["ser-kd", "benchmark", *words]))
    student, teacher = (system.name for system in record.systems)

    def find(system: str, part: str, engine: str = ENGINE) -> float:
        return record.find_latency(system, engine, part, 1, SECONDS).p50_ms

    with tempfile.TemporaryDirectory() as name:
        (factored, apart), (plain, _) = (find_frontend_ms(form, Path(name)) for form in ("factored", "convolution"))
    memory = {cell.system: cell for cell in record.memory if cell.engine == ENGINE}
    sizes = {system: record.find_engine(system, ENGINE).size_bytes for system in (student, teacher)}
    write_result(
        "deployment",
        [
            Ratio("network alone: teacher / student", find(teacher, "network") / find(student, "network"), at_least=400),
            Ratio("raw waveform to answer: teacher / student", find(teacher, "whole") / find(student, "whole"), at_least=150),
            Ratio("student: front-end / network", find(student, "frontend") / find(student, "network"), at_most=2.5),
            Ratio("MFCC as plain DFT convolution / factored", plain / factored),
            Ratio("factored MFCC: largest difference from FFT / largest coefficient", apart, at_most=1e-4),
            Ratio("student: torch eager / ONNX", find(student, "whole", "eager") / find(student, "whole")),
            Ratio("teacher: torch eager / ONNX", find(teacher, "whole", "eager") / find(teacher, "whole")),
            Ratio("file size: teacher / student", sizes[teacher] / sizes[student]),
            Ratio("live tensors: teacher / student", memory[teacher].live_bytes / memory[student].live_bytes),
            Ratio("process memory: teacher / student", memory[teacher].above_identity_bytes / memory[student].above_identity_bytes),
        ],
        {
            "seconds of speech": SECONDS,
            "threads": 1,
            **{f"{role} {part} ms": round(find(system, part), 2) for role, system in (("student", student), ("teacher", teacher))
               for part in ("whole", "frontend", "network")},
            **{f"{role} file KB": round(sizes[system] / 1000) for role, system in (("student", student), ("teacher", teacher))},
        },
        record.left_out,
    )  # fmt: skip


if __name__ == "__main__":
    main()
