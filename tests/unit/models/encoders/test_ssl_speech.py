import json

import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model, WavLMConfig, WavLMModel

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError, ShapeError
from ser_kd.contracts.outputs import Features
from ser_kd.frontends.mfcc import Mfcc
from ser_kd.frontends.waveform import Waveform
from ser_kd.functional.keyed_random import hash_text
from ser_kd.models.encoders.ssl_speech import SslSpeech
from ser_kd.models.freezing import count_parameters
from ser_kd.models.heads import LinearHead, MlpHead
from ser_kd.models.pooling import MeanPooling
from ser_kd.models.pretrained import load_pretrained
from ser_kd.models.speech_model import SpeechModel

SMALL = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096, "feat_extract_norm": "layer",
    "conv_bias": True, "do_stable_layer_norm": True,
}  # fmt: skip
ARCHITECTURES = ["wav2vec2", "hubert", "wavlm", "data2vec-audio"]


def small(architecture="wav2vec2", **more):
    torch.manual_seed(0)
    return SslSpeech(architecture, weights="random", **{"settings": SMALL, **more})


def save(folder, network=Wav2Vec2Model, config=Wav2Vec2Config, **more):
    torch.manual_seed(1)
    model = network(config(**{**SMALL, **more}))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("settings", "head", "classes", "total"),
    [
        ({}, None, 7, 94_371_712),
        ({}, lambda width, classes: MlpHead(width, classes, hidden_width=768), 7, 94_967_687),
        ({}, MlpHead, 8, 94_968_456),
        ({}, LinearHead, 4, 94_374_788),
        ({"num_hidden_layers": 6}, None, 4, 51_844_480),
        ({"num_hidden_layers": 6}, LinearHead, 4, 51_847_556),
        (LARGE, None, 7, 315_438_720),
        ({**LARGE, "num_hidden_layers": 12}, None, 7, 164_284_032),
    ],
)
def test_published_sizes(settings, head, classes, total):
    with torch.device("meta"):
        model = SpeechModel(SslSpeech(settings=settings), Waveform(), MeanPooling(), head, classes)
    assert count_parameters(model)["total"] == total


@pytest.mark.parametrize(
    ("more", "learning"),
    [
        ({"freeze": "none"}, 94_370_944),
        ({"freeze": "feature_encoder"}, 94_370_944 - 4_200_448),
        ({"freeze": "none", "frozen_blocks": 12}, 0),
        ({"freeze": "encoder"}, 0),
    ],
)
def test_what_learns_of_the_base_model(more, learning):
    with torch.device("meta"):  # without masking the learned vector for masked frames (768) never learns
        assert count_parameters(SslSpeech(**more))["trainable"] == learning


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frames_come_50_times_a_second(architecture, make_features):
    encoder = small(architecture, hidden_layers=[0, 3]).eval()
    encoded = encoder(make_features([16_000, 8_000], 1))
    assert encoded.frames.shape == (2, 49, 24)
    assert encoder.frame_lengths(torch.tensor([16_000, 8_000, 400])).tolist() == [49, 24, 1]
    assert encoded.frame_mask.sum(dim=1).tolist() == [49, 24]
    assert {number: state.shape for number, state in encoded.hidden_states.items()} == {0: (2, 49, 24), 3: (2, 49, 24)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_clip_gives_the_same_frames_alone_and_in_a_batch(architecture, make_features, give_running_statistics):
    encoder = give_running_statistics(small(architecture)).eval()
    lengths = [3000, 1700, 640, 250, 1]  # the last two are shorter than what one frame hears
    features = make_features(lengths, 1, frames=3100)
    together = encoder(features)
    for row, length in enumerate(lengths):
        alone = encoder(Features(features.frames[row : row + 1, :length], torch.tensor([length]))).frames[0]
        valid = together.frame_mask[row]
        assert int(valid.sum()) == len(alone)
        torch.testing.assert_close(together.frames[row, valid], alone, rtol=1e-4, atol=1e-4)


def test_more_padding_changes_no_gradient(make_features):
    features = make_features([2000, 900], 1)
    longer = Features(torch.nn.functional.pad(features.frames, (0, 0, 0, 1500)), features.lengths)
    settings = {**SMALL, "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    gradients = []
    for heard in (features, longer):
        encoder = small(settings=settings, freeze="none").train()
        encoder(heard).frames.square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in encoder.named_parameters() if parameter.requires_grad})
    for name, gradient in gradients[0].items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-4, msg=name)


