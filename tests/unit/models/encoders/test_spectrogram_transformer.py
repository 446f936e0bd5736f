import pytest
import torch

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.models.encoders.spectrogram_resnet import SpectrogramResnet
from ser_kd.models.encoders.spectrogram_transformer import SpectrogramTransformer

SMALL = {"width": 8, "heads": 2}


def test_it_is_torchs_own_pre_norm_layer(make_features):
    encoder = SpectrogramTransformer(5, **SMALL, layers=1, hidden_layers="all").eval()
    encoded = encoder(make_features([20, 11], 5))
    assert encoded.frames.shape == (2, 5, 8)
    assert encoded.frame_mask.sum(1).tolist() == [5, 3]
    (block,) = encoder.blocks
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    names = {
        "attention_norm": "norm1", "mlp_norm": "norm2", "mlp_input": "linear1", "mlp_output": "linear2",
        "attention_output": "self_attn.out_proj",
    }  # fmt: skip
    state = {}
    for name, value in block.state_dict().items():
        part, _, kind = name.partition(".")
        state[f"self_attn.in_proj_{kind}" if part == "attention_input" else f"{names[part]}.{kind}"] = value
    theirs.load_state_dict(state)
    found = theirs(encoded.hidden_states[0], src_key_padding_mask=~encoded.frame_mask)
    torch.testing.assert_close(encoded.hidden_states[1], found * encoded.frame_mask.unsqueeze(2), rtol=1e-5, atol=1e-5)


def test_two_of_four_blocks_start_bit_for_bit_as_the_teachers():
    teacher, student = (SpectrogramTransformer(5, **SMALL, layers=layers) for layers in (4, 2))
    assert student.copy_blocks(teacher, "even") == (2, 4)
    state, other = student.state_dict(), teacher.state_dict()
    for name, value in state.items():
        for mine, theirs in (("blocks.0.", "blocks.1."), ("blocks.1.", "blocks.3.")):
            if name.startswith(mine):
                name = name.replace(mine, theirs, 1)
                break
        assert torch.equal(value, other[name]), name


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="Only a network of the same kind"):
        SpectrogramTransformer(5, **SMALL).copy_blocks(SpectrogramResnet(5), "even")
    with pytest.raises(ConfigError, match=r"(?s)compute something else.*heads=2, as the teacher"):
        SpectrogramTransformer(5, width=8, heads=1).copy_blocks(SpectrogramTransformer(5, width=8, heads=2), "even")
    with pytest.raises(DataError, match="of another shape"):
        SpectrogramTransformer(5, **SMALL, layers=2).copy_blocks(SpectrogramTransformer(5, **{**SMALL, "width": 16}, layers=4), "even")
    with pytest.raises(ConfigError, match="cannot be built"):
        SpectrogramTransformer(5, layers=0)
    with pytest.raises(ConfigError, match="heads that divide"):
        SpectrogramTransformer(5, width=8, heads=3)
    with pytest.raises(ConfigError, match="no such hidden state"):
        SpectrogramTransformer(5, **SMALL, layers=2, hidden_layers=[3])
