import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.losses.slots import listen, take_embedding, take_logits, take_teacher_embedding, take_temperature

TEXT, PROSODY = Outputs(embedding=torch.ones(2, 3)), Outputs(embedding=torch.ones(2, 5), embeddings={"hidden": torch.zeros(2, 4)})
ENSEMBLE = TeacherAnswers({"text": TEXT, "prosody": PROSODY}, Outputs(logits=torch.zeros(2, 4)))


def test_a_member_and_a_named_embedding_are_found():
    assert listen(ENSEMBLE, "text", "term") is TEXT
    assert take_teacher_embedding(ENSEMBLE, "prosody", None, 2, "term").shape == (2, 5)
    assert take_teacher_embedding(ENSEMBLE, "prosody", "hidden", 2, "term").shape == (2, 4)


def test_nothing_of_the_teacher_has_a_gradient():
    teacher = Outputs(torch.ones(2, 4, requires_grad=True), embedding=torch.ones(2, 3, requires_grad=True))
    assert not take_logits(Outputs(torch.zeros(2, 4)), teacher, "combined", "term")[1].requires_grad
    assert not take_teacher_embedding(TeacherAnswers({}, teacher), "combined", None, 2, "term").requires_grad


def test_what_is_missing_is_told():
    with pytest.raises(ConfigError, match="'term' needs a teacher"):
        listen(None, "combined", "term")
    with pytest.raises(ConfigError, match=r"(?s)No teacher is called 'words'.*combined, text, prosody.*term.teacher"):
        listen(ENSEMBLE, "words", "term")
    with pytest.raises(ConfigError, match=r"(?s)text of width 3, prosody of width 5.*term.teacher to one of text, prosody"):
        take_teacher_embedding(ENSEMBLE, "combined", None, 2, "term")
    with pytest.raises(ConfigError, match=r"(?s)no embedding 'deep' of the teacher 'prosody'.*the pooled one \(null\), hidden"):
        take_teacher_embedding(ENSEMBLE, "prosody", "deep", 2, "term")
    with pytest.raises(ConfigError, match=r"(?s)no pooled embedding of the student.*a model that answers with an embedding"):
        take_embedding(Outputs(), None, "student", "term")
    with pytest.raises(ShapeError, match=r"(?s)different numbers of clips.*3 clips, as the student.*2 clips of the teacher"):
        take_teacher_embedding(ENSEMBLE, "text", None, 3, "term")
    with pytest.raises(ShapeError, match="wrong number of axes"):
        take_embedding(Outputs(embedding=torch.zeros(2, 3, 4)), None, "student", "term")
    with pytest.raises(ConfigError, match="'term' has no temperature"):
        take_temperature(None, "term")
