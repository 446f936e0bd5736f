"""A stack of gated causal convolutions as matrix products with its gradient written out, for training on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PARAMETERS_PER_UNIT = 4


def run_causal_stream(
    maps: Tensor, parameters: Sequence[Tensor], dilations: Sequence[int], eps: float, kept: Tensor, valid: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Send maps through blocks of two causal units each, whose sigmoid gates the block's input, and average each block's output over time.

    A unit convolves, normalises by the batch's own statistics, rectifies and drops channels: with n taps K of dilation d

    .. math:: y_{c,f,b} = a_c + \sum_{k,i} K_{c,i,k}\, x_{i,\,f-(n-1-k)d,\,b}, \qquad
        z = m_{c,b} \max\Bigl(0,\; \gamma_c \frac{y - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + \beta_c\Bigr)

    and a block gives :math:`x\, \mathrm{sigmoid}(z_2(z_1(x)))`. In the layout (C, F, B) a step back in time is B columns of the matrix
    (C, F B): each tap is one matrix product without a copy, and what lies before the first frame is left out instead of multiplied by
    zeros. The backward pass works in three maps that it uses again and again: on a CPU fresh memory costs more than arithmetic.

    Args:
        maps: (C, F, B), contiguous, on the CPU.
        parameters: Of each unit, two per block: kernel K (C, C, n), bias a (C,), gain gamma (C,), shift beta (C,).
        dilations: d of each block.
        eps: Added to the variances.
        kept: m, (units, C, B): zero where a channel is dropped and 1 / (1 - p) elsewhere. Not differentiated.
        valid: (F, B) of the maps' dtype, 1 where a frame counts in statistics and averages, else 0; None counts all. Not
            differentiated.

    Returns:
        Averages over valid frames (blocks, C, B), whose gradient reaches maps and parameters; means and population variances of y
        over valid frames, (units, C) each, without gradient.
    """
    answer: tuple[Tensor, Tensor, Tensor] = _CausalStream.apply(  # type: ignore[no-untyped-call]
        maps, tuple(dilations), eps, kept, valid, *parameters
    )
    return answer


class _Frames(NamedTuple):
    """Which frames count: as factors (F B,) or None for all, how many, and how many of each clip (B,)."""

    factors: Tensor | None
    total: Tensor
    lengths: Tensor

    def select(self, maps: Tensor, spare: Tensor) -> Tensor:
        """Give maps (C, F B) with zeros in frames that do not count; ``spare`` takes them."""
        return maps if self.factors is None else torch.mul(maps, self.factors, out=spare)


class _UnitMemory(NamedTuple):
    """What the gradient of a unit is made of."""

    heard: Tensor
    taps: Tensor
    gain: Tensor
    rate: Tensor
    centred: Tensor
    answer: Tensor
    kept: Tensor


