"""A model file as calls that can be measured: whole, front-end alone, network alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from numpy.typing import NDArray

from ser_kd.deploy.graph_halves import GraphHalves
from ser_kd.deploy.measured_sessions import CPU, CUDA, make_waveform, open_session, session_options

Calls = dict[str, Callable[[], object]]
"""``whole``, and ``frontend`` and ``network`` where the model can be cut -> a call without arguments."""


class OnnxFile:
    """Open sessions of one model file and of its halves.

    Args:
        path: Model file.
        parts: Its halves; None where it could not be cut.
        threads: Threads within an operator.
        device: ``cpu`` or ``cuda``; with CUDA, copies of inputs and outputs are part of a call.
    """

    def __init__(self, path: Path, parts: GraphHalves | None, threads: int, device: str = "cpu") -> None:
        providers = CUDA if device == "cuda" else CPU
        self.whole = open_session(path, session_options(threads), providers)
        self.halves = (
            None
            if parts is None
            else (
                open_session(parts.frontend, session_options(threads), providers),
                open_session(parts.network, session_options(threads), providers),
            )
        )

    def make_calls(self, samples: int) -> Calls:
        """Make the calls for one clip.

        Args:
            samples: T.
        """
        inputs = make_waveform(samples)
        calls: Calls = {"whole": lambda: self.whole.run(None, inputs)}
        if self.halves is not None:
            frontend, network = self.halves
            names = [output.name for output in frontend.get_outputs()]
            made: dict[str, NDArray] = {**inputs, **dict(zip(names, frontend.run(None, inputs), strict=True))}
            features = {value.name: made[value.name] for value in network.get_inputs()}
            calls |= {"frontend": lambda: frontend.run(None, inputs), "network": lambda: network.run(None, features)}
        return calls
