"""A teacher's answer to one clip as a row of tensors: what is kept of it, how it is cut out of a batch and put into one again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.functional.masking import clear_frames
from ser_kd.functional.softening import raise_precision

AnswerRow = dict[str, Tensor]
"""Field -> (…) the answer of one model to one clip: ``logits``, ``embeddings/NAME``, ``frames`` (F, D), ``layers/NUMBER`` (F, D),
``frame_mask`` (F,), ``layer_masks/NUMBER`` (F,), …"""

FramesDtype = Literal["float16", "float32"]

_LARGEST_HALF = 65_504.0
_LONG = ("frames", "layers/")
_MASKS = ("frame_mask", "layer_masks/")


@dataclass(frozen=True)
class KeptParts:
    """What is kept of a teacher's outputs. Logits, dimensions and embeddings always are, in float32.

    Args:
        frames: Whether the last frames are.
        layers: Which hidden states are; None is all of them.
        frame_stride: n keeps frames 0, n, 2n, … of all of these, and of their mask.
        frames_dtype: In what precision frames and hidden states are kept.
    """

    frames: bool = False
    layers: tuple[int, ...] | None = ()
    frame_stride: int = 1
    frames_dtype: FramesDtype = "float32"

    @property
    def are_long(self) -> bool:
        """Whether anything is kept that is as long as the clip."""
        return self.frames or self.layers is None or bool(self.layers)

    def reduce(self, outputs: Outputs) -> Outputs:
        """Give what is left of a batch's outputs: thinned, rounded as it will be kept, and in float32 again.

        Raises:
            ConfigError: If a wanted layer is not among the outputs, or a value does not fit into float16.
        """
        states = outputs.hidden_states
        wanted = tuple(states) if self.layers is None else self.layers
        missing = [number for number in wanted if number not in states]
        if missing:
            raise ConfigError(
                "The teacher has no such layer to keep.",
                expected=f"of layers {', '.join(map(str, states))}" if states else "a teacher that hands out hidden states",
                got=f"layer {', '.join(map(str, missing))}",
                remedy="set cache.layers=null, and let the teacher's encoder hand the layers out (encoder.hidden_layers)",
            )
        mask = outputs.frame_mask
        small = replace(outputs, frames=None, hidden_states={}, frame_mask=None, hidden_masks={}).map(raise_precision)
        if not self.are_long:
            return small
        return replace(
            small,
            frames=self._thin(outputs.frames, mask) if self.frames and outputs.frames is not None else None,
            hidden_states={number: self._thin(states[number], outputs.mask_of(number)) for number in wanted},
            frame_mask=None if mask is None else mask[:, :: self.frame_stride],
            hidden_masks={
                number: outputs.hidden_masks[number][:, :: self.frame_stride] for number in wanted if number in outputs.hidden_masks
            },
        )

    def _thin(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        thinned = frames[:, :: self.frame_stride]
        if mask is not None and mask.shape == frames.shape[:2]:
            thinned = clear_frames(thinned, mask[:, :: self.frame_stride])  # what stands behind the end may be anything
        if self.frames_dtype == "float32":
            return raise_precision(thinned)
        if bool((thinned.abs() > _LARGEST_HALF).any()):
            raise ConfigError(
                "The teacher's frames do not fit into float16.",
                expected=f"values up to {_LARGEST_HALF:g}",
                got=f"{float(thinned.abs().max()):g}",
                remedy="set cache.dtype=float32",
            )
        return thinned.half().float()


def cut_row(outputs: Outputs, row: int, frames_dtype: FramesDtype = "float32") -> AnswerRow:
    """Cut one clip's answer out of a batch, without the frames behind its end, as copies in main memory.

    Args:
        outputs: Of a batch, as ``KeptParts.reduce`` leaves them.
        row: Which clip.
        frames_dtype: Of its frames and hidden states.
    """
    small = {"logits": outputs.logits, "dimensions": outputs.dimensions, "embedding": outputs.embedding}
    small |= {f"embeddings/{name}": value for name, value in outputs.embeddings.items()}
    kept = {name: _own(value[row]) for name, value in small.items() if value is not None}
    long = {f"layers/{number}": value for number, value in outputs.hidden_states.items()}
    if outputs.frames is not None:
        long["frames"] = outputs.frames
    dtype = getattr(torch, frames_dtype)
    masks = dict.fromkeys(long, outputs.frame_mask) | {f"layers/{number}": mask for number, mask in outputs.hidden_masks.items()}
    for name, value in long.items():
        mask = masks[name]
        end = None if mask is None or value.shape[1] != mask.shape[1] else _find_end(mask[row])
        kept[name] = _own(value[row, :end].to(dtype))
    for name, mask in (("frame_mask", outputs.frame_mask), *((f"layer_masks/{n}", mask) for n, mask in outputs.hidden_masks.items())):
        if mask is not None:
            kept[name] = _own(mask[row, : _find_end(mask[row])])
    return kept


def _find_end(mask: Tensor) -> int:
    """Give where a clip's valid frames end, and 1 where it has none."""
    return int(mask.nonzero().amax()) + 1 if bool(mask.any()) else 1


