from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.emotions import LabelSet, NoClasses
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.contracts.records import TeacherRecord
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import ClassMapping, TeacherMember
from ser_kd.distill.teacher_spec import TeacherSpec

CLASSES = ("neutral", "happy", "sad")


class Answering(nn.Module):
    """Gives prepared answers, whatever it hears; clip i is the row named by its first sample."""

    def __init__(self, logits: Tensor | None = None, embedding: Tensor | None = None, dimensions: Tensor | None = None) -> None:
        super().__init__()
        self.table = Outputs(logits=logits, embedding=embedding, dimensions=dimensions)

    def forward(self, inputs: ModelInput) -> Outputs:
        rows = inputs.waveforms[:, 0].long()
        return self.table.map(lambda values: values[rows])


def member(name: str, trained_on: tuple[str, ...] = (), **answers: Tensor) -> TeacherMember:
    return TeacherMember(Answering(**answers), TeacherRecord(name, None, None, None, list(trained_on), 10))


def clips(count: int) -> ModelInput:
    return ModelInput(torch.arange(count, dtype=torch.float32)[:, None], torch.ones(count, dtype=torch.int64))


def random_logits(seed: int, count: int = 4, classes: int = 3) -> Tensor:
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(seed)) * 3


def batch_of(classes: list[int]) -> SpeechBatch:
    inputs = clips(len(classes))
    return SpeechBatch(
        [str(i) for i in range(len(classes))], ["s"] * len(classes), inputs.waveforms, inputs.lengths, torch.zeros(len(classes)).long(),
        classes=torch.tensor(classes),
    )  # fmt: skip


def test_a_single_member_answers_for_itself() -> None:
    logits, embedding = random_logits(0), torch.randn(4, 5)
    answers = TeacherEnsemble([member("a", logits=logits, embedding=embedding)], CLASSES).answer(clips(4))
    assert answers.combined is answers.members["a"]
    torch.testing.assert_close(answers.combined.logits, logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    "weights", ["uniform", {"a": 1.0, "b": 3.0}, {"a": dict.fromkeys(CLASSES, 1.0), "b": dict(zip(CLASSES, (0, 2, 5), strict=True))}]
)
def test_combined_answers_are_those_of_plain_loops(weights) -> None:
    first, second = random_logits(1), random_logits(2)
    members = [member("a", logits=first), member("b", logits=second)]
    by_probability = TeacherEnsemble(members, CLASSES, weights).answer(clips(4)).combined.logits
    by_logit = TeacherEnsemble(members, CLASSES, weights, combine="logits").answer(clips(4)).combined.logits
    assert by_probability is not None
    assert by_logit is not None
    for clip in range(4):
        for position, label in enumerate(CLASSES):
            pair = [1.0, 1.0] if weights == "uniform" else [w[label] if isinstance(w, dict) else w for w in (weights["a"], weights["b"])]
            shares = [value / sum(pair) for value in pair]
            p = [float(z[clip].softmax(0)[position]) for z in (first, second)]
            z = [float(z[clip, position]) for z in (first, second)]
            assert float(by_probability[clip, position].exp()) == pytest.approx(shares[0] * p[0] + shares[1] * p[1], abs=1e-6)
            assert float(by_logit[clip, position]) == pytest.approx(shares[0] * z[0] + shares[1] * z[1], abs=1e-5)


def test_no_gradient_and_no_module() -> None:
    ensemble = TeacherEnsemble([member("a", logits=random_logits(0)), member("b", logits=random_logits(1))], CLASSES)
    assert ensemble.parameter_count == 20
    assert not isinstance(ensemble, nn.Module)
    answers = ensemble.answer(clips(2))
    assert answers.combined.logits is not None
    assert not answers.combined.logits.requires_grad