class _CausalStream(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, dilations: tuple[int, ...], eps: float, kept: Tensor, valid: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        channels, frames, clips = maps.shape
        counted = _count(maps, valid)
        left = maps.view(channels, -1)  # (C, F B)
        spare = torch.empty_like(left)
        memory: list[Tensor] = []
        averages, means, variances = [], [], []
        for block, dilation in enumerate(dilations):
            entered = heard = left
            for unit in (2 * block, 2 * block + 1):
                given = parameters[PARAMETERS_PER_UNIT * unit : PARAMETERS_PER_UNIT * (unit + 1)]
                parts, mean, variance = _run_unit(heard, given, dilation * clips, eps, kept[unit], counted, spare)
                heard = parts.answer
                memory += parts
                means.append(mean)
                variances.append(variance)
            gate = heard.sigmoid_()  # in place: above 0.5 where the ReLU let something through
            left = entered * gate
            memory.append(left)
            averages.append(counted.select(left, spare).view(channels, frames, clips).sum(dim=1) / counted.lengths)
        ctx.save_for_backward(maps, valid, *memory)
        ctx.dilations = dilations
        answer = torch.stack(averages), torch.stack(means), torch.stack(variances)
        ctx.mark_non_differentiable(*answer[1:])
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_averages: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        maps, valid, *memory = ctx.saved_tensors
        counted = _count(maps, valid)
        flat = maps.view(maps.shape[0], -1)
        # gradients of a block's output and of a unit's, and one map for what lies between
        to_left, to_answer, spare = torch.zeros_like(flat), torch.empty_like(flat), torch.empty_like(flat)
        size = len(_UnitMemory._fields)
        gradients: list[tuple[Tensor, ...]] = []
        for block in reversed(range(len(ctx.dilations))):
            kept_of_block = memory[block * (2 * size + 1) :]
            first, second, left = _UnitMemory(*kept_of_block[:size]), _UnitMemory(*kept_of_block[size : 2 * size]), kept_of_block[2 * size]
            share = (to_averages[block] / counted.lengths)[:, None, :].expand(maps.shape)
            spare.view(maps.shape).copy_(share)
            to_left.add_(counted.select(spare, spare))
            # x sigmoid(z): to z goes x sigmoid(z) (1 - sigmoid(z)), to x goes sigmoid(z)
            torch.mul(to_left, left, out=to_answer)
            to_answer.addcmul_(to_answer, second.answer, value=-1.0)
            to_left.mul_(second.answer)
            delay = ctx.dilations[block] * maps.shape[2]
            gradients.append(_return_through_unit(to_answer, second, 0.5, delay, counted, spare))
            gradients.append(_return_through_unit(to_answer, first, 0.0, delay, counted, spare))
            to_left.add_(to_answer)
        return to_left.view(maps.shape), None, None, None, None, *(part for unit in reversed(gradients) for part in unit)


def _run_unit(
    heard: Tensor, parameters: Sequence[Tensor], delay: int, eps: float, kept: Tensor, counted: _Frames, spare: Tensor
) -> tuple[_UnitMemory, Tensor, Tensor]:
    """Give a unit's answer (C, F B) and what its gradient needs, mean (C,) and variance (C,)."""
    kernel, bias, gain, shift = parameters
    taps = kernel.permute(2, 0, 1).contiguous()  # (n, C, C)
    centred = torch.addmm(bias[:, None], taps[-1], heard)  # (C, F B)
    for tap, columns in _list_delays(taps, delay, heard.shape[1]):
        centred[:, columns:].addmm_(taps[tap], heard[:, :-columns])
    mean = counted.select(centred, spare).sum(dim=1) / counted.total
    centred -= mean[:, None]
    variance = torch.linalg.vector_norm(counted.select(centred, spare), dim=1).square() / counted.total
    rate = torch.rsqrt(variance + eps)
    answer = (centred * (gain * rate)[:, None]).add_(shift[:, None]).relu_()
    answer.view(answer.shape[0], -1, kept.shape[1]).mul_(kept[:, None, :])
    return _UnitMemory(heard, taps, gain, rate, centred, answer, kept), mean, variance


def _return_through_unit(
    gradient: Tensor, unit: _UnitMemory, floor: float, delay: int, counted: _Frames, spare: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Turn the gradient of a unit's answer into that of what it heard, in place, and give those of kernel, bias, gain and shift.

    What the ReLU let through is where ``unit.answer`` lies above ``floor``.
    """
    gradient.view(gradient.shape[0], -1, unit.kept.shape[1]).mul_(unit.kept[:, None, :])
    # a dropped channel is zero in the answer, too, and its gradient is zero anyway
    torch.ops.aten.threshold_backward.grad_input(gradient, unit.answer, floor, grad_input=gradient)
    to_shift = gradient.sum(dim=1)
    to_gain = torch.linalg.vecdot(gradient, unit.centred, dim=1) * unit.rate
    # d y = gain rate (g - (sum g + n sum (g n)) / count) with n the normalised sum
    scale = unit.gain * unit.rate
    torch.mul(unit.centred, (-scale * unit.rate * to_gain / counted.total)[:, None], out=spare)
    spare.sub_((scale * to_shift / counted.total)[:, None])
    to_sum = counted.select(spare, spare).add_(gradient.mul_(scale[:, None]))
    to_taps = torch.zeros_like(unit.taps)
    torch.mm(to_sum, unit.heard.t(), out=to_taps[-1])
    torch.mm(unit.taps[-1].t(), to_sum, out=gradient)
    for tap, columns in _list_delays(unit.taps, delay, gradient.shape[1]):
        torch.mm(to_sum[:, columns:], unit.heard[:, :-columns].t(), out=to_taps[tap])
        gradient[:, :-columns].addmm_(unit.taps[tap].t(), to_sum[:, columns:])
    return to_taps.permute(1, 2, 0), to_sum.sum(dim=1), to_gain, to_shift


def _count(maps: Tensor, valid: Tensor | None) -> _Frames:
    _, frames, clips = maps.shape
    if valid is None:
        return _Frames(None, maps.new_tensor(frames * clips), maps.new_full((clips,), frames))
    return _Frames(valid.reshape(-1), valid.sum().clamp_min(1.0), valid.sum(dim=0).clamp_min(1.0))


def _list_delays(taps: Tensor, delay: int, columns: int) -> list[tuple[int, int]]:
    """Give (tap, columns by which it lags) of the taps that reach into the past, but not before the first frame."""
    last = taps.shape[0] - 1
    return [(tap, lag) for tap in range(last) if (lag := (last - tap) * delay) < columns]
