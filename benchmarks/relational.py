"""RKD in Gram-matrix form against the form of all B x B x D differences: time and largest tensor of forward and backward.

python benchmarks/relational.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.losses.relational import RelationalAngle, RelationalDistance

CLIPS, STUDENT_WIDTH, TEACHER_WIDTH, ROUNDS = 64, 768, 768, 8
BATCH = SpeechBatch([], [], torch.zeros(0, 1), torch.zeros(0), torch.zeros(0))


class LargestTensor(TorchDispatchMode):
    """Remembers the most bytes of any tensor that an operation makes, whether or not it is a view."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        self.size = max([self.size, *(leaf.nbytes for leaf in tree_leaves(answer) if isinstance(leaf, Tensor))])
        return answer


def relate_distances(rows: Tensor) -> Tensor:
    """Give relative distances from all differences."""
    distances = (rows[None] - rows[:, None]).square().sum(dim=2).clamp_min(1e-12).sqrt() * (1 - torch.eye(len(rows)))
    return distances / distances[distances > 0].mean()


def relate_angles(rows: Tensor) -> Tensor:
    """Give cosines from all differences at unit length."""
    directions = normalize(rows[None] - rows[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


def compare_all_differences(relate: Callable[[Tensor], Tensor], student: Tensor, teacher: Tensor) -> Tensor:
    """Give the loss of the plain form."""
    with torch.no_grad():
        wanted = relate(teacher)
    return smooth_l1_loss(relate(student), wanted)


def compare_products(loss: torch.nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
    """Give the loss of the Gram-matrix form."""
    return loss(Outputs(embedding=student), BATCH, TeacherAnswers({}, Outputs(embedding=teacher)))


def run(loss: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor) -> tuple[float, Tensor]:
    """Give value and gradient."""
    rows = student.clone().requires_grad_()
    value = loss(rows, teacher)
    value.backward()
    return value.item(), rows.grad


def main() -> None:
    """Measure both forms in turn, so that a busy machine slows both alike; the fastest round of each counts."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(CLIPS, STUDENT_WIDTH, generator=generator)
    teacher = torch.randn(CLIPS, TEACHER_WIDTH, generator=generator)
    print(f"forward and backward, {CLIPS} clips, student {STUDENT_WIDTH} and teacher {TEACHER_WIDTH} wide, one thread, float32")
    print(f"{'term':<10}{'all differences':>24}{'Gram matrix':>24}{'time':>9}{'memory':>9}{'value differs by':>18}{'gradient by':>13}")
    for name, loss, relate in (("distance", RelationalDistance(), relate_distances), ("angle", RelationalAngle(), relate_angles)):
        forms = (
            lambda rows, other, relate=relate: compare_all_differences(relate, rows, other),
            lambda rows, other, loss=loss: compare_products(loss, rows, other),
        )
        times, sizes, answers = [float("inf")] * 2, [0, 0], []
        for number, form in enumerate(forms):
            with LargestTensor() as largest:
                answers.append(run(form, student, teacher))
            sizes[number] = largest.size
        for _ in range(ROUNDS):
            for number, form in enumerate(forms):
                start = time.perf_counter()
                run(form, student, teacher)
                times[number] = min(times[number], time.perf_counter() - start)
        shown = [f"{seconds * 1e3:.2f} ms, {size / 2**20:.2f} MiB" for seconds, size in zip(times, sizes, strict=True)]
        (plain_value, plain_gradient), (value, gradient) = answers
        apart = ((gradient - plain_gradient).abs().max() / plain_gradient.abs().max()).item()
        print(
            f"{name:<10}{shown[0]:>24}{shown[1]:>24}{times[0] / times[1]:>8.1f}x{sizes[0] / sizes[1]:>8.1f}x"
            f"{abs(value / plain_value - 1):>18.1e}{apart:>13.1e}"
        )


if __name__ == "__main__":
    main()
