from __future__ import annotations

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.distill.answer_rows import KeptParts
from ser_kd.distill.cache_spec import CacheSpec
from ser_kd.distill.objective import Objective
from ser_kd.losses.attention_transfer import AttentionTransfer
from ser_kd.losses.soft_targets import SoftTargets


def objective_of(*losses) -> Objective:
    return Objective({f"term{number}": {"loss": loss} for number, loss in enumerate(losses)})


def test_only_what_terms_listen_to_is_kept() -> None:
    spec = CacheSpec(frame_stride=2)
    assert spec.choose_parts(objective_of(SoftTargets(temperature=2.0))) == KeptParts()
    assert not spec.choose_parts(objective_of(SoftTargets(temperature=2.0))).are_long
    last = spec.choose_parts(objective_of(AttentionTransfer()))
    assert last == KeptParts(frames=True, layers=(), frame_stride=2, frames_dtype="float16")
    layers = spec.choose_parts(objective_of(AttentionTransfer(teacher_layer=6), AttentionTransfer(teacher_layer=3)))
    assert (layers.frames, layers.layers) == (False, (3, 6))


def test_a_term_that_does_not_tell_gets_everything() -> None:
    class Listening(SoftTargets):
        needs_teacher_frames = True

    kept = CacheSpec(dtype="float32").choose_parts(objective_of(Listening(temperature=2.0), AttentionTransfer(teacher_layer=6)))
    assert kept == KeptParts(frames=True, layers=None)


def test_more_layers_may_be_kept_and_not_fewer() -> None:
    terms = objective_of(AttentionTransfer(teacher_layer=6))
    assert CacheSpec(layers=[9, 6]).choose_parts(terms).layers == (6, 9)
    assert CacheSpec(layers=[4]).choose_parts(objective_of(SoftTargets(temperature=2.0))).layers == (4,)
    with pytest.raises(ConfigError, match="lack layers") as fault:
        CacheSpec(layers=[9]).choose_parts(terms)
    assert "with 6" in fault.value.expected


@pytest.mark.parametrize(("key", "value"), [("views", 0), ("frame_stride", 0), ("budget_gb", -1.0), ("dtype", "int8"), ("keep", "some")])
def test_numbers_and_words_outside_their_range_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"cache.{key}"):
        CacheSpec(**{key: value})  # type: ignore[arg-type]
