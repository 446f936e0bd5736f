"""What a model costs, measured on one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ser_kd.contracts.batch import ModelInput


def count_multiply_accumulates(model: nn.Module, inputs: ModelInput) -> int:
    """Count the multiply-accumulates of convolutions, matrix products and attention.

    One multiply-accumulate is two floating-point operations. Fourier transforms and element-wise work are not counted.

    Args:
        model: Any model; it is asked in evaluation mode and left as it was.
        inputs: What it hears; state its length beside the number.
    """
    training = model.training
    model.eval()
    try:
        # Plain attention: the counter does not know the fused kernel of the CPU and would count nothing for it.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(inputs)
    finally:
        model.train(training)
    return counter.get_total_flops() // 2


def measure_activation_bytes(model: nn.Module, inputs: ModelInput) -> int:
    """Measure the memory that one training forward pass keeps for the backward pass.

    Args:
        model: Any model; it is asked in training mode on a copy-free pass and left as it was (running statistics move by one step).
        inputs: What it hears; at least two clips, as batch normalisation wants.
    """
    training = model.training
    model.train()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(inputs)
    finally:
        model.train(training)
    return sum(size for pointer, size in kept.items() if pointer not in own)
