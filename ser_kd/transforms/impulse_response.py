"""Rooms, by convolution with their impulse responses."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.interfaces import ClipSource
from ser_kd.functional.convolution import convolve
from ser_kd.functional.keyed_random import derive_keys
from ser_kd.functional.levels import root_mean_square
from ser_kd.functional.masking import lengths_to_mask
from ser_kd.transforms.drawn_clip import check_bank, draw_clips
from ser_kd.transforms.random_transform import Parameters, RandomTransform


class ImpulseResponse(RandomTransform[SpeechBatch]):
    """Puts a clip into a drawn room: y[t] = g sum over n of h[n + d] x[t - n], d the place of the largest |h|.

    d is taken for the direct sound, so that speech stays where it was and labels of frames stay true. g keeps the clip's RMS over its valid
    part. What rings on behind the clip's end is cut off: the length stays.

    Args:
        bank: Room responses, at the sample rate of the speech.
        probability: Share of clips that are changed.
        slot: Tells two of these apart.

    Raises:
        ConfigError: If the bank is empty.
    """

    def __init__(self, bank: ClipSource, probability: float = 0.5, slot: str = "") -> None:
        super().__init__(probability, slot)
        check_bank(bank)
        self.bank = bank

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``room`` (B,) int64, the place in the bank."""
        return {"room": draw_clips(derive_keys(keys, "room"), self.bank)}

    def apply(self, subject: SpeechBatch, parameters: Parameters, selected: Tensor) -> SpeechBatch:
        """Convolve the selected clips."""
        rows = selected.nonzero()[:, 0]
        if not len(rows):
            return subject
        lengths = subject.lengths[rows]
        size = subject.waveforms.shape[1]
        clips = subject.waveforms[rows].to(torch.promote_types(subject.waveforms.dtype, torch.float32))
        rooms = parameters["room"][rows]
        room_lengths = self.bank.lengths.to(rooms.device)[rooms]
        longest = int(room_lengths.max())
        responses = self.bank.take(rooms, torch.zeros_like(rooms), longest)
        responses = responses * lengths_to_mask(room_lengths, longest)  # take goes round; a room does not
        direct = responses.abs().argmax(dim=1)
        places = direct[:, None] + torch.arange(size, device=direct.device)
        wet = convolve(clips, responses.to(clips.dtype)).gather(1, places)  # (selected, T)
        wet = wet * lengths_to_mask(lengths, size)
        level = root_mean_square(wet, lengths)
        gain = torch.where(level > 0, root_mean_square(clips, lengths) / level.clamp_min(torch.finfo(level.dtype).tiny), 0.0)
        waveforms = subject.waveforms.clone()
        waveforms[rows] = (wet * gain[:, None]).to(waveforms.dtype)
        return replace(subject, waveforms=waveforms)