def test_gradient_checkpointing_changes_no_gradient(make_features):
    features = make_features([2000, 900], 1)
    settings = {**SMALL, "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    gradients = []
    for saves in (False, True):
        encoder = small(settings=settings, gradient_checkpointing=saves, hidden_layers="all").train()
        encoded = encoder(features)
        (encoded.frames.square().sum() + sum(state.sin().sum() for state in encoded.hidden_states.values())).backward()
        gradients.append([parameter.grad for parameter in encoder.parameters() if parameter.requires_grad])
    for plain, saved in zip(*gradients, strict=True):
        torch.testing.assert_close(saved, plain)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_mixed_precision_gives_finite_frames(architecture, make_features):
    encoder = small(architecture).train()
    with torch.autocast("cpu", torch.bfloat16):
        frames = encoder(make_features([2000, 900], 1)).frames
    assert torch.isfinite(frames).all()
    frames.float().sum().backward()


def test_frozen_parts_get_no_gradient_and_stay_in_evaluation(make_features):
    encoder = small(frozen_blocks=2)
    model = SpeechModel(encoder, Waveform(), MeanPooling(), LinearHead, classes=3).train()
    network = encoder.model
    frozen = [network.feature_extractor, network.feature_projection, network.encoder.pos_conv_embed, *network.encoder.layers[:2]]
    assert not any(part.training for part in frozen)
    assert network.encoder.layers[2].training
    features = make_features([2000, 900], 1)
    model(ModelInput(torch.nan_to_num(features.frames[:, :, 0]), features.lengths)).logits.sum().backward()
    assert all(parameter.grad is None for part in frozen for parameter in part.parameters())
    assert all(parameter.grad is not None for parameter in network.encoder.layers[2].parameters())


def test_nothing_is_masked_unless_asked_for_and_then_by_the_keys(make_features):
    features = make_features([16_000, 16_000], 1)
    features.keys = torch.tensor([hash_text(1), hash_text(2)])
    settings = {**SMALL, "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    plain, masking = small(settings=settings).train(), small(settings=settings, mask_time_probability=0.3).train()
    expected = plain(features).frames
    assert torch.equal(plain.eval()(features).frames, expected)
    masked = masking(features).frames
    assert torch.equal(masking(features).frames, masked)
    assert not torch.allclose(masked, expected)
    masked.sum().backward()
    assert masking.model.masked_spec_embed.grad.abs().sum() > 0
    torch.testing.assert_close(masking.eval()(features).frames, expected)
    with pytest.raises(ConfigError, match="random keys"):
        masking.train()(Features(features.frames, features.lengths))


def test_its_state_makes_the_same_encoder_again(make_features):
    encoder, other = small().eval(), SslSpeech(weights="pretrained", settings=SMALL).eval()
    other.load_state_dict(encoder.state_dict())
    features = make_features([2000, 900], 1)
    assert torch.equal(other(features).frames, encoder(features).frames)


def test_sizes_of_ones_own():
    encoder = SslSpeech("wavlm", weights="random", layers=2, width=128, conv_width=16)
    config = encoder.model.config
    assert (encoder.width, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size) == (128, 2, 2, 512)
    assert list(config.conv_dim) == [16] * 7
    assert config.layerdrop == 0.0


def test_a_folder_brings_its_own_sizes_and_leaves_dropout_to_the_configuration(tmp_path, make_features):
    theirs = save(tmp_path, attention_dropout=0.3)
    encoder = SslSpeech("wav2vec2", str(tmp_path), settings={"hidden_size": 768, "hidden_dropout": 0.25})
    assert encoder.width == 24
    assert (encoder.model.config.hidden_dropout, encoder.model.config.attention_dropout) == (0.25, 0.3)
    with pytest.raises(ConfigError, match="still has random weights"):
        encoder(make_features([2000], 1))
    load_pretrained(encoder)
    assert torch.equal(encoder.model.encoder.layers[2].attention.q_proj.weight, theirs.encoder.layers[2].attention.q_proj.weight)
    encoder(make_features([2000], 1))


@pytest.mark.parametrize(("network", "config"), [(Wav2Vec2Model, Wav2Vec2Config), (WavLMModel, WavLMConfig)])
def test_chosen_blocks_fill_ours_from_the_bottom(tmp_path, network, config):
    theirs = save(tmp_path, network, config)
    architecture = config.model_type
    for more, taken in (({"layers": 2}, (0, 1)), ({"blocks": [1, 3]}, (0, 2)), ({"blocks": [2, 3]}, (1, 2))):
        ours = SslSpeech(architecture, str(tmp_path), **more)
        ours.load_weights()
        for block, source in zip(ours.model.encoder.layers, taken, strict=True):
            expected = theirs.encoder.layers[source].state_dict()
            assert all(torch.equal(value, expected[name]) for name, value in block.state_dict().items() if "rel_attn_embed" not in name)
        if architecture == "wavlm":
            kept = ours.model.encoder.layers[0].attention.rel_attn_embed.weight
            assert torch.equal(kept, theirs.encoder.layers[0].attention.rel_attn_embed.weight)


def test_more_blocks_than_the_checkpoint_has_are_refused(tmp_path):
    save(tmp_path)
    for more in ({"layers": 4}, {"blocks": [1, 4]}):
        with pytest.raises(ConfigError, match=r"fewer blocks.*\n.*from 1 to 3"):
            SslSpeech("wav2vec2", str(tmp_path), **more).load_weights()


def test_another_kind_or_size_of_checkpoint_is_refused(tmp_path):
    save(tmp_path / "hubert", HubertModel, HubertConfig)
    with pytest.raises(ConfigError, match=r"model_type wav2vec2\n.*model_type hubert\n.*architecture=hubert"):
        SslSpeech("wav2vec2", str(tmp_path / "hubert"))
    save(tmp_path / "small")
    with pytest.raises(ConfigError, match=r"hidden_size=48.*\n.*hidden_size=24"):
        SslSpeech("wav2vec2", str(tmp_path / "small"), width=48).load_weights()


def test_the_preparation_of_the_checkpoint_is_followed(tmp_path):
    save(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    with pytest.raises(ConfigError, match=r"set the encoder's normalize_waveform=false"):
        SslSpeech("wav2vec2", str(tmp_path)).load_weights()
    SslSpeech("wav2vec2", str(tmp_path), normalize_waveform=False).load_weights()


def test_a_checkpoint_without_the_vector_for_masked_frames_will_do(tmp_path):
    save(tmp_path, mask_time_prob=0.0)
    encoder = SslSpeech("wav2vec2", str(tmp_path), settings={"mask_time_prob": 0.05})
    encoder.load_weights()
    assert encoder.model.masked_spec_embed.shape == (24,)


def test_a_missing_folder_and_a_damaged_file_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no such folder"):
        SslSpeech("wav2vec2", str(tmp_path / "nothing"))
    save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    encoder = SslSpeech("wav2vec2", str(tmp_path))
    with pytest.raises(DataError, match=r"weights cannot be read.*\n.*\n.*model\.safetensors"):
        encoder.load_weights()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"architecture": "wav2vec3"}, "wav2vec2, hubert, wavlm, data2vec-audio"),
        ({"settings": {"hiden_size": 3}}, "did you mean 'hidden_size'"),
        ({"settings": {"hidden_size": "wide"}}, "refuses these settings"),
        ({"settings": {"add_adapter": True}}, "add_adapter are not supported"),
        ({"hidden_layers": [0, 13]}, r"to 12 \(output of the last\)"),
        ({"hidden_layers": "last"}, "'all', or numbers"),
        ({"freeze": "head"}, "none, feature_encoder or encoder"),
        ({"frozen_blocks": 13}, "frozen_blocks from 0 to 12"),
        ({"input_width": 39}, "hears samples, not features"),
    ],
)
def test_what_cannot_be_built_is_told(more, told):
    with torch.device("meta"), pytest.raises(ConfigError, match=told):
        SslSpeech(weights="random", **more)