def test_validation_decides_temperatures_and_weights() -> None:
    truth = [0, 1, 2, 0, 1, -1]
    right = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1, 0]), 3).float()
    good, bad = right * 2, right.roll(1, dims=1) * 2
    good[3] = bad[3]  # one mistake, so that a finite temperature is best
    members = [member("good", logits=good), member("bad", logits=bad)]
    ensemble = TeacherEnsemble(members, CLASSES, "validation_confidence", calibrate=False)
    assert ensemble.needs_fit
    ensemble.fit([batch_of(truth)])
    confidence = [float(torch.stack([z[i].softmax(0)[truth[i]] for i in range(5)]).mean()) for z in (good, bad)]
    assert ensemble.members[0].record.weight == pytest.approx(confidence[0] / sum(confidence), abs=1e-6)
    TeacherEnsemble(members, CLASSES, "per_class").fit([batch_of(truth)])
    assert members[0].record.class_weights == {}  # "bad" is never right: all weight is with "good", for each class
    assert members[0].record.weight == 1.0
    calibrated = TeacherEnsemble(members, CLASSES, calibrate=True)
    calibrated.fit([batch_of(truth)])
    temperature = members[0].record.calibration_temperature
    assert temperature is not None
    torch.testing.assert_close(calibrated.answer(clips(6)).members["good"].logits, good / temperature)


def test_another_process_takes_over_what_was_fitted() -> None:
    logits = [torch.eye(3)[[0, 1, 2, 0]] * size for size in (2.0, 1.0)]
    logits[0][3] = logits[1][3] = torch.tensor([0.0, 3.0, 0.0])

    def make() -> TeacherEnsemble:
        return TeacherEnsemble(
            [member(name, logits=part) for name, part in zip("ab", logits, strict=True)], CLASSES, "per_class", calibrate=True
        )

    fitted, other = make(), make()
    fitted.fit([batch_of([0, 1, 2, 0])])
    other.take_fit(fitted.give_fit())
    assert other.give_fit() == fitted.give_fit()
    assert [m.record.class_weights for m in other.members] == [m.record.class_weights for m in fitted.members]
    assert torch.equal(other.answer(clips(4)).combined.logits, fitted.answer(clips(4)).combined.logits)


def test_fitting_needs_validation_clips() -> None:
    with pytest.raises(ConfigError, match="validation clips"):
        TeacherEnsemble([member("a", logits=random_logits(0))], CLASSES, calibrate=True).fit([])


def test_nobody_answers_for_a_speaker_it_was_trained_on() -> None:
    first, second = random_logits(1), random_logits(2)
    members = [member("a", ("s1", "s2"), logits=first), member("b", ("s2", "s3"), logits=second)]
    ensemble = TeacherEnsemble(members, CLASSES, answers="cross_fitted")
    ensemble.check_speakers(["s1", "s3"])
    combined = ensemble.answer(clips(3), ["s1", "s3", "unseen"]).combined.logits
    assert combined is not None
    torch.testing.assert_close(combined[0].softmax(0), second[0].softmax(0))
    torch.testing.assert_close(combined[1].softmax(0), first[1].softmax(0))
    torch.testing.assert_close(combined[2].softmax(0), (first[2].softmax(0) + second[2].softmax(0)) / 2)
    with pytest.raises(ConfigError, match="every member was trained on them") as fault:
        ensemble.check_speakers(["s1", "s2"])
    assert "s2" in fault.value.got
    with pytest.raises(ConfigError, match="who speaks"):
        ensemble.answer(clips(3))


def test_only_member_that_may_answer_speaks_even_with_weight_zero() -> None:
    first, second = random_logits(1), random_logits(2)
    members = [member("a", ("s1",), logits=first), member("b", logits=second)]
    combined = TeacherEnsemble(members, CLASSES, {"a": 1.0, "b": 0.0}, answers="cross_fitted").answer(clips(1), ["s1"]).combined.logits
    assert combined is not None
    torch.testing.assert_close(combined[0].softmax(0), second[0].softmax(0))


