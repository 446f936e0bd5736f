"""The Fourier transform as two matrix products, for runtimes without a good FFT."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FactoredDft(nn.Module):
    r"""Power spectrum of real frames by one step of Cooley and Tukey's factorisation.

    With N = R S, n = S r + s and k = l + R m:
    :math:`X_k = \sum_s e^{-2 \pi i s (l + R m) / N} \left[ \sum_r x_n e^{-2 \pi i r l / R} \right]`.
    Frames are real, so :math:`|X_{N-k}| = |X_k|`: the columns l = 0 … R / 2 hold every bin. The rotation by
    :math:`e^{-2 \pi i s l / N}` is part of the second product's matrices, one for each l, and samples arrive in blocks of S as
    (B, R, F, S), so that no frame is ever transposed. At N = 2048 (R = 64, S = 32) that is 0.27 M multiply-accumulates a frame,
    against 4.2 M by kernels.

    Args:
        n_fft: N; a prime is right but not fast.
    """

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        divisors = [number for number in range(1, n_fft + 1) if n_fft % number == 0]
        rows = min(divisors, key=lambda number: abs(math.log(number * number / (2 * n_fft))))  # R = 2 S balances both products
        columns = n_fft // rows
        self.n_fft = n_fft
        self.split = (rows, columns)
        r, s = torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64)
        half = rows // 2 + 1  # L: columns l that are computed
        inner = (2.0 * math.pi / rows) * torch.outer(torch.arange(half, dtype=torch.float64), r)
        twist = (2.0 * math.pi / n_fft) * torch.outer(torch.arange(half, dtype=torch.float64), s)
        outer = (2.0 * math.pi / columns) * torch.outer(s, s)
        for name, matrix in (
            ("inner", torch.cat([inner.cos(), -inner.sin()])),  # (2 L, R)
            ("twist_cosine", twist.cos()[:, :, None]),  # (L, S, 1)
            ("twist_sine", twist.sin()[:, :, None]),
            ("outer_cosine", outer.cos()),  # (S, M)
            ("outer_sine", outer.sin()),
        ):
            self.register_buffer(name, matrix.float(), persistent=False)
        bins = torch.arange(n_fft // 2 + 1)
        mirrored = torch.where(bins % rows < half, bins, n_fft - bins)
        self.register_buffer("places", mirrored % rows * columns + mirrored // rows, persistent=False)  # (K,) where bin k stands

    inner: Tensor
    twist_cosine: Tensor
    twist_sine: Tensor
    outer_cosine: Tensor
    outer_sine: Tensor
    places: Tensor

    def forward(self, blocks: Tensor) -> Tensor:
        """Give power in the order of the bins.

        Args:
            blocks: (B, R, F, S), windowed samples n = S r + s of each frame.

        Returns:
            (B, F, K), K = N // 2 + 1.
        """
        return self._transform(blocks).index_select(2, self.places)

    def project(self, blocks: Tensor, matrix: Tensor) -> Tensor:
        """Give power times a matrix, without putting the bins in order first.

        Args:
            blocks: (B, R, F, S), as in ``forward``.
            matrix: (K, M), constant.

        Returns:
            (B, F, M).
        """
        # The matrix's rows are placed instead: of a constant, once. What stands at no bin's place meets a row of zeros.
        unused = torch.full((self.twist_cosine.shape[0] * self.split[1],), len(self.places), device=matrix.device)
        rows = unused.index_copy(0, self.places, torch.arange(len(self.places), device=matrix.device))
        return self._transform(blocks) @ nn.functional.pad(matrix, (0, 0, 0, 1)).index_select(0, rows)

    def _transform(self, blocks: Tensor) -> Tensor:
        """Give power (B, F, L M) in the order (l, m)."""
        batch, _, frames, columns = blocks.shape
        half = self.twist_cosine.shape[0]
        turned = (self.inner @ blocks.flatten(2)).view(batch, 2, half, frames, columns)
        # Made from four small tables: a file need not hold the large ones, and a runtime makes them once, at loading.
        cosine = self.twist_cosine * self.outer_cosine - self.twist_sine * self.outer_sine  # (L, S, M)
        sine = self.twist_sine * self.outer_cosine + self.twist_cosine * self.outer_sine
        real, imaginary = torch.cat([cosine, -sine], dim=2), torch.cat([sine, cosine], dim=2)  # what each part adds to both
        spectrum = turned[:, 0] @ real + turned[:, 1] @ imaginary  # (B, L, F, 2 M)
        power = spectrum * spectrum
        return (power[..., :columns] + power[..., columns:]).transpose(1, 2).flatten(2)
