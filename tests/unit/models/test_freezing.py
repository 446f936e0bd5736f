import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.models.freezing import count_parameters, freeze, rest_frozen_modules, unfreeze


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict(
            {"entry": nn.Linear(3, 4), "norm": nn.BatchNorm1d(4), "layers": nn.ModuleList(nn.Linear(4, 4) for _ in range(3))}
        )
        self.dropout = nn.Dropout()
        self.head = nn.Linear(4, 2)
        self.register_buffer("kernels", torch.zeros(100))


def learning(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("pattern", "frozen"),
    [
        ("head", {"head.weight", "head.bias"}),
        ("head.bias", {"head.bias"}),
        ("encoder.layers.[0-1]", {"encoder.layers.0.weight", "encoder.layers.0.bias", "encoder.layers.1.weight", "encoder.layers.1.bias"}),
        ("*.norm", {"encoder.norm.weight", "encoder.norm.bias"}),
        ("encoder.layers.*.weight", {f"encoder.layers.{layer}.weight" for layer in range(3)}),
    ],
)
def test_a_pattern_freezes_what_it_names_and_nothing_else(pattern, frozen):
    model = Model()
    everything = learning(model)
    assert set(freeze(model, [pattern])) == frozen
    assert learning(model) == everything - frozen
    assert set(unfreeze(model, [pattern])) == frozen
    assert learning(model) == everything


def test_a_name_that_only_begins_alike_is_not_met():
    model = Model()
    with pytest.raises(ConfigError, match=r"'enc' meets no parameter(.|\n)*encoder"):
        freeze(model, ["enc"])
    with pytest.raises(ConfigError, match="head"):
        freeze(model, ["heed"])


def test_frozen_modules_rest_and_others_do_not():
    model = Model().train()
    freeze(model, ["encoder.norm"])
    assert not model.encoder["norm"].training
    assert model.encoder["entry"].training
    model.train()
    rest_frozen_modules(model)
    assert not model.encoder["norm"].training
    assert model.dropout.training
    assert model.training


def test_running_statistics_count_in_the_total_and_kernels_do_not():
    model = Model()
    trainable = 3 * 4 + 4 + 8 + 3 * 20 + 10
    assert count_parameters(model) == {"trainable": trainable, "total": trainable + 8}
    freeze(model, ["head"])
    assert count_parameters(model) == {"trainable": trainable - 10, "total": trainable + 8}


def test_shared_parameters_count_once():
    model = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    model[1].weight = model[0].weight
    assert count_parameters(model)["total"] == 15
    assert set(freeze(model, ["1"])) == {"1.weight", "1.bias"}
    assert not model[0].weight.requires_grad


class RestingModel(Model):
    def train(self, mode=True):
        super().train(mode)
        rest_frozen_modules(self)
        return self


def test_a_model_that_rests_by_itself_may_be_frozen_as_a_whole():
    model = RestingModel().requires_grad_(False)
    model.train()
    assert not any(part.training for part in model.modules())
    assert model.requires_grad_(True).train().training