def test_joined_embeddings_carry_the_mean_squared_distance() -> None:
    one, two = torch.randn(4, 5), torch.randn(4, 7)
    logits = random_logits(0)
    members = [member("a", logits=logits, embedding=one), member("b", logits=logits, embedding=two)]
    joined = TeacherEnsemble(members, CLASSES, {"a": 1.0, "b": 3.0}).answer(clips(4)).combined.embedding
    assert joined is not None
    units = [embedding / embedding.norm(dim=1, keepdim=True) for embedding in (one, two)]
    expected = 0.25 * torch.cdist(units[0], units[0]) ** 2 + 0.75 * torch.cdist(units[1], units[1]) ** 2
    torch.testing.assert_close(torch.cdist(joined, joined) ** 2, expected, atol=1e-5, rtol=1e-4)
    members[1] = member("b", logits=logits)
    assert TeacherEnsemble(members, CLASSES).answer(clips(4)).combined.embedding is None


def test_classes_and_dimensions_stand_side_by_side() -> None:
    logits, low, high = random_logits(0), torch.zeros(4, 3), torch.ones(4, 3)
    members = [member("classes", logits=logits), member("low", dimensions=low), member("high", dimensions=high)]
    combined = TeacherEnsemble(members, CLASSES, {"classes": 1.0, "low": 1.0, "high": 3.0}).answer(clips(4)).combined
    assert combined.logits is not None
    torch.testing.assert_close(combined.logits.softmax(1), logits.softmax(1))
    torch.testing.assert_close(combined.dimensions, torch.full((4, 3), 0.75))


