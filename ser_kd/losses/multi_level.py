"""Multi-level distillation: the student's hidden states follow chosen ones of the teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.masking import clear_frames, masked_mean
from ser_kd.functional.softening import raise_precision
from ser_kd.losses.slots import check_layers_exist, check_same_clips, listen, take_frames

Distance = Literal["mse", "cosine", "l1"]
_KEY = "objective.terms.multi_level.loss"
_REMEDY = f"correct {_KEY}.layers, or let the encoder hand it out (hidden_layers)"


class MultiLevel(nn.Module):
    """The sum over pairs of layers of the distance between their frames, L_ML = sum_(m, l) d(h_S^m, h_T^l).

    d is averaged over channels (mse: their squared, l1: their absolute differences; cosine: 1 - cos of the two frames), over each clip's
    valid frames, and over clips. So a clip counts once however long it is, and how many processes share a batch changes nothing.
    Both hear the same stretch of the clip, the student with noise or without.

    Layers must agree in frame rate and width, unless an ``adapter`` stands between: it learns with the student, lies in its
    checkpoint, and is in no export. Clips without a valid frame count nowhere.

    Args:
        layers: Student layer -> teacher layer, counted as in ``hidden_layers``; ``even`` pairs every layer of the student with the
            teacher's layers spread evenly (1..6 with 2, 4, …, 12), ``last`` the last of both.
        distance: See above.
        teacher: ``combined``, or the name of the member to listen to.
        adapter: Called with the widths of student and teacher for each pair; None allows no difference.

    Raises:
        ConfigError: If ``distance`` or ``layers`` is something else.

    Source:
        Liu, Sun et al., arXiv 2312.13556 (system 001), whose equation is missing: the prose says MSE of six pairs.
    """

    needs_teacher = True
    needs_teacher_frames = True

    def __init__(
        self,
        layers: Literal["even", "last"] | Mapping[int, int] = "even",
        distance: Distance = "mse",
        teacher: str = "combined",
        adapter: Callable[[int, int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if distance not in get_args(Distance):
            raise ConfigError("Unknown distance.", expected=", ".join(get_args(Distance)), got=str(distance), remedy=f"set {_KEY}.distance")
        named = [] if isinstance(layers, str) else [number for pair in layers.items() for number in pair]
        if (isinstance(layers, str) and layers not in ("even", "last")) or not layers or not all(type(n) is int for n in named):
            raise ConfigError(
                "Unknown pairs of layers.",
                expected="even, last, or student layer: teacher layer, such as {1: 2, 2: 4}",
                got=str(layers),
                remedy=f"set {_KEY}.layers=even",
            )
        self.layers = layers
        self.pairs: dict[int, int] = {} if isinstance(layers, str) else dict(layers)
        self.distance: Distance = distance
        self.teacher = teacher
        self.make_adapter = adapter
        self.adapters = nn.ModuleDict()
        self.sizes: dict[str, Tensor] = {}

    @property
    def student_layers(self) -> tuple[int, ...]:
        """The student's layers it compares; none before ``connect`` where they follow from the networks."""
        return tuple(self.pairs)

    @property
    def teacher_layers(self) -> tuple[int, ...]:
        """The teacher's layers it listens to."""
        return tuple(dict.fromkeys(self.pairs.values()))

    def connect(self, student_widths: Mapping[int, int], teacher_widths: Mapping[int, int]) -> None:
        """Learn which layers both networks have, choose the pairs, and make the adapters.

        Args:
            student_widths: Layer number -> width, of all the student has.
            teacher_widths: The same for the teacher.

        Raises:
            ConfigError: If a layer does not exist, pairs cannot be spread evenly, or widths differ and there is no adapter.
        """
        if isinstance(self.layers, str):
            self.pairs = _pair_layers(self.layers, max(student_widths), max(teacher_widths))
        for who, wanted, there in (("student", self.pairs, student_widths), ("teacher", self.pairs.values(), teacher_widths)):
            check_layers_exist(who, wanted, there, f"{_KEY}.layers (student layer: teacher layer), or set it to even or last")
        widths = {mine: (student_widths[mine], teacher_widths[theirs]) for mine, theirs in self.pairs.items()}
        if self.make_adapter is not None:
            self.adapters = nn.ModuleDict({str(mine): self.make_adapter(*pair) for mine, pair in widths.items()})
            return
        for mine, (own, theirs) in widths.items():
            if own != theirs:
                raise _needs_adapter(f"Layer {mine} of the student and {self.pairs[mine]} of the teacher differ in width.", own, theirs)

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor:
        """Compare the layers of the batch; ``sizes`` then holds each pair's part, by the student's layer.

        Args:
            student: With its hidden states (B, F, D).
            batch: Not used.
            teacher: With those of the same clips; they get no gradient.

        Returns:
            () at least float32, 0 or more.

        Raises:
            ConfigError: If there is no teacher or no such layer, or widths or frame rates differ and there is no adapter.
            ShapeError: If the two are not of the same clips.
        """
        answers = listen(teacher, self.teacher, "multi_level")
        parts = {mine: self._compare(student, mine, answers, theirs) for mine, theirs in self.pairs.items()}
        if not parts:
            raise ConfigError(
                "'multi_level' does not know which layers there are.",
                expected="connect(student_widths, teacher_widths) before its first use",
                got=f"layers={self.layers}",
                remedy="give layers as student layer: teacher layer, or call connect",
            )
        self.sizes = {str(mine): part.detach() for mine, part in parts.items()}
        return torch.stack(list(parts.values())).sum()

    def _compare(self, student: Outputs, mine: int, answers: Outputs, theirs: int) -> Tensor:
        own, own_mask = take_frames(student, mine, "student", "multi_level", _REMEDY)
        other, other_mask = take_frames(answers, theirs, f"teacher '{self.teacher}'", "multi_level", _REMEDY)
        check_same_clips(len(own), len(other))
        own, other = clear_frames(raise_precision(own), own_mask), clear_frames(raise_precision(other.detach()), other_mask)
        if str(mine) in self.adapters:
            adapted = self.adapters[str(mine)](own, own_mask, other.shape[1], other_mask)
            own, own_mask = raise_precision(adapted), own_mask if own.shape[1] == other.shape[1] else other_mask
        elif own.shape[1] != other.shape[1]:
            own, own_mask, other, other_mask = _cut_to_valid(own, own_mask, other, other_mask)
        if own.shape[2] != other.shape[2]:
            raise _needs_adapter(f"Layer {mine} of the student and {theirs} of the teacher differ in width.", own.shape[2], other.shape[2])
        mask = own_mask if other_mask is None else other_mask if own_mask is None else own_mask & other_mask
        distances = masked_mean(self._measure(own, other).unsqueeze(2), mask)[:, 0]  # (B,)
        if mask is None:
            return distances.mean()
        return distances.sum() / mask.any(dim=1).sum().clamp_min(1)

    def _measure(self, own: Tensor, other: Tensor) -> Tensor:
        """Give (B, F)."""
        if self.distance == "cosine":
            return 1.0 - nn.functional.cosine_similarity(own, other, dim=2)
        differences = own - other
        return (differences.square() if self.distance == "mse" else differences.abs()).mean(dim=2)


