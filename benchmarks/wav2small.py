"""Wav2Small beside MobileNets and CNN14 as model files: 5 s of speech on one thread, and what each step of its export gave.

Weights are random: they change no latency. All files but int8 answer as their model does in torch. The float32 file goes through a clip
in pieces of a second, for its memory; int8 is the fast one. The MobileNets and CNN14 are
exported for clips of these 5 s, so that they multiply no map by a mask, as their published forms do not; MobileNetV4-S also for clips
of any length. Published, on a Xeon Gold 6226R: 9 ms for Wav2Small, 5 for MobileNetV4-S, 11 for MobileNetV3-S; memory 9 MB for
Wav2Small, 36 for MobileNetV4-S.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from benchmarks.measuring import Ratio, measure_s, write_result
from ser_kd.deploy.fresh_session import measure_fresh_session
from ser_kd.deploy.identity_model import write_identity
from ser_kd.deploy.lean_wav2small import LeanWav2Small
from ser_kd.deploy.live_tensors import measure_live_tensors
from ser_kd.deploy.measured_sessions import make_waveform, open_session, session_options
from ser_kd.deploy.onnx_export import export_graph
from ser_kd.deploy.quantize import quantize_statically
from ser_kd.deploy.speech_graph import FittedClip, SpeechGraph
from ser_kd.frontends.convolutional_stft import ConvolutionalStft
from ser_kd.frontends.normalize import NormalizedFrontend
from ser_kd.models.speech_model import SpeechModel
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose

SAMPLES, CLASSES, ROUNDS = 80_000, 7, 15
OTHERS = ("mobilenetv4_s", "mobilenetv3_s", "mobilenetv4_m", "mobilenetv3_l", "cnn14")
FIRST, KERNELS, WHOLE, LEAN = "first working version", "front-end as kernels", "lean network, whole clip", "lean network, pieces of 1 s"
PLAIN_INT8, INT8 = "int8 of the first working version", "int8, filled channels"
MASKED = "mobilenetv4_s, any length"


def make_model(student: str) -> SpeechModel:
    """Build a student with random weights and running statistics."""
    torch.manual_seed(0)
    model = build(compose("train", [f"student={student}", "corpus=demo"]).student, classes=CLASSES)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0.0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, NormalizedFrontend):
            module.fitted.fill_(True)
            module._known_to_be_fitted = True
    return model.eval()


def write_files(folder: Path) -> dict[str, Path]:
    """Write a model file of each version of Wav2Small and of each of the others."""
    model = make_model("wav2small")
    first = SpeechGraph(model, FittedClip(), precision=None)
    for module in first.modules():
        if isinstance(module, ConvolutionalStft):
            module.form = "factored"
    plain = export_graph(SpeechGraph(model, FittedClip(), precision=None), SAMPLES).proto
    whole = SpeechGraph(model, FittedClip(), precision=None)
    form = LeanWav2Small(whole.model.encoder, whole.model.pooling, piece_tokens=SAMPLES // 64)
    whole.model.encoder, whole.model.pooling = form.eval().requires_grad_(False), None
    filled = export_graph(SpeechGraph(model, FittedClip(), precision="int8"), SAMPLES).proto
    noise = [make_waveform(SAMPLES, seed) for seed in range(4)]
    made = {
        FIRST: export_graph(first, SAMPLES).proto,
        KERNELS: plain,
        LEAN: export_graph(SpeechGraph(model, FittedClip()), SAMPLES).proto,
        WHOLE: export_graph(whole, SAMPLES).proto,
        PLAIN_INT8: quantize_statically(plain, noise),
        INT8: quantize_statically(filled, noise),
    }
    made |= {name: export_graph(SpeechGraph(make_model(name), FittedClip(SAMPLES, "right")), SAMPLES).proto for name in OTHERS}
    made[MASKED] = export_graph(SpeechGraph(make_model("mobilenetv4_s"), FittedClip()), SAMPLES).proto
    files = {}
    for name, proto in made.items():
        del proto.graph.value_info[:]  # as in files that ship
        files[name] = folder / f"{name.replace(' ', '_')}.onnx"
        onnx.save(proto, str(files[name]))
    return files


def main() -> None:
    """Measure on one core."""
    torch.set_num_threads(1)
    heard = make_waveform(SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder))
        sessions = {name: open_session(path, session_options(threads=1)) for name, path in files.items()}
        answers = {name: session.run(None, heard)[0] for name, session in sessions.items()}
        quick = [name for name in files if name != "cnn14"]
        calls = {name: lambda name=name: sessions[name].run(None, heard) for name in files}
        times = dict(zip(quick, measure_s(*(calls[name] for name in quick), rounds=4 * ROUNDS), strict=True))
        times["cnn14"] = measure_s(calls["cnn14"], rounds=3)[0]
        live = {name: measure_live_tensors(path, heard).peak.size_bytes for name, path in files.items()}
        bare = measure_fresh_session(write_identity(Path(folder) / "identity.onnx"), SAMPLES).high_water_bytes
        process = {name: measure_fresh_session(path, SAMPLES).high_water_bytes - bare for name, path in files.items()}
        second = measure_fresh_session(files[LEAN], SAMPLES // 5).high_water_bytes - bare
        sizes = {name: path.stat().st_size for name, path in files.items()}
    apart = max(float(np.abs(answers[name] - answers[FIRST]).max()) for name in (KERNELS, WHOLE, LEAN))
    write_result(
        "wav2small",
        [
            *(Ratio(f"Wav2Small: {name} / {FIRST}, time", times[name] / times[FIRST]) for name in (KERNELS, WHOLE, LEAN, PLAIN_INT8)),
            Ratio(f"Wav2Small: {INT8} / {FIRST}, time", times[INT8] / times[FIRST], at_most=0.5),
            Ratio("Wav2Small: largest difference of probabilities between float32 versions", apart, at_most=1e-5),
            Ratio("Wav2Small: bytes of the int8 file / 120,000", sizes[INT8] / 120_000, at_most=1.0),
            *(Ratio(f"Wav2Small: live tensors of {name}, MB", live[name] / 1e6, at_most=9.0) for name in (LEAN, INT8)),
            Ratio(f"process memory of Wav2Small: {WHOLE} / {LEAN}", process[WHOLE] / process[LEAN]),
            *(Ratio(f"time: {name} / Wav2Small in int8", times[name] / times[INT8]) for name in (*OTHERS, MASKED)),
            *(Ratio(f"live tensors: {name} / Wav2Small", live[name] / live[LEAN]) for name in OTHERS),
            *(Ratio(f"process memory: {name} / Wav2Small", process[name] / process[LEAN]) for name in OTHERS),
            Ratio("process memory of Wav2Small: one second / five seconds", second / process[LEAN]),
        ],
        {
            "seconds of speech": 5,
            "threads": 1,
            "rounds": 4 * ROUNDS,
            "clock": "processor time, shortest round; cnn14 by itself, three rounds",
            **{f"{name} ms": round(1e3 * seconds, 2) for name, seconds in times.items()},
            **{f"{name} live MB": round(size / 1e6, 2) for name, size in live.items()},
            **{f"{name} process MB above an identity model": round(size / 1e6, 1) for name, size in process.items()},
            **{f"{name} file bytes": size for name, size in sizes.items()},
        },
    )


if __name__ == "__main__":
    main()
