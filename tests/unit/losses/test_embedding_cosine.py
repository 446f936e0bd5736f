import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.losses.embedding_cosine import EmbeddingCosine

TEACHER = torch.tensor([[1.0, 2.0, -2.0], [0.0, -3.0, 4.0]])


@pytest.fixture
def batch(make_batch):
    return make_batch([0, 1])


def answers(embedding=TEACHER, **named):
    member = Outputs(embedding=embedding, embeddings=named)
    return TeacherAnswers({"prosodic": member}, Outputs())


def say(embedding, name="prosodic", pooled=None):
    return Outputs(embedding=pooled, embeddings={name: embedding})


def term(**options):
    return EmbeddingCosine(teacher="prosodic", student_embedding="prosodic", **options)


def test_minus_one_where_aligned_whatever_the_lengths_and_one_where_opposed(batch):
    scale = torch.tensor([[3.0], [0.01]])
    assert term()(say(scale * TEACHER), batch, answers()).item() == pytest.approx(-1.0, abs=1e-6)
    assert term()(say(-scale * TEACHER), batch, answers()).item() == pytest.approx(1.0, abs=1e-6)


def test_by_hand_as_a_mean_over_clips(batch):
    student = torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    by_hand = -(2.0 / (2.0 * 3.0) + -3.0 / (2.0**0.5 * 5.0)) / 2
    assert term()(say(student), batch, answers()).item() == pytest.approx(by_hand, abs=1e-6)
    turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    assert term()(say(student @ turned), batch, answers(TEACHER @ turned)).item() == pytest.approx(by_hand, abs=1e-6)


def test_gradient_reaches_student_and_projection_and_not_the_teacher(batch):
    pooled, teacher = torch.randn(2, 5, requires_grad=True), TEACHER.clone().requires_grad_()
    loss = term(projection=nn.Linear)
    loss.connect_embeddings({None: 5}, {None: 3})
    loss(Outputs(embedding=pooled), batch, answers(teacher)).backward()
    assert pooled.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.parameters())
    assert len(list(loss.parameters())) == 2
    assert teacher.grad is None


def test_a_step_turns_the_student_towards_the_teacher(batch):
    student = torch.randn(2, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    before = term()(say(student), batch, answers())
    before.backward()
    after = term()(say(student - 0.1 * student.grad), batch, answers())
    assert after.item() < before.item()


@pytest.mark.parametrize("silent", ["student", "teacher", "both"])
def test_a_vector_of_zeros_has_no_direction_and_no_gradient(batch, silent):
    student, teacher = TEACHER.clone(), TEACHER.clone()
    if silent != "teacher":
        student[1] = 0.0
    if silent != "student":
        teacher[1] = 0.0
    student.requires_grad_()
    value = term()(say(student), batch, answers(teacher))
    value.backward()
    assert value.item() == pytest.approx(-0.5, abs=1e-6)
    assert torch.isfinite(student.grad).all()
    assert not student.grad[1].any()
    tiny = (1e-5 * TEACHER).requires_grad_()
    term()(say(tiny), batch, answers(torch.ones(2, 3))).backward()
    assert torch.isfinite(tiny.grad).all()


def test_named_embeddings_of_the_teacher(batch):
    hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = term(teacher_embedding="hidden")
    loss.connect_embeddings({None: 9, "prosodic": 2}, {None: 3, "hidden": 2})
    assert loss(say(2 * hidden), batch, answers(hidden=hidden)).item() == pytest.approx(-1.0)


def test_the_students_own_projection_goes_before_one_of_the_term():
    own = term(projection=nn.Linear)
    own.connect_embeddings({None: 5, "prosodic": 3}, {None: 3})
    assert not list(own.parameters())
    made = term(projection=nn.Linear)
    made.connect_embeddings({None: 5}, {None: 3})
    assert sum(parameter.numel() for parameter in made.parameters()) == 5 * 3 + 3


def test_single_precision_inside_autocast(batch):
    student = torch.randn(2, 3).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = term()(say(student), batch, answers(TEACHER.bfloat16()))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, term()(say(student.float()), batch, answers(TEACHER.bfloat16().float())))


def test_what_cannot_be_brought_together_is_told_before_the_first_step():
    with pytest.raises(ConfigError, match=r"(?s)no embedding 'deep' of the teacher 'prosodic'.*the pooled one \(null\), 'hidden'"):
        term(teacher_embedding="deep").connect_embeddings({None: 5}, {None: 3, "hidden": 2})
    with pytest.raises(
        ConfigError, match=r"(?s)could follow the teacher 'prosodic'.*'prosodic' of width 3.*pooled one \(null\) of width 5"
    ):
        term().connect_embeddings({None: 5}, {None: 3})
    with pytest.raises(ConfigError, match=r"(?s)'prosodic' of width 3, or.*'prosodic' of width 4"):
        term(projection=nn.Linear).connect_embeddings({None: 5, "prosodic": 4}, {None: 3})
    with pytest.raises(ConfigError, match="no pooled embedding of the student"):
        term(projection=nn.Linear).connect_embeddings({}, {None: 3})


def test_errors(batch):
    with pytest.raises(ConfigError, match="'embedding_cosine' needs a teacher"):
        term()(say(TEACHER), batch, None)
    with pytest.raises(ConfigError, match="combined, prosodic"):
        EmbeddingCosine(teacher="words")(say(TEACHER, pooled=TEACHER), batch, answers())
    with pytest.raises(ConfigError, match="no embedding 'prosodic' of the student"):
        term()(Outputs(embedding=TEACHER), batch, answers())
    with pytest.raises(ShapeError, match=r"(?s)differ in width.*3 values, as the teacher 'prosodic'.*2 of the student"):
        term()(say(TEACHER[:, :2]), batch, answers())
    with pytest.raises(ShapeError, match="different numbers of clips"):
        term()(say(TEACHER[:1]), batch, answers())