def _pair_layers(words: str, own: int, theirs: int) -> dict[int, int]:
    if words == "last":
        return {own: theirs}
    if theirs % own:
        raise ConfigError(
            "The layers cannot be paired evenly.",
            expected=f"a teacher whose number of layers is a multiple of the student's {own}",
            got=f"{theirs} layers of the teacher",
            remedy=f"name the pairs, such as {_KEY}.layers={{{own}:{theirs}}}",
        )
    return {layer: layer * (theirs // own) for layer in range(1, own + 1)}


def _cut_to_valid(
    own: Tensor, own_mask: Tensor | None, other: Tensor, other_mask: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Cut both to the longest clip: one side may know no padding, as a cache does not."""
    counts = [_count_valid(frames, mask) for frames, mask in ((own, own_mask), (other, other_mask))]
    if not torch.equal(*counts):
        raise _needs_adapter(
            "Student and teacher have different numbers of frames.", f"{counts[0].tolist()} frames", f"{counts[1].tolist()} frames"
        )
    size = int(counts[0].max())
    cut = [None if mask is None else mask[:, :size] for mask in (own_mask, other_mask)]
    return own[:, :size], cut[0], other[:, :size], cut[1]


def _count_valid(frames: Tensor, mask: Tensor | None) -> Tensor:
    return torch.full((len(frames),), frames.shape[1], device=frames.device) if mask is None else mask.sum(dim=1)


def _needs_adapter(problem: str, own: object, theirs: object) -> ConfigError:
    return ConfigError(
        problem,
        expected=f"the teacher's {theirs}, or an adapter between them",
        got=f"the student's {own}, and {_KEY}.adapter=null",
        remedy=f"choose objective=mlkd_adapted, or set {_KEY}.adapter to ser_kd.distill.adapters.LinearAdapter (_partial_: true)",
    )
