import pytest
import torch
from transformers import WhisperConfig, WhisperModel

from ser_kd.contracts.errors import ConfigError, DataError, ShapeError
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.whisper_encoder import WhisperEncoder
from ser_kd.models.freezing import count_parameters

BASE = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
SMALL = {
    "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_layers": 1,
    "decoder_attention_heads": 2, "decoder_ffn_dim": 24, "vocab_size": 20, "max_source_positions": 30, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip


def small(**more):
    torch.manual_seed(0)
    return WhisperEncoder(weights="random", **{"settings": SMALL, **more})


@pytest.fixture
def make_decibels(make_features):
    def make(lengths, **more):
        features = make_features(lengths, 80, **more)
        return Features(20.0 * features.frames - 40.0, features.lengths)

    return make


def test_the_base_model_has_its_size():
    with torch.device("meta"):
        assert count_parameters(WhisperEncoder(settings=BASE))["total"] == 20_590_592
        assert count_parameters(WhisperEncoder(settings=BASE, freeze="encoder"))["trainable"] == 0


def test_a_clip_gives_the_same_frames_alone_and_in_a_batch(make_decibels):
    encoder = small(hidden_layers="all").eval()
    lengths = [40, 25, 18, 2, 1]
    features = make_decibels(lengths, frames=43)
    together = encoder(features)
    for row, length in enumerate(lengths):
        alone = encoder(Features(features.frames[row : row + 1, :length], torch.tensor([length]))).frames[0]
        valid = together.frame_mask[row]
        assert int(valid.sum()) == len(alone) == max(length // 2, 1)
        torch.testing.assert_close(together.frames[row, valid], alone, rtol=1e-4, atol=1e-5)
        assert not together.frames[row, ~valid].any()
    assert sorted(together.hidden_states) == [0, 1, 2]


def test_padding_as_in_the_paper_fills_30_s_with_each_clips_silence(make_decibels):
    encoder = small(padding="paper").eval()
    features = make_decibels([40, 25])
    together = encoder(features)
    assert together.frames.shape == (2, 30, 16)
    assert together.frame_mask is None
    alone = encoder(Features(features.frames[1:, :25], torch.tensor([25]))).frames
    torch.testing.assert_close(together.frames[1:], alone, rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_what_learns(make_decibels):
    encoder = small(freeze="feature_encoder", gradient_checkpointing=True).train()
    encoder(make_decibels([40, 25])).frames.square().sum().backward()
    learning = {name for name, parameter in encoder.model.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith(("conv1", "conv2", "embed_positions")) for name in learning)
    assert all(encoder.model.get_parameter(name).grad is not None for name in learning)


def test_its_state_makes_the_same_encoder_again(make_decibels):
    encoder, other = small().eval(), WhisperEncoder(settings=SMALL).eval()
    other.load_state_dict(encoder.state_dict())
    features = make_decibels([40, 25])
    assert torch.equal(other(features).frames, encoder(features).frames)


def test_a_checkpoint_of_another_size_or_without_its_tensors_is_refused(tmp_path):
    WhisperModel(WhisperConfig(**SMALL)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"d_model=64.*\n.*d_model=16"):
        WhisperEncoder(str(tmp_path), width=64).load_weights()
    encoder = WhisperEncoder(str(tmp_path))
    del encoder.model.layers[1]
    with pytest.raises(DataError, match=r"left over: layers\.1"):
        encoder.load_weights()


def test_fewer_layers_take_the_lowest(tmp_path):
    theirs = WhisperModel(WhisperConfig(**SMALL))
    theirs.save_pretrained(tmp_path)
    encoder = WhisperEncoder(str(tmp_path), layers=1)
    encoder.load_weights()
    assert torch.equal(encoder.model.layers[0].fc1.weight, theirs.encoder.layers[0].fc1.weight)
    with pytest.raises(ConfigError, match="from 1 to 2"):
        WhisperEncoder(str(tmp_path), layers=3).load_weights()


def test_what_it_cannot_hear_is_told(make_decibels, make_features):
    with pytest.raises(ShapeError, match=r"at most 30 s"):
        small()(make_decibels([62]))
    with pytest.raises(ConfigError, match="log_mel_80_whisper"):
        small(input_width=64)
    with pytest.raises(ConfigError, match="none, feature_encoder, encoder"):
        small(freeze="head")
