import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.models.projected_heads import ProjectedHead

WIDTHS = {"linguistic": 6, "prosodic": 3}


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_classifier_reads_the_projections_side_by_side():
    head = ProjectedHead(5, 4, WIDTHS)
    outputs = head(torch.randn(2, 5))
    assert {name: tuple(value.shape) for name, value in outputs.embeddings.items()} == {"linguistic": (2, 6), "prosodic": (2, 3)}
    both = torch.cat([outputs.embeddings["linguistic"], outputs.embeddings["prosodic"]], dim=1)
    torch.testing.assert_close(outputs.logits, head.answer.classifier(both))
    assert size(head) == 5 * 6 + 6 + 5 * 3 + 3 + 9 * 4 + 4
    assert head.embedding_widths == WIDTHS


def test_labels_teach_the_projections_too():
    head = ProjectedHead(5, 4, WIDTHS)
    head(torch.randn(2, 5)).logits.logsumexp(1).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


@pytest.mark.parametrize("widths", [WIDTHS, {"linguistic": "teacher", "prosodic": "teacher"}])
def test_a_classifier_of_the_embedding_leaves_projections_to_the_objective(widths):
    head = ProjectedHead(5, 4, widths, classifier_input="pooled")
    embedding = torch.randn(2, 5)
    outputs = head(embedding)
    torch.testing.assert_close(outputs.logits, head.answer.classifier(embedding))
    assert not outputs.embeddings
    assert not head.embedding_widths
    assert size(head) == 5 * 4 + 4


def test_projections_are_switched_off_one_by_one():
    assert ProjectedHead(5, 4, {"linguistic": None, "prosodic": 3}).answer.classifier.in_features == 3
    assert size(ProjectedHead(5, 4, {"linguistic": None, "prosodic": None})) == 5 * 4 + 4


def test_dropout_acts_before_the_projections():
    head = ProjectedHead(64, 4, {"prosodic": 64}, dropout=0.5)
    head.projections["prosodic"].weight.data.copy_(torch.eye(64))
    head.projections["prosodic"].bias.data.zero_()
    seen = head(torch.ones(1, 64)).embeddings["prosodic"]
    assert 10 < int((seen == 0).sum()) < 54


def test_dimensions_are_answered_too():
    both = ProjectedHead(5, 4, WIDTHS, dimensions=True)(torch.randn(2, 5))
    assert (both.logits.shape, both.dimensions.shape) == ((2, 4), (2, 3))


def test_errors():
    with pytest.raises(ConfigError, match=r"(?s)projection 'prosodic'.*projections\.prosodic=teacher.*prosodic=256, or =null"):
        ProjectedHead(5, 4, {"prosodic": "teacher"})
    with pytest.raises(ConfigError, match=r"projections\.prosodic=0"):
        ProjectedHead(5, 4, {"prosodic": 0})
    with pytest.raises(ConfigError, match=r"(?s)input of the classifier.*concat or pooled.*both"):
        ProjectedHead(5, 4, WIDTHS, classifier_input="both")  # type: ignore[arg-type]
