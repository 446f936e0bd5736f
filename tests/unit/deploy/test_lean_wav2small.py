import copy

import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.deploy.lean_wav2small import LeanWav2Small, make_lean
from ser_kd.frontends.log_mel import LogMel
from ser_kd.models.encoders.timnet import TimNet
from ser_kd.models.encoders.wav2small import Wav2Small
from ser_kd.models.heads import LinearHead
from ser_kd.models.pooling import ChannelAttentionPooling, MeanPooling
from ser_kd.models.speech_model import SpeechModel


def make_model(last_convolution, pooling=ChannelAttentionPooling):
    torch.manual_seed(0)
    encoder = Wav2Small(10, channels=5, units_before=2, units_behind=2, last_convolution=last_convolution)
    frontend = LogMel(n_mels=10, n_fft=64, hop_samples=32, center=False, top_db=None, normalize_waveform=True)
    model = SpeechModel(encoder, frontend, pooling, LinearHead, classes=4)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-1.0, 1.0)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return model.eval()


@pytest.mark.parametrize("last_convolution", [True, False])
def test_the_lean_form_answers_the_same_wherever_a_clip_ends(last_convolution):
    model = make_model(last_convolution)
    lean = copy.deepcopy(model)
    assert make_lean(lean)
    assert isinstance(lean.encoder, LeanWav2Small)
    assert lean.pooling is None
    # as many frames as 1, 2, 3, … and the longest: even and odd, before and behind the maximum's step
    lengths = torch.tensor([64, 96, 128, 160, 192, 800, 832, 4_000])
    heard = ModelInput(0.1 * torch.randn(len(lengths), 4_000, generator=torch.Generator().manual_seed(1)), lengths)
    with torch.no_grad():
        expected, found = model(heard), lean(heard)
    assert expected.logits.std() > 0.1
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=1e-5, atol=2e-5)


def test_other_models_stay_as_they_are():
    pooled = make_model(True, MeanPooling)
    assert not make_lean(pooled)
    assert isinstance(pooled.encoder, Wav2Small)
    assert not make_lean(SpeechModel(TimNet(10, filters=3, blocks=1), LogMel(n_mels=10), head=LinearHead, classes=2))