def join_rows(rows: Sequence[Mapping[str, Tensor]], device: torch.device) -> Outputs:
    """Put the answers to some clips into one batch again.

    Args:
        rows: One for each clip, all of one model.
        device: Where the batch shall lie.

    Returns:
        Outputs in float32. Frames are padded with zeros to the longest clip; where clips differ in length there is a mask.
    """
    names = rows[0].keys()
    stacked = {name: torch.stack([row[name] for row in rows]).to(device) for name in names if not name.startswith((*_LONG, *_MASKS))}
    long = {name: _pad([row[name] for row in rows], device) for name in names if name.startswith(_LONG)}
    frame_mask, hidden_masks = _join_masks(rows, list(long), device)
    return Outputs(
        logits=stacked.get("logits"),
        dimensions=stacked.get("dimensions"),
        embedding=stacked.get("embedding"),
        embeddings={name.partition("/")[2]: value for name, value in stacked.items() if name.startswith("embeddings/")},
        frames=long.pop("frames", None),
        hidden_states={int(name.partition("/")[2]): value for name, value in long.items()},
        frame_mask=frame_mask,
        hidden_masks=hidden_masks,
    )


def _join_masks(rows: Sequence[Mapping[str, Tensor]], long: Sequence[str], device: torch.device) -> tuple[Tensor | None, dict[int, Tensor]]:
    """Give the masks of frames and of layers; a row without one was asked in a batch in which every frame was valid."""
    told = any("frame_mask" in row for row in rows)
    first = "frames" if "frames" in long else next(iter(long), "")
    parts = [row["frame_mask"] if "frame_mask" in row else _mark_all(row, first) for row in rows]
    sizes = [len(part) for part in parts]
    frame_mask = _pad(parts, device) if told or len(set(sizes)) > 1 else None
    hidden = {}
    for name in (name for name in long if name != "frames"):
        own = f"layer_masks/{name.partition('/')[2]}"
        if any(own in row for row in rows) or [len(row[name]) for row in rows] != sizes:
            hidden[int(name.partition("/")[2])] = _pad([row[own] if own in row else _mark_all(row, name) for row in rows], device)
    return frame_mask, hidden


def _mark_all(row: Mapping[str, Tensor], name: str) -> Tensor:
    return torch.ones(len(row[name]) if name else 0, dtype=torch.bool)


def _own(value: Tensor) -> Tensor:
    return value.detach().cpu().clone()


def _pad(parts: Sequence[Tensor], device: torch.device) -> Tensor:
    first = parts[0]
    # on the processor one pass copies and widens; to another device half as much is sent, and widened there
    dtype = first.dtype if first.dtype == torch.bool or device.type != "cpu" else torch.float32
    make: Callable[..., Tensor] = torch.empty if len({len(part) for part in parts}) == 1 else torch.zeros
    padded = make(len(parts), max(len(part) for part in parts), *first.shape[1:], dtype=dtype)
    for target, part in zip(padded, parts, strict=True):
        target[: len(part)].copy_(part)
    padded = padded.to(device)
    return padded if padded.dtype == torch.bool else padded.float()
