import copy
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import Pretrained
from ser_kd.models.pretrained import (
    PretrainedModule,
    fit_weights,
    keep_random_weights,
    load_pretrained,
    pretrained_parts,
    pretrained_sources,
    select_part,
)


class Double(PretrainedModule):
    """A linear layer that may come from a checkpoint."""

    def __init__(self, source, weights="pretrained"):
        super().__init__(source, weights)
        self.layer = nn.Linear(3, 2)

    def take_checkpoint(self, config, preprocessor, weights):
        self.seen = (config, preprocessor)
        fit_weights(self.layer, weights, self.source)

    def forward(self, inputs):
        self.check_has_weights()
        return self.layer(inputs)


@pytest.fixture
def checkpoint(tmp_path):
    state = {"weight": torch.randn(2, 3), "bias": torch.randn(2)}
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "double"}))
    return tmp_path, state


def test_weights_are_loaded_once_and_only_where_they_are_awaited(checkpoint):
    folder, state = checkpoint
    model = nn.Sequential(Double(str(folder)), Double(str(folder), "random"))
    assert isinstance(model[0], Pretrained)
    assert pretrained_parts(model) == [model[0]]
    assert load_pretrained(model) == [str(folder)]
    assert torch.equal(model[0].layer.weight, state["weight"])
    assert not torch.equal(model[1].layer.weight, state["weight"])
    assert model[0].seen == ({"model_type": "double"}, {})
    model[0].layer.weight.data.zero_()
    assert load_pretrained(model) == []
    assert not model[0].layer.weight.any()
    assert pretrained_sources(model) == [str(folder)]


def test_a_model_that_was_never_loaded_says_so_and_a_checkpoint_of_ours_ends_the_waiting(checkpoint):
    model = nn.Sequential(Double(str(checkpoint[0])))
    with pytest.raises(ConfigError, match="Double still has random weights"):
        model(torch.randn(1, 3))
    other = copy.deepcopy(model)
    other.load_state_dict(model.state_dict())
    assert other(torch.randn(1, 3)).shape == (1, 2)
    assert pretrained_parts(model) == [model[0]]


def test_missing_weights_are_told_in_one_message_with_both_ways_to_give_them():
    model = nn.Sequential(Double("owner/model-that-nobody-has"), nn.Linear(2, 2))
    (told,) = keep_random_weights(model)
    for part in ("'owner/model-that-nobody-has' are not on this machine", "source=FOLDER", "hf download owner/model-that-nobody-has"):
        assert part in told
    assert model(torch.randn(1, 3)).shape == (1, 2)
    with pytest.raises(DataError, match=r"source=FOLDER.*go online once"):
        load_pretrained(Double("owner/model-that-nobody-has"))


def test_several_missing_weights_are_told_at_once_and_the_others_are_loaded(checkpoint):
    parts = {"hubert": Double("nobody/hubert"), "there": Double(str(checkpoint[0])), "wav2vec2": Double("nobody/wav2vec2")}
    with pytest.raises(DataError, match="'nobody/hubert' and 'nobody/wav2vec2' are not on this machine") as fault:
        load_pretrained(nn.ModuleDict(parts))
    assert "hubert.source=FOLDER and wav2vec2.source=FOLDER" in fault.value.remedy
    assert [name for name, part in parts.items() if part.awaits_weights] == ["hubert", "wav2vec2"]


def test_nothing_is_missing_where_the_folder_has_it(checkpoint):
    assert keep_random_weights(Double(str(checkpoint[0]))) == []
    assert Double("nowhere/at all", "random").missing_weights() == ""


def test_a_damaged_checkpoint_is_named(checkpoint):
    folder, _ = checkpoint
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"model\.safetensors"):
        load_pretrained(Double(str(folder)))


def test_unknown_weights_are_refused():
    with pytest.raises(ConfigError, match="pretrained or random"):
        Double("somewhere", "imagenet")


def test_a_part_is_selected_by_its_prefix_and_old_names_are_renewed():
    weights = {"net.conv.weight_g": torch.ones(1), "net.conv.weight_v": torch.ones(2), "head.weight": torch.ones(3)}
    expected = {"conv.parametrizations.weight.original0", "conv.parametrizations.weight.original1"}
    assert set(select_part(weights, ("model.net.", "net."))) == expected
    bare = {name.removeprefix("net."): value for name, value in weights.items()}
    assert set(select_part(bare, ("model.net.", "net."))) == {*expected, "head.weight"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bias": None}, "1 missing: bias"),
        ({"scale": torch.ones(1)}, "1 left over: scale"),
        ({"weight": torch.ones(3, 2)}, r"1 of another shape: weight \(3, 2\) instead of \(2, 3\)"),
        ({"bias": None, "scale": torch.ones(1)}, "1 missing: bias; 1 left over: scale"),
    ],
)
def test_every_name_and_shape_is_checked(change, told):
    weights = {"weight": torch.ones(2, 3), "bias": torch.ones(2), **change}
    with pytest.raises(DataError, match=told):
        fit_weights(nn.Linear(3, 2), {name: value for name, value in weights.items() if value is not None}, "somewhere")


def test_optional_names_may_be_missing_or_left_over():
    layer = nn.Linear(3, 2)
    bias = layer.bias.detach().clone()
    fit_weights(layer, {"weight": torch.ones(2, 3), "mask": torch.ones(1)}, "somewhere", optional=("bias", "mask"))
    assert torch.equal(layer.bias, bias)
    assert torch.equal(layer.weight, torch.ones(2, 3))
