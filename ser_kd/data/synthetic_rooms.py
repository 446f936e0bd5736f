"""Room responses made of decaying noise, where no recorded ones are at hand."""

from __future__ import annotations

import math

import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.data.clip_bank import HeldClips
from ser_kd.functional.keyed_random import derive_keys, draw_normal, draw_uniform, hash_text


class SyntheticRooms(HeldClips):
    """A bank of rooms: the direct sound 1, then Gaussian noise that decays by 60 dB within the reverberation time.

        h[0] = 1,  h[n] = a w[n] exp(-3 ln(10) n / (RT60 fs))  for 1 <= n < RT60 fs

    with w white noise and a such that the direct sound has the drawn ratio of energy to all that follows. Without early reflections and
    colour, these are rooms for robustness, not for listening.

    Args:
        rooms: How many there are; training draws among them.
        min_rt60_s: Shortest reverberation time, seconds.
        max_rt60_s: Longest.
        min_direct_to_reverberant_db: Smallest ratio of direct to later energy, decibels.
        max_direct_to_reverberant_db: Largest.
        sample_rate_hz: That of the speech.
        seed: Another seed gives other rooms: one for training, one for the test.

    Raises:
        ConfigError: If there are no rooms, or a range does not run upwards.

    Source:
        Polack: La transmission de l'energie sonore dans les salles, 1988 (reverberation as exponentially decaying noise).
    """

    def __init__(
        self,
        rooms: int = 64,
        min_rt60_s: float = 0.2,
        max_rt60_s: float = 0.8,
        min_direct_to_reverberant_db: float = 0.0,
        max_direct_to_reverberant_db: float = 12.0,
        sample_rate_hz: int = 16_000,
        seed: int = 0,
    ) -> None:
        if rooms < 1 or not 0.0 < min_rt60_s <= max_rt60_s or not -10.0 <= min_direct_to_reverberant_db <= max_direct_to_reverberant_db:
            raise ConfigError(
                "These rooms cannot be built.",
                expected="rooms >= 1, 0 < min_rt60_s <= max_rt60_s, -10 <= min_direct_to_reverberant_db <= max_direct_to_reverberant_db",
                got=f"{rooms}, {min_rt60_s:g} to {max_rt60_s:g} s, {min_direct_to_reverberant_db:g} to {max_direct_to_reverberant_db:g} dB",
                remedy="0.2 to 0.8 s are living rooms and offices",
            )
        keys = torch.tensor([hash_text("room", seed, number) for number in range(rooms)])
        self.rt60_s = draw_uniform(derive_keys(keys, "rt60"), 1, min_rt60_s, max_rt60_s)[:, 0]
        ratios_db = draw_uniform(derive_keys(keys, "ratio"), 1, min_direct_to_reverberant_db, max_direct_to_reverberant_db)[:, 0]
        clips = []
        for key, rt60_s, ratio_db in zip(derive_keys(keys, "tail"), self.rt60_s.tolist(), ratios_db.tolist(), strict=True):
            size = max(round(rt60_s * sample_rate_hz), 2)
            decay = torch.exp(-3.0 * math.log(10.0) * torch.arange(1, size) / (rt60_s * sample_rate_hz))
            tail = draw_normal(key[None], size - 1)[0] * decay
            tail = tail * (10.0 ** (-ratio_db / 20.0) / tail.square().sum().sqrt())
            clips.append(torch.cat([torch.ones(1), tail]))
        names = [f"room{number} (RT60 {rt60_s:.2f} s)" for number, rt60_s in enumerate(self.rt60_s.tolist())]
        super().__init__(names, clips, sample_rate_hz)
