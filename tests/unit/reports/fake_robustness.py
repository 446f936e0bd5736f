"""Records of robustness as ``ser-kd robustness`` leaves them, with answers drawn at a wanted accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ser_kd.contracts.robustness_record import CLEAN, NoiseCondition, RobustnessRecord
from ser_kd.reports.robustness_systems import measure_answers

CLASSES = ["angry", "happy", "neutral", "sad"]
RATIOS = (0.0, 5.0, 10.0, 15.0, 20.0)


def make_robustness(
    skills: Mapping[tuple[str, float | None], float],
    experiment: str = "mlkd_noisy/teacher",
    identity: str = "t0",
    fold: int = 0,
    seed: int = 0,
    speakers: int = 6,
    clips: int = 8,
    **changes: object,
) -> RobustnessRecord:
    """One system on one fold: ``skills`` is condition -> share of clips it gets right (exactly so, clip by clip in a fixed order)."""
    ids = [f"f{fold}_s{s}_{c}" for s in range(speakers) for c in range(clips)]
    truth = [number % len(CLASSES) for number in range(len(ids))]
    luck = np.random.default_rng([fold, 5]).permutation(len(ids)) / len(ids)
    conditions = []
    for key, skill in skills.items():
        answers = [t if chance < skill else (t + 1) % len(CLASSES) for t, chance in zip(truth, luck, strict=True)]
        conditions.append(NoiseCondition(*key, answers, measure_answers(truth, answers, len(CLASSES))))
    values: dict[str, object] = {
        "experiment": experiment, "identity": identity, "fold": fold, "seed": seed, "kind": "run", "precision": "fp32",
        "checkpoint": "best", "enhancement": "", "enhancement_setting": "", "corpus": "iemocap", "protocol": "iemocap_loso10",
        "fingerprint": "f1", "classes": CLASSES, "teachers": [], "distilled": False,
        "noise": {"corpus": "noisex92", "noise_split": "time"}, "setting": "s1", "level": "rms", "noise_seed": 0,
        "heard": {noise: "never" for noise, _ in skills if noise != CLEAN},
        "ids": ids, "speakers": [f"f{fold}_s{s}" for s in range(speakers) for _ in range(clips)], "truth": truth, "conditions": conditions,
        **changes,
    }  # fmt: skip
    return RobustnessRecord(**values)  # type: ignore[arg-type]


def make_curve(noise: str, at_zero: float, at_twenty: float, clean: float | None = None) -> dict[tuple[str, float | None], float]:
    """Accuracy that rises in a straight line from 0 to 20 dB."""
    curve: dict[tuple[str, float | None], float] = {(noise, x): at_zero + (at_twenty - at_zero) * x / 20.0 for x in RATIOS}
    return curve if clean is None else {(CLEAN, None): clean, **curve}
