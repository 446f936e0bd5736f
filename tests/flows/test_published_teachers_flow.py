"""Models made elsewhere teach beside a run of ours, on the demo corpus: small random ones, in the layouts of the published."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.runtime.recording import read_record
from tests.flows.conftest import SMALL, only_run
from tests.published_models import save_odyssey, save_wav2vec2

pytestmark = pytest.mark.slow

WORDS = ["corpus=demo", "protocol.targets=dimensions", *SMALL, "trainer.max_epochs=1", "student=timnet_39"]


def test_two_published_models_and_a_run_of_ours_teach_as_one(ser_kd, workplace: Path) -> None:
    save_wav2vec2(workplace / "dawn")
    save_odyssey(workplace / "odyssey")
    published = [f"teacher.members.{name}.{key}" for name in ("dawn", "odyssey") for key in (f"path={name}", "weights=pretrained")]
    sizes = [f"teacher.members.{name}.{key}=null" for name in ("dawn", "odyssey") for key in ("layers", "width", "conv_width")]
    code, _, told = ser_kd("train", *WORDS, "objective=ccc", "experiment=adv/own")
    assert code == 0, told
    own = only_run(workplace, "adv/own")
    mixed = ["teacher=adv_ensemble", *published, *sizes, f"+teacher.members.own.run={own}"]
    code, out, told = ser_kd("train", *WORDS, "objective=ccc_teacher", "experiment=adv/student", *mixed, "teacher.cache=auto")
    assert code == 0, told
    assert "licence: CC BY-NC-SA 4.0, for research only" in out + told
    record = read_record(only_run(workplace, "adv/student"))
    assert record is not None
    assert [teacher.name for teacher in record.teachers] == ["own", "dawn", "odyssey"]
    assert [teacher.weight for teacher in record.teachers] == pytest.approx([1 / 3] * 3)
    assert "test/teacher_ccc_mean" in record.metrics
    assert any("came from the cache" in note for note in record.notes)
    # all clips of the corpus hold those that the run of ours was trained on
    code, _, told = ser_kd("evaluate", "corpus=demo", *SMALL[:2], *mixed)
    assert code == 2
    assert "has seen test speakers" in told
