"""Non-negative matrix factorisation of many spectrograms at once, by multiplicative updates of the Kullback-Leibler divergence."""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-10
"""Keeps divisions finite where spectrum and model are both zero."""


def update_activations(
    spectra: Tensor, dictionary: Tensor, activations: Tensor, updates: int = 1, sparsity: Tensor | float = 0.0
) -> Tensor:
    """Fit activations to a dictionary that stays as it is.

    One update is H <- H * (W^T (V / W H)) / (W^T 1 + s), which never raises D(V | W H) + s sum(H), D the generalised Kullback-Leibler
    divergence.

    Args:
        spectra: (B, K, F) V, not negative.
        dictionary: (B, K, R) W, or (K, R) for all clips.
        activations: (B, R, F) H to begin with; what is zero stays zero.
        updates: How often.
        sparsity: s, a price on activations: one for all, or (R, 1) for each atom.

    Returns:
        (B, R, F).

    Source:
        Lee and Seung, Algorithms for non-negative matrix factorization (2001), theorem 2.
    """
    price = dictionary.sum(dim=-2).unsqueeze(-1) + sparsity + TINY  # (B, R, 1) or (R, 1)
    for _ in range(updates):
        ratio = spectra / (dictionary @ activations + TINY)
        activations = activations * (dictionary.transpose(-1, -2) @ ratio) / price
    return activations


def learn_dictionary(
    spectra: Tensor, dictionary: Tensor, activations: Tensor, updates: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Fit a dictionary of each clip and its activations together, both by ``update_activations``' rule in turn.

    Args:
        spectra: (B, K, F), not negative.
        dictionary: (B, K, R) or (K, R) to begin with.
        activations: (B, R, F) to begin with.
        updates: How often both are updated.
        mask: (B, F) bool, True where a frame counts; the others' activations become zero. None counts all.

    Returns:
        The dictionary (B, K, R), each atom summing to 1, and activations (B, R, F) on that scale.
    """
    counted = spectra if mask is None else spectra * mask.unsqueeze(1)
    activations = activations if mask is None else activations * mask.unsqueeze(1)
    for _ in range(updates):
        activations = update_activations(counted, dictionary, activations)
        ratio = counted / (dictionary @ activations + TINY)
        dictionary = dictionary * (ratio @ activations.transpose(-1, -2)) / (activations.sum(dim=-1).unsqueeze(-2) + TINY)
        size = dictionary.sum(dim=-2, keepdim=True) + TINY
        dictionary, activations = dictionary / size, activations * size.transpose(-1, -2)
    return dictionary, activations


def generalised_divergence(spectra: Tensor, model: Tensor) -> Tensor:
    """Measure D(V | M) = sum(V log(V / M) - V + M) of each clip; (B, K, F) twice -> (B,)."""
    logarithm = torch.log((spectra + TINY) / (model + TINY))
    return (spectra * logarithm - spectra + model).flatten(1).sum(dim=1)
