"""A torch model as calls that can be measured: whole, front-end alone, network alone."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.outputs import Outputs
from ser_kd.deploy.measured_sessions import make_waveform
from ser_kd.deploy.onnx_calls import Calls
from ser_kd.frontends.precomputed import Precomputed
from ser_kd.models.speech_model import SpeechModel


class TorchModel:
    """A model in evaluation mode, eager or compiled.

    Args:
        model: Maps ``ModelInput`` to ``Outputs``; it is moved to the device.
        threads: Threads within an operator, set for the whole process.
        device: ``cpu`` or ``cuda``; with CUDA a call waits until the device is done.
        compiles: Compile it, once for clips of any length; only the whole model then, for its halves would be compiled on their own.
    """

    def __init__(self, model: nn.Module, threads: int, device: str = "cpu", compiles: bool = False) -> None:
        torch.set_num_threads(threads)
        self.model = model.to(device).eval()
        self.device = device
        self.compiles = compiles
        self.compile_ms = 0.0
        if compiles:
            torch._dynamo.reset()  # what was compiled for other threads must not be found
            self._compiled = torch.compile(self.model, dynamic=True)

    def make_calls(self, samples: int) -> Calls:
        """Make the calls for one clip.

        Args:
            samples: T.
        """
        waveform = make_waveform(samples)
        inputs = ModelInput(torch.from_numpy(waveform["waveform"]), torch.from_numpy(waveform["length"])).to(self.device)
        if self.compiles:
            return {"whole": self._compile(inputs)}
        calls: Calls = {"whole": self._call(self.model, inputs)}
        if isinstance(self.model, SpeechModel) and self.model.frontend is not None:
            frontend = self.model.frontend
            with torch.inference_mode():
                features = frontend(inputs)
            handed_on = ModelInput(inputs.waveforms, inputs.lengths, features={"features": (features.frames, features.lengths)})
            calls |= {"frontend": self._call(frontend, inputs), "network": self._call(without_frontend(self.model), handed_on)}
        return calls

    def _compile(self, inputs: ModelInput) -> Callable[[], object]:
        call = self._call(self._compiled, inputs)
        start = time.perf_counter()
        call()  # the first one compiles
        self.compile_ms = self.compile_ms or 1000.0 * (time.perf_counter() - start)
        return call

    def _call(self, model: Callable[[ModelInput], object], inputs: ModelInput) -> Callable[[], object]:
        def call() -> object:
            with torch.inference_mode():
                answer = _read_answer(model(inputs))
                if self.device == "cuda":
                    torch.cuda.synchronize()
                return answer

        return call


def without_frontend(model: SpeechModel) -> SpeechModel:
    """Give a model of the same modules that takes ``features`` of its input instead of the waveform."""
    width = int(model.frontend.width) if model.frontend is not None else 0  # type: ignore[arg-type]
    network = copy.copy(model)
    network._modules = dict(model._modules)  # a copy shares the table of its parts: without this the model would lose its front-end too
    network.frontend = Precomputed("features", width)
    return network.eval()


def count_tensor_bytes(model: nn.Module) -> int:
    """Count the bytes of everything in a model's state dict: what a file of its weights holds."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


def _read_answer(answer: object) -> Tensor | object:
    """Give the probabilities where there are logits, as model files do."""
    return answer.logits.softmax(dim=-1) if isinstance(answer, Outputs) and answer.logits is not None else answer
