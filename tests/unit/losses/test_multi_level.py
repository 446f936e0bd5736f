import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.distill.adapters import LinearAdapter
from ser_kd.losses.multi_level import MultiLevel

GENERATOR = torch.Generator().manual_seed(3)
STATES = {layer: torch.randn(3, 8, 5, generator=GENERATOR) for layer in range(5)}
OWN = {layer: torch.randn(3, 8, 5, generator=GENERATOR) for layer in range(3)}
MASK = torch.arange(8) < torch.tensor([8, 5, 2])[:, None]
PAIRS = {1: 2, 2: 4}
DISTANCES = ["mse", "cosine", "l1"]


def compare(loss, own=OWN, theirs=STATES, mask=None, teacher_mask=None, **masks):
    answers = TeacherAnswers({}, Outputs(hidden_states=theirs, frame_mask=teacher_mask))
    return loss(Outputs(hidden_states=own, frame_mask=mask, **masks), None, answers)


def measure_plainly(own, theirs, lengths, distance):
    """The same by loops over clips and frames."""
    clips = []
    for row, length in enumerate(lengths):
        frames = []
        for frame in range(length):
            mine, other = own[row, frame], theirs[row, frame]
            if distance == "cosine":
                frames.append(1.0 - (mine @ other) / (mine.norm() * other.norm()))
            else:
                frames.append(sum(abs(a - b) ** (2 if distance == "mse" else 1) for a, b in zip(mine, other, strict=True)) / len(mine))
        clips.append(sum(frames) / len(frames))
    return sum(clips) / len(clips)


@pytest.mark.parametrize("distance", DISTANCES)
def test_zero_where_the_student_is_the_teachers_states(distance):
    own = {mine: STATES[theirs].clone().requires_grad_() for mine, theirs in PAIRS.items()}
    loss = compare(MultiLevel(PAIRS, distance), own, mask=MASK, teacher_mask=MASK)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_sum_of_pairs_over_valid_frames_and_channels(distance):
    loss = MultiLevel(PAIRS, distance)
    found = compare(loss, mask=MASK, teacher_mask=MASK)
    wanted = [measure_plainly(OWN[mine], STATES[theirs], (8, 5, 2), distance) for mine, theirs in PAIRS.items()]
    torch.testing.assert_close(found, sum(wanted))
    assert loss.sizes.keys() == {"1", "2"}
    torch.testing.assert_close(list(loss.sizes.values()), wanted)


@pytest.mark.parametrize("distance", DISTANCES)
def test_padding_changes_nothing_even_if_it_is_no_number(distance):
    loss = MultiLevel({1: 2}, distance)
    alone = [compare(loss, {1: OWN[1][row : row + 1, :size]}, {2: STATES[2][row : row + 1, :size]}) for row, size in enumerate((8, 5, 2))]
    own = OWN[1].masked_fill(~MASK[..., None], torch.nan).requires_grad_()
    theirs = STATES[2].masked_fill(~MASK[..., None], torch.nan)
    together = compare(loss, {1: own}, {2: theirs}, MASK, MASK)
    torch.testing.assert_close(together, torch.stack(alone).mean())
    together.backward()
    assert torch.isfinite(own.grad).all()
    assert own.grad[~MASK].abs().max() == 0.0
    longer = [nn.functional.pad(part.detach(), (0, 0, 0, 4), value=torch.nan) for part in (own, theirs)]
    mask = nn.functional.pad(MASK, (0, 4))
    torch.testing.assert_close(compare(loss, {1: longer[0]}, {2: longer[1]}, mask, mask), together.detach())
    # one side cut to its longest clip, as a cache gives it
    torch.testing.assert_close(compare(loss, {1: longer[0]}, {2: theirs}, mask, MASK), together.detach())


def test_gradient_reaches_the_student_and_not_the_teacher():
    own, theirs = OWN[1].clone().requires_grad_(), STATES[2].clone().requires_grad_()
    compare(MultiLevel({1: 2}), {1: own}, {2: theirs}).backward()
    torch.testing.assert_close(own.grad, 2 * (own - theirs).detach() / own.numel())
    assert theirs.grad is None


def test_clips_without_a_valid_frame_count_nowhere():
    mask = torch.zeros_like(MASK)
    own = OWN[1].clone().requires_grad_()
    nothing = compare(MultiLevel({1: 2}), {1: own}, mask=mask, teacher_mask=mask)
    nothing.backward()
    assert nothing.item() == 0.0
    assert own.grad.abs().sum() == 0.0
    mask[0] = True
    torch.testing.assert_close(
        compare(MultiLevel({1: 2}), mask=mask, teacher_mask=mask), compare(MultiLevel({1: 2}), {1: OWN[1][:1]}, {2: STATES[2][:1]})
    )


