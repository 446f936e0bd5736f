import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.models.freezing import count_parameters
from ser_kd.models.head_order import read_head_order
from ser_kd.models.pretrained import keep_random_weights, load_pretrained
from ser_kd.models.published_dimensions import PublishedDimensions
from tests.published_models import save_odyssey, save_wav2vec2

SAVE = {"wav2vec2": save_wav2vec2, "odyssey_wavlm": save_odyssey}
LENGTHS = [16_000, 9_000, 500]


def load(folder, layout, **more):
    model = PublishedDimensions(str(folder), layout, **more)
    load_pretrained(model)
    return model.eval()


def edit(folder: Path, **keys) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))


def clips():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(length, generator=generator) * 0.1 + 0.02 for length in LENGTHS]


def pad(parts):
    waveforms = torch.full((len(parts), max(LENGTHS)), float("nan"))  # what stands behind a clip must not matter
    for row, part in zip(waveforms, parts, strict=True):
        row[: len(part)] = part
    return ModelInput(waveforms, torch.tensor([len(part) for part in parts]))


@pytest.mark.parametrize("layout", SAVE)
def test_it_answers_as_the_original_alone_and_in_a_padded_batch(tmp_path, layout):
    answer = SAVE[layout](tmp_path)
    model = load(tmp_path, layout)
    expected = torch.stack([answer(clip) for clip in clips()])
    with torch.no_grad():
        batch = model(pad(clips())).dimensions
        alone = torch.cat([model(ModelInput(clip[None], torch.tensor([len(clip)]))).dimensions for clip in clips()])
    assert expected.std(dim=0).min() > 1e-3  # clips differ, and so must answers
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(batch, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", SAVE)
def test_dimensions_are_mapped_by_name(tmp_path, layout):
    answer = SAVE[layout](tmp_path, names=("Valence", "activation", "dominance"))
    valence, arousal, dominance = answer(clips()[0])
    with torch.no_grad():
        got = load(tmp_path, layout)(ModelInput(clips()[0][None], torch.tensor([LENGTHS[0]]))).dimensions[0]
    torch.testing.assert_close(got, torch.stack([arousal, dominance, valence]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", SAVE)
@pytest.mark.parametrize("names", [None, ("LABEL_0", "LABEL_1", "LABEL_2"), ("arousal", "arousal", "valence")])
def test_a_head_of_unknown_order_is_refused(tmp_path, layout, names):
    SAVE[layout](tmp_path, names=names)
    with pytest.raises(ConfigError, match="which dimension is unknown") as fault:
        PublishedDimensions(str(tmp_path), layout)
    assert "dimensions: [arousal, dominance, valence]" in fault.value.remedy
    told = load(tmp_path, layout, dimensions=["valence", "dominance", "arousal"])
    plain = load(tmp_path, layout, dimensions=["arousal", "dominance", "valence"])
    with torch.no_grad():
        assert torch.equal(told(pad(clips())).dimensions, plain(pad(clips())).dimensions.flip(1))


def test_an_order_that_contradicts_the_checkpoint_is_refused():
    config = {"label2id": {"arousal": 0, "valence": 1, "dominance": 2}}
    assert read_head_order(config, ["arousal", "valence", "dominance"], "x") == (0, 2, 1)
    with pytest.raises(ConfigError, match="another order than the one given"):
        read_head_order(config, ["arousal", "dominance", "valence"], "x")
    with pytest.raises(ConfigError, match="does not name the three"):
        read_head_order({}, ["arousal", "dominance"], "x")


@pytest.mark.parametrize("layout", SAVE)
def test_weights_are_checked_name_by_name(tmp_path, layout):
    SAVE[layout](tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    last = next(name for name in weights if name.endswith(("out_proj.bias", "out.0.bias")))
    save_file({**weights, "other.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"not those of this network") as fault:
        load(tmp_path, layout)
    assert "1 left over: other.weight" in fault.value.got
    save_file({name: value for name, value in weights.items() if name != last}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"1 missing: head\.regressor\.bias"):
        load(tmp_path, layout)
    save_file({**weights, last: torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="does not answer with three numbers"):
        load(tmp_path, layout)


def test_pytorch_files_are_read_too(tmp_path):
    save_wav2vec2(tmp_path)
    with torch.no_grad():
        expected = load(tmp_path, "wav2vec2")(pad(clips())).dimensions
        torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
        assert torch.equal(load(tmp_path, "wav2vec2")(pad(clips())).dimensions, expected)


@pytest.mark.parametrize(
    ("keys", "error", "match"),
    [
        ({"mean": None}, DataError, "How waveforms are prepared"),
        ({"sampling_rate": 8_000}, ConfigError, "another sample rate"),
        ({"ssl_type": "someone/else"}, ConfigError, "sizes of the encoder"),
        ({"classifier_hidden_layers": 2}, ConfigError, "more hidden layers"),
    ],
)
def test_what_is_unknown_of_an_odyssey_model_is_refused(tmp_path, keys, error, match):
    save_odyssey(tmp_path)
    edit(tmp_path, **keys)
    with pytest.raises(error, match=match):
        load(tmp_path, "odyssey_wavlm")


def test_another_kind_or_preparation_of_wav2vec2_is_refused(tmp_path):
    save_wav2vec2(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
    with pytest.raises(ConfigError, match="prepared in another way"):
        load(tmp_path, "wav2vec2")
    edit(tmp_path, model_type="hubert")
    with pytest.raises(ConfigError, match="another kind of model"):
        load(tmp_path, "wav2vec2")
    with pytest.raises(ConfigError, match="Unknown layout"):
        load(tmp_path, "else")


def test_a_model_of_the_hub_must_have_the_published_sizes(tmp_path):
    save_wav2vec2(tmp_path)
    with torch.device("meta"):
        model = PublishedDimensions("audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", "wav2vec2")
    with pytest.raises(ConfigError, match="another size or layout") as fault:
        model.take_checkpoint(json.loads((tmp_path / "config.json").read_text()), {}, {})
    assert "settings.hidden_size=24" in fault.value.remedy


@pytest.mark.parametrize(("layout", "trunk", "head"), [("wav2vec2", 164_284_032, 1_052_675), ("odyssey_wavlm", 315_453_120, 3_153_923)])
def test_published_sizes_need_no_weights(layout, trunk, head):
    with torch.device("meta"):
        model = PublishedDimensions("someone/model", layout)
    assert count_parameters(model.encoder)["total"] == trunk
    assert count_parameters(model)["total"] == trunk + head
    assert "hf download someone/model" in keep_random_weights(model)[0]


def test_it_does_not_answer_without_its_weights(tmp_path):
    save_wav2vec2(tmp_path)
    with pytest.raises(ConfigError, match="still has random weights"):
        PublishedDimensions(str(tmp_path), "wav2vec2")(pad(clips()))
