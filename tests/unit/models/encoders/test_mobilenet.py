import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.mobilenet import MobileNet
from ser_kd.models.freezing import count_parameters
from ser_kd.models.heads import DimensionHead
from ser_kd.models.pooling import ChannelAttentionPooling
from ser_kd.models.pretrained import load_pretrained
from ser_kd.models.speech_model import SpeechModel

SMALL = "mobilenetv3_small_050"


@pytest.mark.parametrize(
    ("architecture", "trunk", "with_head"),
    [("mobilenetv4_conv_small", 1_261_088, 3_109_091), ("mobilenetv3_small_100", 926_720, 1_593_155)],
)
def test_published_sizes(architecture, trunk, with_head):
    encoder = MobileNet(26, architecture)
    model = SpeechModel(encoder, None, ChannelAttentionPooling(encoder.width), DimensionHead)
    assert count_parameters(encoder)["trainable"] == trunk
    assert count_parameters(model)["trainable"] == with_head


def save_checkpoint(folder, architecture=SMALL):
    """Save a network as timm does on the hub: three colours, with its classifier."""
    whole = timm.create_model(architecture, pretrained=False).eval()
    for name, buffer in whole.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-0.3, 0.3)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architecture": architecture, "num_classes": 1000}))
    save_file({name: value.contiguous() for name, value in whole.state_dict().items()}, folder / "model.safetensors")
    return whole


def test_weights_of_images_give_timms_own_answer_to_a_grey_image(tmp_path):
    whole = save_checkpoint(tmp_path / "weights")
    encoder = MobileNet(26, SMALL, str(tmp_path / "weights"), "pretrained").eval()
    frames = torch.randn(1, 77, 26)
    with pytest.raises(ConfigError, match="random weights"):
        encoder(Features(frames, None))
    assert load_pretrained(encoder) == [str(tmp_path / "weights")]
    with torch.no_grad():
        expected = whole.forward_features(frames[:, None].expand(-1, 3, -1, -1)).mean(dim=3).transpose(1, 2)
        torch.testing.assert_close(encoder(Features(frames, None)).frames, expected, rtol=1e-4, atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path):
    save_checkpoint(tmp_path / "weights", "mobilenetv3_small_075")
    with pytest.raises(ConfigError, match="another network"):
        load_pretrained(MobileNet(26, SMALL, str(tmp_path / "weights"), "pretrained"))


def test_weights_that_are_not_here_are_asked_for(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    missing = MobileNet(26, SMALL, "timm/none_of_this_name", "pretrained").missing_weights()
    assert "timm/none_of_this_name" in missing
    with pytest.raises(DataError, match="not on this machine"):
        load_pretrained(MobileNet(26, SMALL, "timm/none_of_this_name", "pretrained"))


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ConfigError, match="no such MobileNet"):
        MobileNet(26, "mobilenetv4_hybrid_medium")