def test_classes_meet_by_name() -> None:
    merged = LabelSet("merge", ("sad", "neutral"), merges={"calm": "neutral"})
    mapping = ClassMapping.by_name(["Neutral", "calm", "sadness", "surprised"], merged, "t")
    assert mapping.left_out == ("surprised",)
    logits = random_logits(3, classes=4)
    p = logits.softmax(dim=1)
    expected = torch.stack([p[:, 2], p[:, 0] + p[:, 1]], dim=1)
    torch.testing.assert_close(mapping(logits).softmax(dim=1), expected / expected.sum(dim=1, keepdim=True))
    assert ClassMapping.by_name(["sad", "neutral"], merged, "t").is_identity
    with pytest.raises(ConfigError, match="The teacher 't' has other classes") as fault:
        ClassMapping.by_name(["calm", "angry"], merged, "t")
    assert "nothing that means sad" in fault.value.got


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"a": 1.0}, "other members"), ({"a": 1.0, "b": -1.0}, "normalised"), ({"a": 0.0, "b": 0.0}, "normalised"),
     ({"a": {"sad": 1.0}, "b": 1.0}, "other classes")],
)  # fmt: skip
def test_wrong_weights_are_refused(weights, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TeacherEnsemble([member("a", logits=random_logits(0)), member("b", logits=random_logits(0))], CLASSES, weights)


def test_members_have_names_of_their_own() -> None:
    for members in ([], [member("a"), member("a")]):
        with pytest.raises(ConfigError, match="different names"):
            TeacherEnsemble(members, CLASSES)


@pytest.mark.parametrize(
    ("given", "message"),
    [({}, "is not named"), ({"run": "x", "members": {"a": {"run": "y"}}}, "named twice"), ({"members": {"a": {}}}, "'a' is named nowhere"),
     ({"experiment": "x", "run": "y"}, "'teacher' is named twice")],
)  # fmt: skip
def test_a_teacher_is_named_once(given, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TeacherSpec(**given)


def test_without_classes_the_dimensions_are_the_weighted_mean_and_stay_unclipped() -> None:
    first, second = torch.tensor([[1.4, 0.2, -0.3], [0.1, 0.5, 0.9]]), torch.tensor([[1.0, 0.4, 0.1], [0.3, 0.7, 0.5]])
    members = [member("a", dimensions=first), member("b", dimensions=second)]
    for weights, share in (("uniform", 0.5), ({"a": 1.0, "b": 3.0}, 0.25)):
        combined = TeacherEnsemble(members, (), weights).answer(clips(2)).combined
        torch.testing.assert_close(combined.dimensions, share * first + (1 - share) * second)
        assert combined.logits is None
    assert members[0].record.weight == 0.25
    fitted = [member("a", trained_on=("s",), dimensions=first), member("b", trained_on=("t",), dimensions=second)]
    answers = TeacherEnsemble(fitted, (), answers="cross_fitted").answer(clips(2), ["s", "t"]).combined
    torch.testing.assert_close(answers.dimensions, torch.stack([second[0], first[1]]))


def test_a_teacher_of_both_answers_a_student_without_classes_by_dimensions_alone() -> None:
    mapping = ClassMapping.by_name(CLASSES, NoClasses(), "a")
    model = Answering(logits=random_logits(3), dimensions=torch.rand(4, 3))
    heard = TeacherMember(model, TeacherRecord("a", None, None, None, [], 10), mapping).hear(clips(4))
    assert heard.logits is None
    assert heard.dimensions is not None


def test_members_that_are_kept_are_the_only_ones_asked() -> None:
    asked: list[str] = []

    class Counting(Answering):
        def __init__(self, name: str, **answers: Tensor) -> None:
            super().__init__(**answers)
            self.name = name

        def forward(self, inputs: ModelInput) -> Outputs:
            asked.append(self.name)
            return super().forward(inputs)

    members = [TeacherMember(Counting(n, logits=random_logits(i)), TeacherRecord(n, None, None, None, [], 10)) for i, n in enumerate("abc")]
    ensemble = TeacherEnsemble(members, CLASSES, {"a": 1.0, "b": 1.0, "c": 3.0})
    kept = ensemble.keep(["c", "a"])
    assert kept is not None
    answers = kept.answer(clips(4))
    assert asked == ["a", "c"]
    assert list(answers.members) == ["a", "c"]
    assert kept.member_shares == pytest.approx({"a": 0.25, "c": 0.75})
    assert [member.record.weight for member in members] == pytest.approx([0.25, 0.0, 0.75])
    assert ensemble.keep([]) is None
    assert TeacherEnsemble(members, CLASSES).keep("abc") is not None


def test_confidence_on_validation_is_a_share_of_those_that_are_heard() -> None:
    right, wrong = torch.eye(3)[torch.tensor([0, 1, 2])] * 9, torch.zeros(3, 3)
    ensemble = TeacherEnsemble([member("a", logits=right), member("b", logits=wrong)], CLASSES, "validation_confidence")
    ensemble.fit([batch_of([0, 1, 2])])
    assert ensemble.member_shares == pytest.approx({"a": 0.75, "b": 0.25}, abs=0.001)


def test_a_dropped_member_is_neither_looked_for_nor_weighed() -> None:
    spec = TeacherSpec(members={"a": {"experiment": "x/a"}, "b": None}, weights={"a": 1.0, "b": 2.0})
    assert (list(spec.sources), spec.dropped, spec.kept_weights, spec.member_names) == (["a"], ["b"], {"a": 1.0}, ["a"])
    assert TeacherSpec(members={"a": {"experiment": "x/a"}}, answers="cross_fitted", groups=2).member_names == ["a_1", "a_2"]
    assert not TeacherSpec(members={"a": None}).sources
    with pytest.raises(ConfigError, match="named twice"):
        TeacherSpec(experiment="x/a", members={"b": None})


def test_a_member_that_never_learned_a_dimension_has_no_say_in_it() -> None:
    first, second = torch.rand(4, 3), torch.rand(4, 3)
    first[:, 1], second[:, 1:] = torch.nan, torch.nan
    members = [member("a", dimensions=first), member("b", dimensions=second)]
    for weights in ("uniform", {"a": 1.0, "b": 3.0}, {"a": 0.0, "b": 1.0}):
        combined = TeacherEnsemble(members, (), weights).answer(clips(4)).combined.dimensions
        share = {"uniform": 0.5}.get(weights) if isinstance(weights, str) else weights["a"] / sum(weights.values())
        torch.testing.assert_close(combined[:, 0], share * first[:, 0] + (1 - share) * second[:, 0])
        assert combined[:, 1].isnan().all()  # nobody knows it
        torch.testing.assert_close(combined[:, 2], first[:, 2])  # whatever its weight, it alone knows it
