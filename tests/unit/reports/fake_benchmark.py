"""A benchmark that nobody measured: a student and a teacher in two engines."""

from ser_kd.contracts.benchmark_record import BenchmarkRecord, CostRecord, EngineRecord, LatencyRecord, MemoryRecord, SystemRecord

STUDENT, TEACHER = "wav_to_mfcc/ce_kl", "wav_to_mfcc/teacher (random)"


def make_benchmark(teacher_ua: float | None = None, student_ua: float | None = 0.6) -> BenchmarkRecord:
    """Student: front-end 2 ms, network 1 ms, whole 3 ms per second of clip and engine number; the teacher a hundred times that."""
    systems = [
        SystemRecord(
            STUDENT, "student", "run", "runs/a", 16_000, STUDENT, test_ua=student_ua, parameters={"trainable": 900, "total": 1000}
        ),
        SystemRecord(
            TEACHER,
            "teacher",
            "untrained",
            "wav_to_mfcc/teacher",
            16_000,
            test_ua=teacher_ua,
            parameters={"trainable": 10, "total": 50_000},
        ),
    ]
    latency, memory, costs = [], [], []
    factors = {STUDENT: 1.0, TEACHER: 100.0}
    for name, factor in factors.items():
        for seconds in (1.0, 5.27):
            costs.append(CostRecord(name, seconds, int(1e6 * factor * seconds), int(2e6 * factor * seconds)))
            memory.append(MemoryRecord(name, "onnx_fp32", seconds, int(1000 * factor), "Conv", int(1e6 + 1e4 * factor), int(1e6)))
            for number, engine in enumerate(("eager", "onnx_fp32"), start=1):
                for part, ms in (("whole", 3.0), ("frontend", 2.0), ("network", 1.0)):
                    wall = ms * factor * seconds / number
                    latency.append(LatencyRecord(name, engine, part, 1, seconds, 9, wall, 2 * wall, wall / 2, wall / 4))
    engines = [EngineRecord(name, engine, int(1e6 * factor), 5.0) for name, factor in factors.items() for engine in ("eager", "onnx_fp32")]
    return BenchmarkRecord(
        systems, costs, engines, memory, latency, [], ["compiled: no compiler"], [1.0, 5.27], [1], 20, 5.0, {"cores": "2"},
        {"torch": "2.11"}, "abc", "ser-kd benchmark runs/a", "", "2026-11-22T10:00:00+00:00",
    )  # fmt: skip
