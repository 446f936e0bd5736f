"""RKD in Gram-matrix form against the form of all B x B x D differences: time and peak memory of forward and backward."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from benchmarks.measuring import Ratio, measure_s, write_result
from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.losses.relational import RelationalAngle, RelationalDistance
from ser_kd.runtime.memory import keep_freed_memory

CLIPS, WIDTH, ROUNDS = 128, 768, 5
BATCH = SpeechBatch([], [], torch.zeros(0, 1), torch.zeros(0), torch.zeros(0))
TERMS = ("distance", "angle")


def relate_distances(rows: Tensor) -> Tensor:
    """Give relative distances from all differences."""
    distances = (rows[None] - rows[:, None]).square().sum(dim=2).clamp_min(1e-12).sqrt() * (1 - torch.eye(len(rows)))
    return distances / distances[distances > 0].mean()


def relate_angles(rows: Tensor) -> Tensor:
    """Give cosines from all differences at unit length."""
    directions = normalize(rows[None] - rows[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


def compare_all_differences(term: str, student: Tensor, teacher: Tensor) -> Tensor:
    """Give the loss of the plain form."""
    relate = relate_distances if term == "distance" else relate_angles
    with torch.no_grad():
        wanted = relate(teacher)
    return smooth_l1_loss(relate(student), wanted)


def compare_products(term: str, student: Tensor, teacher: Tensor) -> Tensor:
    """Give the loss of the Gram-matrix form."""
    loss = RelationalDistance() if term == "distance" else RelationalAngle()
    return loss(Outputs(embedding=student), BATCH, TeacherAnswers({}, Outputs(embedding=teacher)))


FORMS: dict[str, Callable[[str, Tensor, Tensor], Tensor]] = {"plain": compare_all_differences, "gram": compare_products}


def run(form: str, term: str, clips: int = CLIPS) -> tuple[float, Tensor]:
    """Give value and gradient."""
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(clips, WIDTH, generator=generator).requires_grad_()
    value = FORMS[form](term, student, torch.randn(clips, WIDTH, generator=generator))
    value.backward()
    return value.item(), student.grad


def print_peak(form: str, term: str) -> None:
    """Print by how many KiB the process grows at most; for a process of its own."""
    run(form, term, clips=4)  # whatever the libraries load is there
    Path("/proc/self/clear_refs").write_text("5")  # forgets the high-water mark of the imports
    before = read_high_water_kib()
    run(form, term)
    print(read_high_water_kib() - before)


def read_high_water_kib() -> int:
    """Read the most memory that the process held (Linux)."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def measure_peak_kib(form: str, term: str) -> int:
    """Ask a fresh process."""
    words = [sys.executable, "-m", "benchmarks.relational", form, term]
    return max(int(subprocess.run(words, capture_output=True, text=True, check=True).stdout), 1)


def main() -> None:
    """Measure both forms in turn, on one core."""
    print(f"forward and backward, {CLIPS} clips, student and teacher {WIDTH} wide, one thread, float32")
    ratios, sizes = [], {"clips": CLIPS, "width": WIDTH, "threads": 1}
    for term in TERMS:
        (plain_value, plain_gradient), (value, gradient) = (run(form, term) for form in ("plain", "gram"))
        plain_s, gram_s = measure_s(lambda t=term: run("plain", t), lambda t=term: run("gram", t), rounds=ROUNDS)
        plain_kib, gram_kib = (measure_peak_kib(form, term) for form in ("plain", "gram"))
        apart = ((gradient - plain_gradient).abs().max() / plain_gradient.abs().max()).item()
        print(
            f"  {term:<9} plain {1e3 * plain_s:.1f} ms, {plain_kib / 1024:.1f} MiB; Gram {1e3 * gram_s:.1f} ms, {gram_kib / 1024:.1f} MiB; "
            f"value apart by {abs(value / plain_value - 1):.0e}, gradient by {apart:.0e}"
        )
        wanted = term == "angle"
        ratios += [
            Ratio(f"time, {term}: plain / Gram", plain_s / gram_s, at_least=10.0 if wanted else None),
            Ratio(f"peak memory, {term}: Gram / plain", gram_kib / plain_kib, at_most=0.25 if wanted else None),
        ]
        sizes |= {f"{term} ms": [round(1e3 * plain_s, 2), round(1e3 * gram_s, 2)], f"{term} KiB": [plain_kib, gram_kib]}
    write_result("relational", ratios, sizes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        print_peak(*sys.argv[1:])
    else:
        keep_freed_memory()  # as the trainings do
        main()
