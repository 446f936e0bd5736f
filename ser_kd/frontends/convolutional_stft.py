"""Short-time power spectra in three equal forms: FFT to train with, frozen kernels or matrix products to export."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Literal

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.shapes import check_rank
from ser_kd.frontends.factored_dft import FactoredDft
from ser_kd.frontends.full_precision import full_precision

WINDOWS: dict[str, Callable[[int], Tensor]] = {
    "hann": torch.hann_window,
    "hamming": torch.hamming_window,
    "blackman": torch.blackman_window,
    "rectangular": torch.ones,
}
FORMS = ("fft", "convolution", "factored")


class ConvolutionalStft(nn.Module):
    r"""Power of the short-time Fourier transform, :math:`|\sum_n w_n x_{t h + n} e^{-2 \pi i k n / N}|^2`.

    N is ``n_fft``, h ``hop_samples``, w the periodic window, centred in N where it is shorter. Frames are centred on
    samples 0, h, 2h, …, with N // 2 samples padded on both sides of *each clip*; so a clip gives the same valid frames alone
    and inside a longer batch. Zero padding ("constant", librosa's default since 0.10) has this by construction;
    "reflect" mirrors each clip at its own end, where torch.stft mirrors the padded batch.

    The three forms give the same numbers, and ``form`` may be set at any time: "fft" to train; for an export "convolution" where
    ``n_fft`` is small (cosine and sine kernels, frozen and not saved) and "factored" from about 512 on.

    Args:
        n_fft: Samples per transform; n_fft // 2 + 1 bins.
        hop_samples: Step between frames, samples.
        window_samples: Window length, samples; None is ``n_fft``.
        window: hann, hamming, blackman or rectangular.
        center: Whether frames are centred; if not, the first starts at sample 0 and the last one ends inside the clip.
        pad_mode: What a centred frame sees beyond the clip.
        form: "fft", "convolution" or "factored".

    Raises:
        ConfigError: If a size or name cannot work.
    """

    def __init__(
        self,
        n_fft: int = 512,
        hop_samples: int = 160,
        window_samples: int | None = None,
        window: str = "hann",
        center: bool = True,
        pad_mode: Literal["constant", "reflect"] = "constant",
        form: Literal["fft", "convolution", "factored"] = "fft",
    ) -> None:
        super().__init__()
        window_samples = n_fft if window_samples is None else window_samples
        if not 0 < window_samples <= n_fft or hop_samples < 1:
            raise ConfigError(
                "The frames of a short-time transform cannot be laid out.",
                expected="hop_samples >= 1 and 0 < window_samples <= n_fft",
                got=f"hop_samples={hop_samples}, window_samples={window_samples}, n_fft={n_fft}",
                remedy="raise n_fft to the next power of two above window_samples",
            )
        _check_known("window", window, WINDOWS)
        _check_known("pad_mode", pad_mode, ("constant", "reflect"))
        self.n_fft = n_fft
        self.hop_samples = hop_samples
        self.window_samples = window_samples
        self.center = center
        self.pad_mode = pad_mode
        self.bins = n_fft // 2 + 1
        self.register_buffer("window", WINDOWS[window](window_samples), persistent=False)
        self.register_buffer("kernels", None, persistent=False)  # (2 K, 1, W) in the form "convolution"
        self.form = form

    window: Tensor
    kernels: Tensor | None

    @property
    def form(self) -> str:
        """Which of the three forms computes."""
        return self._form

    @form.setter
    def form(self, form: str) -> None:
        _check_known("form", form, FORMS)
        # Made when asked for: at n_fft 2048 the kernels weigh 17 MB, which a model that trains by FFT need not carry.
        self.kernels = self._make_kernels() if form == "convolution" else None
        self.factored = FactoredDft(self.n_fft).to(self.window.device) if form == "factored" else None
        self._form = form

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Count the valid frames of clips; every clip has at least one.

        Args:
            lengths: (B,) int64 valid samples.

        Returns:
            (B,) int64; 1 + length // hop for centred frames and an even n_fft.
        """
        padded = lengths + 2 * self._padding - self.n_fft
        return (torch.div(padded, self.hop_samples, rounding_mode="floor") + 1).clamp_min(1)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute power spectra.

        Args:
            waveforms: (B, T), zero behind each length.
            lengths: (B,) int64 valid samples, or None where all are; only "reflect" needs them.

        Returns:
            (B, F, K) power, float32.

        Raises:
            ShapeError: If the waveforms are not (B, T).
        """
        check_rank(waveforms, 2, "waveforms", "(batch, samples)")
        with full_precision(waveforms):
            padded = self._pad(waveforms.float(), lengths)
            if self.kernels is not None:
                # a file need not hold what a runtime makes once, at loading
                return self._convolve(padded, self._describe_kernels() if torch.compiler.is_exporting() else self.kernels)
            if self.factored is not None:
                return self.factored(self._cut(padded, self.factored))
            return self._transform(padded)

    def project(self, waveforms: Tensor, lengths: Tensor | None, matrix: Tensor) -> Tensor:
        """Compute power spectra times a constant matrix, such as mel filters.

        Args:
            waveforms: (B, T), as in ``forward``.
            lengths: (B,) int64 valid samples, or None where all are.
            matrix: (K, M).

        Returns:
            (B, F, M) float32, equal to ``forward(...) @ matrix``; the form "factored" need not put the bins in order for it.
        """
        if self.factored is None:
            return self(waveforms, lengths) @ matrix
        check_rank(waveforms, 2, "waveforms", "(batch, samples)")
        with full_precision(waveforms):
            return self.factored.project(self._cut(self._pad(waveforms.float(), lengths), self.factored), matrix)

    @property
    def _padding(self) -> int:
        return self.n_fft // 2 if self.center else 0

    def _pad(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        samples = waveforms.shape[1]
        if self.center and self.pad_mode == "reflect":
            return self._reflect(waveforms, lengths)
        missing = max(0, self.n_fft - samples - 2 * self._padding)  # a clip shorter than one window still gives a frame
        return nn.functional.pad(waveforms, (self._padding, self._padding + missing))

    def _reflect(self, waveforms: Tensor, lengths: Tensor | None) -> Tensor:
        batch, samples = waveforms.shape
        ends = torch.full((batch, 1), samples - 1, device=waveforms.device) if lengths is None else lengths[:, None] - 1
        position = torch.arange(-self._padding, samples + self._padding, device=waveforms.device)
        # Back and forth as often as it takes: a clip shorter than its padding is mirrored more than once, as numpy does.
        period = 2 * ends.clamp_min(1)
        folded = position.abs() % period
        source = torch.minimum(torch.minimum(folded, period - folded), ends)  # (B, T + 2 padding)
        return waveforms.gather(1, source)

    def _transform(self, padded: Tensor) -> Tensor:
        spectrum = torch.stft(
            padded, self.n_fft, self.hop_samples, self.window_samples, self.window, center=False, onesided=True, return_complex=True
        )  # (B, K, F)
        return (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)

    def _convolve(self, padded: Tensor, kernels: Tensor) -> Tensor:
        # The kernels span the window alone, so what lies under the zeros around it is cut off on both sides.
        left, right = self._margins
        seen = padded[:, None, left : padded.shape[1] - right]
        real, imaginary = nn.functional.conv1d(seen, kernels, stride=self.hop_samples).chunk(2, dim=1)  # (B, K, F) each
        return (real.square() + imaginary.square()).transpose(1, 2)

    def _cut(self, padded: Tensor, factored: FactoredDft) -> Tensor:
        """Give windowed frames (B, R, F, S) as the factored transform takes them."""
        # Frames are put together from whole blocks: a runtime copies these far faster than samples picked one by one.
        batch, samples = padded.shape
        rows, columns = factored.split
        block = math.gcd(self.hop_samples, columns)
        frames = (samples - self.n_fft) // self.hop_samples + 1
        first = torch.arange(frames, device=padded.device) * (self.hop_samples // block)
        within = torch.arange(self.n_fft // block, device=padded.device).view(rows, 1, columns // block)
        source = (first[:, None] + within).flatten()  # blocks in the order (R, F, S)
        blocks = padded[:, : samples // block * block].reshape(batch, samples // block, block).index_select(1, source)
        window = nn.functional.pad(self.window, self._margins).view(rows, 1, columns)
        return blocks.view(batch, rows, frames, columns) * window

    @property
    def _margins(self) -> tuple[int, int]:
        left = (self.n_fft - self.window_samples) // 2
        return left, self.n_fft - self.window_samples - left

    def _describe_kernels(self) -> Tensor:
        """Give the kernels as few operations on short vectors."""
        left, _ = self._margins
        quarter = self.n_fft / 4  # minus the sine is the cosine a quarter of a turn later
        bins = torch.cat([torch.arange(self.bins), torch.arange(self.bins)])[:, None].float()
        shift = torch.cat([torch.zeros(self.bins), torch.full((self.bins,), quarter)])[:, None]
        sample = torch.arange(left, left + self.window_samples).float()
        turns = (bins * sample + shift) % self.n_fft  # of N; whole numbers and quarters, so nothing is rounded before the cosine
        return (torch.cos(turns * (2.0 * math.pi / self.n_fft)) * self.window).unsqueeze(1)

    def _make_kernels(self) -> Tensor:
        left, _ = self._margins
        sample = torch.arange(left, left + self.window_samples, dtype=torch.float64)
        angle = (2.0 * math.pi / self.n_fft) * torch.outer(torch.arange(self.bins, dtype=torch.float64), sample)  # (K, W)
        kernels = torch.cat([angle.cos(), -angle.sin()]) * self.window.detach().cpu().double()
        return kernels.unsqueeze(1).to(self.window)


def _check_known(key: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ConfigError(f"Unknown {key} '{name}'.", expected=f"one of {', '.join(known)}", got=name, remedy="choose one of these")