def test_features_instead_of_samples_are_refused(make_features):
    with pytest.raises(ConfigError, match="waveform front-end"):
        SpeechModel(lambda input_width: small(input_width=input_width), Mfcc(39), MeanPooling())
    with pytest.raises(ShapeError, match="frames of another width"):
        small()(make_features([500], 2))


FOUR = {**SMALL, "num_hidden_layers": 4}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("layer_map", "used"), [("even", (2, 4)), ([1, 3], (1, 3))])
def test_a_shallower_student_starts_bit_for_bit_from_its_teachers_blocks(architecture, layer_map, used, make_features):
    teacher = small(architecture, settings=FOUR, hidden_layers="all").eval()
    torch.manual_seed(5)
    student = SslSpeech(architecture, weights="teacher", settings=SMALL, layers=2, hidden_layers="all").eval()
    assert student.copy_blocks(teacher, layer_map) == used
    own, other = student.model.state_dict(), teacher.model.state_dict()
    relative = "encoder.layers.0.attention.rel_attn_embed.weight"
    for name, value in own.items():
        for mine, theirs in enumerate(used):
            if name.startswith(f"encoder.layers.{mine}.") and name != relative:
                name = name.replace(f"layers.{mine}.", f"layers.{theirs - 1}.", 1)
                break
        assert torch.equal(value, other[name]), name
    # all below the first block is the teacher's too: what enters both is equal
    features = make_features([3000, 1700], 1)
    assert torch.equal(student(features).hidden_states[0], teacher(features).hidden_states[0])


def test_blocks_spread_evenly_over_a_checkpoint(tmp_path):
    saved = save(tmp_path, num_hidden_layers=4).state_dict()
    encoder = SslSpeech(source=str(tmp_path), layers=2, blocks="even")
    load_pretrained(encoder)
    for mine, theirs in ((0, 1), (1, 3)):
        name = "encoder.layers.{}.attention.q_proj.weight"
        assert torch.equal(encoder.model.state_dict()[name.format(mine)], saved[name.format(theirs)])


def test_a_teacher_of_another_kind_or_preparation_gives_no_blocks():
    student = SslSpeech(weights="teacher", settings=SMALL, layers=1)
    with pytest.raises(ConfigError, match="another kind of network"):
        student.copy_blocks(small("hubert"), [3])
    with pytest.raises(ConfigError, match=r"(?s)another size or layout.*hidden_size"):
        student.copy_blocks(small(settings={**SMALL, "hidden_size": 48}), [3])
    with pytest.raises(ConfigError, match="prepare waveforms"):
        student.copy_blocks(small(normalize_waveform=False), [3])
    with pytest.raises(ConfigError, match="same kind"):
        student.copy_blocks(torch.nn.Linear(1, 1), [3])
