from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.outputs import Outputs
from ser_kd.contracts.records import TeacherRecord
from ser_kd.distill.answer_memory import AnswerMemory
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember


class Listening(nn.Module):
    """Answers from the valid samples and counts the clips it heard."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.weight = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
        self.clips = 0
        self.asked: list[tuple[int, ...]] = []

    def forward(self, inputs: ModelInput) -> Outputs:
        self.clips += len(inputs.waveforms)
        self.asked.append(tuple(inputs.waveforms.shape))
        logits = inputs.waveforms @ self.weight[: inputs.waveforms.shape[1]]
        return Outputs(logits=logits, embedding=logits * 2, embeddings={"hidden": logits * 3}, frames=logits[:, None])


def make_teacher(members: int = 2, answers: str = "all") -> TeacherEnsemble:
    trained_on = (["s1"], ["s2"], [])
    made = [TeacherMember(Listening(i), TeacherRecord(f"m{i}", None, None, None, trained_on[i], 24)) for i in range(members)]
    return TeacherEnsemble(made, ("a", "b", "c"), answers=answers)  # type: ignore[arg-type]


def clips(*seeds: int) -> ModelInput:
    rows = [torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    lengths = torch.tensor([8 - seed % 2 for seed in seeds])
    waveforms = torch.stack(rows) * (torch.arange(8) < lengths[:, None])
    return ModelInput(waveforms, lengths)


@pytest.mark.parametrize("members", [1, 2])
def test_answers_equal_the_live_ones_and_each_clip_is_asked_once(members: int) -> None:
    teacher, live = make_teacher(members), make_teacher(members)
    memory = AnswerMemory(teacher)
    for batch in (clips(0, 1, 2), clips(2, 3), clips(3, 1, 0)):
        found, expected = memory.answer(batch), live.answer(batch)
        assert set(found.members) == set(expected.members)
        for mine, theirs in [(found.combined, expected.combined), *((found.members[n], expected.members[n]) for n in found.members)]:
            torch.testing.assert_close(mine.logits, theirs.logits)
            torch.testing.assert_close(mine.embedding, theirs.embedding)
            assert set(mine.embeddings) == set(theirs.embeddings)
            assert mine.frames is None
    assert teacher.members[0].model.clips == 4
    assert memory.parameter_count == teacher.parameter_count


def test_a_changed_clip_is_another_clip_and_padding_is_not_heard() -> None:
    teacher = make_teacher()
    memory = AnswerMemory(teacher)
    batch = clips(0, 1)
    memory.answer(batch)
    padded = replace(batch, waveforms=batch.waveforms.clone())
    padded.waveforms[1, 7] = 0.0  # behind its end
    memory.answer(padded)
    assert teacher.members[0].model.clips == 2
    louder = replace(batch, waveforms=batch.waveforms * 1.0001)
    torch.testing.assert_close(memory.answer(louder).combined.logits, make_teacher().answer(louder).combined.logits)
    assert teacher.members[0].model.clips == 4
    memory.answer(replace(batch, texts=["hello", None]))  # no text is as good as no texts
    assert teacher.members[0].model.clips == 5
    memory.answer(replace(batch, features={"pitch": (torch.ones(2, 3, 1), torch.tensor([3, 2]))}))
    assert teacher.members[0].model.clips == 7


def test_each_clip_is_asked_alone_and_without_padding_so_that_its_company_does_not_matter() -> None:
    teacher = make_teacher()
    AnswerMemory(teacher).answer(clips(0, 1, 2))
    assert teacher.members[0].model.asked == [(1, 8), (1, 7), (1, 8)]


def test_who_speaks_decides_who_answers() -> None:
    memory = AnswerMemory(make_teacher(answers="cross_fitted"))
    one, two = (memory.answer(clips(0), [speaker]).combined.logits for speaker in ("s1", "s2"))
    assert one is not None
    assert two is not None
    assert not torch.allclose(one.softmax(1), two.softmax(1))


def test_memory_ends_at_its_capacity() -> None:
    teacher = make_teacher()
    memory = AnswerMemory(teacher, capacity_bytes=200)
    memory.answer(clips(0, 1, 2, 3))
    assert 0 < memory.held_bytes <= 200
    torch.testing.assert_close(memory.answer(clips(3, 2)).combined.logits, teacher.answer(clips(3, 2)).combined.logits)