@pytest.mark.parametrize(
    ("words", "own", "theirs", "pairs"),
    [
        ("even", 6, 12, {1: 2, 2: 4, 3: 6, 4: 8, 5: 10, 6: 12}),
        ("even", 2, 4, {1: 2, 2: 4}),
        ("even", 4, 4, {1: 1, 2: 2, 3: 3, 4: 4}),
        ("last", 6, 12, {6: 12}),
        ({2: 3}, 2, 4, {2: 3}),
    ],
)
def test_pairs_follow_from_the_networks(words, own, theirs, pairs):
    loss = MultiLevel(words)
    loss.connect(dict.fromkeys(range(own + 1), 8), dict.fromkeys(range(theirs + 1), 8))
    assert loss.pairs == pairs
    assert loss.student_layers == tuple(pairs)
    assert loss.teacher_layers == tuple(pairs.values())


def test_layers_that_do_not_exist_are_told_with_those_that_do():
    with pytest.raises(ConfigError, match=r"(?s)teacher has no such hidden layer.*among 0, 1, 2, 3, 4.*layer 9"):
        MultiLevel({1: 9}).connect(dict.fromkeys(range(3), 8), dict.fromkeys(range(5), 8))
    with pytest.raises(ConfigError, match=r"(?s)student has no such hidden layer.*among 0, 1, 2\b.*layer 7"):
        MultiLevel({7: 2}).connect(dict.fromkeys(range(3), 8), dict.fromkeys(range(5), 8))
    with pytest.raises(ConfigError, match="paired evenly"):
        MultiLevel().connect(dict.fromkeys(range(4), 8), dict.fromkeys(range(5), 8))
    with pytest.raises(ConfigError, match="finds no layer 4 of the teacher"):
        compare(MultiLevel({1: 4}), theirs={2: STATES[2]})
    with pytest.raises(ConfigError, match="connect"):
        compare(MultiLevel())


def test_other_widths_or_rates_need_an_adapter_and_are_told_its_key():
    with pytest.raises(ConfigError, match=r"(?s)objective\.terms\.multi_level\.loss\.adapter"):
        MultiLevel({1: 2}).connect({1: 8}, {2: 6})
    with pytest.raises(ConfigError, match=r"(?s)differ in width.*multi_level\.loss\.adapter"):
        compare(MultiLevel({1: 2}), theirs={2: STATES[2][..., :4]})
    with pytest.raises(ConfigError, match=r"(?s)different numbers of frames.*multi_level\.loss\.adapter"):
        compare(MultiLevel({1: 2}), theirs={2: STATES[2][:, ::2]})


def test_an_adapter_brings_layers_together():
    loss = MultiLevel({1: 2, 2: 4}, adapter=LinearAdapter)
    loss.connect({1: 5, 2: 5}, {2: 4, 4: 5})
    theirs = {2: STATES[2][:, ::2, :4], 4: STATES[4][:, ::2]}
    found = compare(loss, theirs=theirs, mask=MASK, teacher_mask=MASK[:, ::2])
    found.backward()
    assert sum(parameter.numel() for parameter in loss.parameters()) == 5 * 4 + 4
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.parameters())
    alone = [
        compare(
            loss, {k: v[row : row + 1, :size] for k, v in OWN.items()}, {k: v[row : row + 1, : -(-size // 2)] for k, v in theirs.items()}
        )
        for row, size in enumerate((8, 5, 2))
    ]
    torch.testing.assert_close(found, torch.stack(alone).mean())


def test_a_layer_with_a_mask_of_its_own():
    half = {1: OWN[1][:, ::2]}
    found = compare(MultiLevel({1: 2}), half, {2: STATES[2][:, ::2]}, MASK, MASK[:, ::2], hidden_masks={1: MASK[:, ::2]})
    torch.testing.assert_close(found, measure_plainly(half[1], STATES[2][:, ::2], (4, 3, 1), "mse"))


def test_single_precision_inside_autocast():
    half = {1: OWN[1].bfloat16()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = compare(MultiLevel({1: 2}), half)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, compare(MultiLevel({1: 2}), {1: half[1].float()}))


def test_errors():
    with pytest.raises(ConfigError, match="Unknown distance"):
        MultiLevel({1: 2}, "l3")
    with pytest.raises(ConfigError, match="Unknown pairs"):
        MultiLevel("odd")
    with pytest.raises(ConfigError, match="'multi_level' needs a teacher"):
        MultiLevel({1: 2})(Outputs(hidden_states=OWN), None, None)
    with pytest.raises(ShapeError, match="different numbers of clips"):
        compare(MultiLevel({1: 2}), {1: OWN[1][:2]})
