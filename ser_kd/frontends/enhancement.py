"""Speech made cleaner before a model hears it: voice activity detection and supervised NMF, the baseline of noisy-speech papers."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import Frontend
from ser_kd.contracts.outputs import Features
from ser_kd.contracts.shapes import check_rank
from ser_kd.frontends.full_precision import full_precision
from ser_kd.functional.factorisation import learn_dictionary, update_activations
from ser_kd.functional.masking import clear_padding, lengths_to_mask
from ser_kd.functional.voice_activity import find_noise_frames

_ACTIVE_DB = 30.0
"""A frame of clean speech this far below the loudest of its clip is a pause and teaches no atom."""

_FRAMES_PER_CLIP = 16
"""So many frames of each training clip, spread over its speech, teach the dictionary: 24,000 of RAVDESS, whatever the batches are."""

_UPDATES_BETWEEN_LIMITS = 10

_LEAST_SPEECH_SHARE = 0.05
"""Where fewer frames than this stand out from the floor, no speech was found and the clip is handed on as it is."""


class VadNmf(nn.Module):
    """Takes noise out of each clip by a dictionary of speech and one of the clip's own noise.

    The magnitude spectrum V of a clip is modelled as W_s H_s + W_n H_n by the generalised Kullback-Leibler divergence. W_s is fitted
    once to clean training speech (scikit-learn's NMF, through ``distill.fitting``) and travels with the checkpoint. W_n is learnt anew
    in each clip from its noise-only frames (``find_noise_frames``). With both fixed the activations are updated, and the spectrum is
    multiplied by floor + (1 - floor) S^2 / (S^2 + N^2) with S = W_s H_s and N = W_n H_n; the noisy phase is kept. Same length out as in.

    Two things the papers leave open are chosen here. Speech activations cost ``sparsity``, else the wide dictionary of speech explains
    the noise too. A frame may hold no more noise than the noise-only frames do (their 0.95 quantile), so that a clean clip, whose pauses
    are all but silent, passes nearly unchanged.

    Clips in which nothing stands out from the noise floor, that are silent or shorter than 16 frames come out as they went in. Nothing
    is drawn when clips are enhanced and rows do not know of each other: a clip comes out the same in any company. One second of audio
    costs some 10 ms of one core.

    Args:
        speech_atoms: Atoms of W_s.
        noise_atoms: Atoms of W_n.
        n_fft: Samples of a Hann window: 512 is 32 ms at 16 kHz.
        hop_samples: Step between frames, samples.
        updates: Multiplicative updates of the activations, and as many of W_n.
        sparsity: Price of a speech activation; atoms sum to 1.
        margin_db: See ``find_noise_frames``.
        floor: Smallest factor on a bin, 0 to 1; 0.1 is -20 dB.
        seed: Of the start of both dictionaries.

    Raises:
        ConfigError: If a size or share cannot be.
    """

    def __init__(
        self,
        speech_atoms: int = 64,
        noise_atoms: int = 8,
        n_fft: int = 512,
        hop_samples: int = 256,
        updates: int = 40,
        sparsity: float = 0.1,
        margin_db: float = 3.0,
        floor: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(speech_atoms, noise_atoms, updates) < 1 or not 0 < hop_samples <= n_fft // 2 or not 0.0 <= floor < 1.0 or sparsity < 0.0:
            raise ConfigError(
                "This enhancement cannot be.",
                expected="atoms and updates of 1 or more, 0 < hop_samples <= n_fft / 2, 0 <= floor < 1, sparsity of 0 or more",
                got=f"speech_atoms={speech_atoms}, noise_atoms={noise_atoms}, updates={updates}, hop_samples={hop_samples}, n_fft={n_fft}, "
                f"floor={floor:g}, sparsity={sparsity:g}",
                remedy="conf/enhancement/vad_nmf.yaml has values that work",
            )
        self.speech_atoms, self.noise_atoms = speech_atoms, noise_atoms
        self.n_fft, self.hop_samples = n_fft, hop_samples
        self.updates, self.sparsity, self.margin_db, self.floor, self.seed = updates, sparsity, margin_db, floor, seed
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        start = torch.rand(n_fft // 2 + 1, noise_atoms, generator=torch.Generator().manual_seed(seed)) + 0.1
        self.register_buffer("noise_start", start / start.sum(dim=0), persistent=False)
        self.register_buffer("speech", torch.zeros(n_fft // 2 + 1, speech_atoms))
        self.register_buffer("fitted", torch.tensor(False))
        self._frames: list[Tensor] | None = None

    window: Tensor
    noise_start: Tensor
    speech: Tensor
    fitted: Tensor

    @property
    def is_fitted(self) -> bool:
        """Whether the dictionary of speech is there."""
        return bool(self.fitted)

    def begin_fit(self) -> None:
        """Forget an earlier dictionary."""
        self.fitted.fill_(False)
        self._frames = []

    @torch.no_grad()
    def update_fit(self, inputs: ModelInput) -> None:
        """Take frames of clean training clips, the same of each clip whatever batch it stands in.

        Raises:
            ConfigError: If ``begin_fit`` was not called.
        """
        frames = self._open_frames()
        for spectrum, valid in zip(*self._measure(inputs.waveforms, inputs.lengths), strict=True):
            magnitude = spectrum.abs()  # (K, F)
            power = magnitude.square().sum(dim=0) * valid
            if not float(power.max()) > 0.0:
                continue
            active = (power > power.max() * 10.0 ** (-_ACTIVE_DB / 10.0)).nonzero()[:, 0]
            chosen = active[torch.linspace(0, len(active) - 1, min(_FRAMES_PER_CLIP, len(active))).round().long()]
            taken = magnitude[:, chosen].T.cpu()
            frames.append(taken / taken.sum(dim=1, keepdim=True))

    def end_fit(self) -> None:
        """Factorise the frames; every frame counts the same, however loud it was.

        Raises:
            ConfigError: If ``begin_fit`` was not called.
            DataError: If there are fewer frames than atoms, or some are not finite.
        """
        from sklearn.decomposition import NMF  # late: a second to import, and needed only here

        found = self._open_frames()
        frames = torch.cat(found).double().numpy() if found else np.zeros((0, self.speech.shape[0]))
        if len(frames) < self.speech_atoms or not np.isfinite(frames).all():
            raise DataError(
                "The dictionary of speech cannot be fitted.",
                expected=f"{self.speech_atoms} finite frames of speech or more, one for each atom",
                got=f"{len(frames)} frames, {int((~np.isfinite(frames)).any(axis=1).sum())} of them not finite",
                remedy="train on more clips, or set enhancement.speech_atoms lower",
            )
        # the scale of frames that sum to 1 would leave the library's small constants too large
        model = NMF(self.speech_atoms, solver="mu", beta_loss="kullback-leibler", init="nndsvda", max_iter=60, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged after 60 rounds: more change no result
            model.fit(frames * frames.shape[1])
        atoms = torch.from_numpy(model.components_.T).float()
        self.speech.copy_(atoms / atoms.sum(dim=0).clamp_min(1e-12))
        self.fitted.fill_(True)
        self._frames = None

    def forward(self, inputs: ModelInput) -> ModelInput:
        """Give the same input with enhanced waveforms.

        Raises:
            ConfigError: If the dictionary was neither fitted nor loaded.
            ShapeError: If the waveforms are not (B, T).
        """
        return replace(inputs, waveforms=self.enhance(inputs.waveforms, inputs.lengths))

    @torch.no_grad()
    def enhance(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Take the noise out of waveforms; no gradient flows through.

        Args:
            waveforms: (B, T).
            lengths: (B,) int64 valid samples, or None where all are.

        Returns:
            (B, T), zero behind each length.

        Raises:
            ConfigError: If the dictionary was neither fitted nor loaded.
            ShapeError: If the waveforms are not (B, T).
        """
        if not self.is_fitted:
            raise ConfigError(
                "The dictionary of speech was never fitted.",
                expected="atoms fitted to clean speech of the training split",
                got="a new enhancement without any",
                remedy="call ser_kd.distill.fitting.fit_statistics, or load a checkpoint",
            )
        check_rank(waveforms, 2, "waveforms", "(batch, samples)")
        with full_precision(waveforms):
            cleared = clear_padding(waveforms.float(), lengths)
            if not cleared.numel():
                return cleared
            spectrum, valid = self._measure(cleared, lengths)
            magnitude = spectrum.abs()
            noise_only, audible = find_noise_frames(magnitude.square().sum(dim=1), valid, self.margin_db)
            counts = audible.sum(dim=1)
            speech_frames = counts - noise_only.sum(dim=1)
            told_apart = (counts >= 16) & (speech_frames > _LEAST_SPEECH_SHARE * counts)
            # a processor is twice as fast on one clip at a time, whose spectra its cache holds
            rows = 1 if magnitude.device.type == "cpu" else len(magnitude)
            pieces = zip(magnitude.split(rows), noise_only.split(rows), strict=True)
            masked = spectrum * torch.cat([self._find_mask(*piece) for piece in pieces])
            size = cleared.shape[1]
            enhanced = torch.istft(masked, self.n_fft, self.hop_samples, window=self.window, length=size)
            return torch.where(told_apart[:, None], clear_padding(enhanced, lengths), cleared)

    def _find_mask(self, magnitude: Tensor, noise_only: Tensor) -> Tensor:
        """Compute the factor on each bin; (B, K, F) magnitudes and (B, F) noise-only frames -> (B, K, F)."""
        spectra = magnitude / magnitude.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        level = spectra.sum(dim=1, keepdim=True)  # (B, 1, F): atoms sum to 1, so activations sum to this
        start = (level / self.noise_atoms).expand(-1, self.noise_atoms, -1)
        noise, held = learn_dictionary(spectra, self.noise_start, start, self.updates, noise_only)
        most = _take_quantile(held.sum(dim=1), noise_only, 0.95)[:, None, None]
        both = torch.cat([self.speech.expand(len(spectra), -1, -1), noise], dim=2)
        activations = (level / both.shape[2]).expand(-1, both.shape[2], -1)
        price = torch.zeros(both.shape[2], 1, device=spectra.device)
        price[: self.speech_atoms] = self.sparsity
        done = 0
        while done < self.updates:
            updates = min(_UPDATES_BETWEEN_LIMITS, self.updates - done)
            activations = update_activations(spectra, both, activations, updates, price)
            of_noise = activations[:, self.speech_atoms :]
            excess = of_noise.sum(dim=1, keepdim=True) / most.clamp_min(1e-12)
            activations = torch.cat([activations[:, : self.speech_atoms], of_noise / excess.clamp_min(1.0)], dim=1)
            done += updates
        speech = (self.speech @ activations[:, : self.speech_atoms]).square()
        noise_power = (noise @ activations[:, self.speech_atoms :]).square()
        return self.floor + (1.0 - self.floor) * speech / (speech + noise_power).clamp_min(1e-12)

    def _measure(self, waveforms: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute spectra (B, K, F) and which frames touch each clip (B, F); the same for a clip alone and in a longer batch."""
        samples = waveforms.shape[1]
        # so far behind the end that the last frame that touches a clip is there, however long the batch
        padded = nn.functional.pad(clear_padding(waveforms.float(), lengths), (0, self.n_fft // 2 + self.hop_samples))
        spectrum = torch.stft(
            padded, self.n_fft, self.hop_samples, window=self.window, center=True, pad_mode="constant", return_complex=True
        )
        ends = torch.full((len(waveforms),), samples, device=waveforms.device) if lengths is None else lengths
        touching = torch.div(ends + self.n_fft // 2 - 1, self.hop_samples, rounding_mode="floor") + 1
        return spectrum, lengths_to_mask(touching, spectrum.shape[2])

    def _open_frames(self) -> list[Tensor]:
        if self._frames is None:
            raise ConfigError(
                "A dictionary is being fitted that was never begun.",
                expected="begin_fit() first",
                got="update_fit() or end_fit() alone",
                remedy="call begin_fit(), update_fit(inputs) for each batch, end_fit()",
            )
        return self._frames


class EnhancedFrontend(nn.Module):
    """Any front-end behind an enhancement, so that any model, trained or not, hears cleaner speech.

    A trained model gets one by ``model.frontend = EnhancedFrontend(enhancement, model.frontend)``.

    Args:
        enhancement: ModelInput -> ModelInput, such as ``VadNmf``.
        frontend: What hears it.
    """

    def __init__(self, enhancement: nn.Module, frontend: Frontend) -> None:
        super().__init__()
        self.enhancement = enhancement
        self.frontend = frontend
        self.width = frontend.width

    def forward(self, inputs: ModelInput) -> Features:
        return self.frontend(self.enhancement(inputs))


def _take_quantile(values: Tensor, mask: Tensor, share: float) -> Tensor:
    """Give a quantile of the masked values of each row, a value that occurs; (B, F) twice -> (B,), 0 for a row without any."""
    ordered = torch.where(mask, values, torch.full_like(values, torch.inf)).sort(dim=1).values
    count = mask.sum(dim=1, keepdim=True)
    found = ordered.gather(1, (share * (count - 1).clamp_min(0)).round().long())[:, 0]
    return torch.where(count[:, 0] > 0, found, torch.zeros_like(found))
