"""TIM-Net-60's training step in five formulations of the same network, and how far their losses come apart.

The encoder alone is measured, from MFCC of 5.27 s to the optimizer's step.
"""

from __future__ import annotations

import copy
import shutil

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measuring import Ratio, measure_s, write_result
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.timnet import CausalUnit, TimNet
from ser_kd.runtime.memory import keep_freed_memory

CLIPS, FRAMES, COEFFICIENTS, CLASSES, STEPS = 32, 165, 39, 7, 10


class GroupedTimNet(nn.Module):
    """Both directions at once: each pair of convolutions is one in two groups, each pair of normalisations one over twice the channels."""

    def __init__(self, encoder: TimNet) -> None:
        super().__init__()
        self.fusion = encoder.fusion
        streams = (encoder.forward_stream, encoder.backward_stream)
        self.entry = self._join([stream.entry for stream in streams])
        self.units = nn.ModuleList()
        for units in zip(*[[m for m in stream.modules() if isinstance(m, CausalUnit)] for stream in streams], strict=True):
            norm = nn.BatchNorm1d(2 * units[0].norm.num_features, eps=units[0].norm.eps, momentum=units[0].norm.momentum)
            self.units.append(nn.ModuleList([self._join([unit.convolution for unit in units]), norm, units[0].dropout]))

    @staticmethod
    def _join(parts: list[nn.Conv1d]) -> nn.Conv1d:
        one = parts[0]
        joined = nn.Conv1d(2 * one.in_channels, 2 * one.out_channels, one.kernel_size[0], dilation=one.dilation[0], groups=2)
        with torch.no_grad():
            joined.weight.copy_(torch.cat([part.weight for part in parts]))
            joined.bias.copy_(torch.cat([part.bias for part in parts]))
        return joined

    def forward(self, frames: Tensor) -> Tensor:
        both = torch.cat([frames, frames.flip(1)], dim=2).transpose(1, 2)  # (B, 2 M, F)
        maps, means = self.entry(both), []
        for block in range(len(self.units) // 2):
            gate = maps
            for convolution, norm, dropout in self.units[2 * block : 2 * block + 2]:
                past = functional.pad(gate, (convolution.dilation[0] * (convolution.kernel_size[0] - 1), 0))
                gate = dropout(torch.relu(norm(convolution(past))))
            maps = maps * torch.sigmoid(gate)
            means.append(maps.mean(dim=2).unflatten(1, (2, -1)).sum(dim=1))
        return torch.stack(means, dim=-1) @ self.fusion


class ChannelsLastTimNet(nn.Module):
    """Block by block, as pictures of one row in the layout with channels last."""

    def __init__(self, encoder: TimNet) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor) -> Tensor:
        means = []
        for stream, heard in ((self.encoder.forward_stream, frames), (self.encoder.backward_stream, frames.flip(1))):
            maps = heard.transpose(1, 2)[:, :, None].contiguous(memory_format=torch.channels_last)  # (B, M, 1, F)
            maps, averages = functional.conv2d(maps, stream.entry.weight[:, :, None], stream.entry.bias), []
            for block in stream.blocks:
                gate = maps
                for unit in (block.first, block.second):
                    past = functional.pad(gate, (unit.padding, 0))
                    sums = functional.conv2d(
                        past, unit.convolution.weight[:, :, None], unit.convolution.bias, dilation=(1, unit.convolution.dilation[0])
                    )
                    gate = functional.dropout2d(torch.relu(unit.norm(sums)), unit.dropout.p)
                maps = maps * torch.sigmoid(gate)
                averages.append(maps.mean(dim=(2, 3)))
            means.append(torch.stack(averages, dim=-1))
        return (means[0] + means[1]) @ self.encoder.fusion


def make_plain(encoder: TimNet) -> TimNet:
    """Give the network block by block."""
    plain = copy.deepcopy(encoder)
    for stream in (plain.forward_stream, plain.backward_stream):
        stream.matrix_products = False
    return plain


class Trained:
    """One formulation with its optimizer."""

    def __init__(self, network: nn.Module, frames: Tensor, takes_features: bool) -> None:
        self.network, self.frames, self.takes_features = network.train(), frames, takes_features
        self.optimizer = torch.optim.Adam(network.parameters(), lr=0.002)
        generator = torch.Generator().manual_seed(1)
        self.head = torch.randn(60, CLASSES, generator=generator) / 8
        self.classes = torch.randint(0, CLASSES, (CLIPS,), generator=generator)

    def step(self) -> float:
        """Do one step and give its loss."""
        heard = self.network(Features(self.frames, None)).embedding if self.takes_features else self.network(self.frames)
        loss = functional.cross_entropy(heard @ self.head, self.classes)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def find_distance(losses: list[float], others: list[float]) -> float:
    """Give the largest difference of two runs' losses."""
    return max(abs(a - b) for a, b in zip(losses, others, strict=True))


def main() -> None:
    """Measure on one core."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as the trainings do
    torch.manual_seed(0)
    frames = torch.randn(CLIPS, FRAMES, COEFFICIENTS)

    def make(dropout: float, compiled: bool) -> dict[str, Trained]:
        torch.manual_seed(0)
        encoder = TimNet(COEFFICIENTS, filters=60, dropout=dropout)
        plain = make_plain(encoder)
        forms = {
            "plain": Trained(plain, frames, True),
            "matrix products": Trained(copy.deepcopy(encoder), frames, True),
            "grouped": Trained(GroupedTimNet(copy.deepcopy(encoder)), frames, False),
            "channels last": Trained(ChannelsLastTimNet(copy.deepcopy(encoder)), frames, False),
        }
        return {**forms, "compiled": Trained(torch.compile(copy.deepcopy(plain)), frames, True)} if compiled else forms

    has_compiler = bool(shutil.which("c++") or shutil.which("g++"))
    # with dropout only the two forms of the library draw the same
    exact = {name: [form.step() for _ in range(STEPS)] for name, form in make(0.0, compiled=False).items()}
    apart = {name: find_distance(losses, exact["plain"]) for name, losses in exact.items()}
    forms = make(0.1, compiled=has_compiler)
    for name in ("plain", "matrix products"):
        torch.manual_seed(2)
        exact[name] = [forms[name].step() for _ in range(STEPS)]
    apart["matrix products"] = max(apart["matrix products"], find_distance(exact["matrix products"], exact["plain"]))
    times = dict(zip(forms, measure_s(*(form.step for form in forms.values()), rounds=5), strict=True))
    print(f"training step of TIM-Net-60's encoder, {CLIPS} clips of {FRAMES} frames, one thread")
    for name, seconds in times.items():
        equal = f", losses of {STEPS} steps apart by {apart[name]:.0e}" if name in apart else ""
        print(f"  {name:<16} {1e3 * seconds:8.1f} ms{equal}")
    write_result(
        "timnet",
        [
            Ratio("plain step / default step (matrix products)", times["plain"] / times["matrix products"], at_least=1.5),
            Ratio("largest difference of losses over 10 steps, default against plain", apart["matrix products"], at_most=1e-5),
            *(
                Ratio(f"plain step / {name} step", times["plain"] / times[name])
                for name in times
                if name not in ("plain", "matrix products")
            ),
        ],
        {"clips": CLIPS, "frames": FRAMES, "threads": 1, **{f"{name} ms": round(1e3 * seconds, 1) for name, seconds in times.items()}},
        [] if "compiled" in times else ["compiled: there is no C++ compiler"],
    )


if __name__ == "__main__":
    main()
