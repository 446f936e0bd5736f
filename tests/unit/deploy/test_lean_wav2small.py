"""The forms in which a trained Wav2Small is exported, against the one that was trained."""

import copy

import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.deploy.filled_wav2small import FilledWav2Small
from ser_kd.deploy.lean_wav2small import LeanWav2Small
from ser_kd.deploy.measured_sessions import open_session, session_options
from ser_kd.deploy.onnx_export import export_precisions
from ser_kd.deploy.speech_graph import INFERENCE_FORMS, FittedClip, SpeechGraph, has_inference_forms, use_inference_form
from ser_kd.frontends.log_mel import LogMel
from ser_kd.models.encoders.timnet import TimNet
from ser_kd.models.encoders.wav2small import Wav2Small
from ser_kd.models.heads import LinearHead
from ser_kd.models.pooling import ChannelAttentionPooling, MeanPooling
from ser_kd.models.speech_model import SpeechModel


def make_model(last_convolution, pooling=ChannelAttentionPooling, units_before=2):
    torch.manual_seed(0)
    encoder = Wav2Small(10, channels=5, units_before=units_before, units_behind=2, last_convolution=last_convolution)
    frontend = LogMel(n_mels=10, n_fft=64, hop_samples=32, center=False, top_db=None, normalize_waveform=True)
    model = SpeechModel(encoder, frontend, pooling, LinearHead, classes=4)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-1.0, 1.0)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return model.eval()


def make_clips(longest):
    """As many frames as 1, 2, 3, … and the longest, one and two fewer: even and odd, before and behind the maximum's step."""
    lengths = torch.tensor([64, 96, 128, 160, 192, 800, 832, longest - 64, longest - 32, longest])
    return ModelInput(0.1 * torch.randn(len(lengths), longest, generator=torch.Generator().manual_seed(1)), lengths)


@pytest.mark.parametrize("longest", [4_000, 4_032])
@pytest.mark.parametrize("last_convolution", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_each_form_answers_the_same_wherever_a_clip_ends(precision, last_convolution, longest):
    model = make_model(last_convolution)
    other = copy.deepcopy(model)
    use_inference_form(other, precision)
    assert isinstance(other.encoder, INFERENCE_FORMS[precision])
    assert other.pooling is None
    heard = make_clips(longest)
    with torch.no_grad():
        expected, found = model(heard), other(heard)
    assert expected.logits.std() > 0.1
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("piece_tokens", [1, 2, 7, 31, 61, 62, 63, 500])
@pytest.mark.parametrize("units_before", [1, 2, 3])
def test_where_time_is_cut_changes_nothing(piece_tokens, units_before):
    model = make_model(True, units_before=units_before)
    heard = make_clips(4_032)
    features = model.extract(heard)
    with torch.no_grad():
        expected = model(heard).embedding
        found = LeanWav2Small(model.encoder, model.pooling, piece_tokens)(features).embedding
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    "clip",
    [FittedClip(), FittedClip(8_000), FittedClip(8_000, "right"), FittedClip(40_000, "tile")],
    ids=["any", "masked", "right", "tile"],
)
def test_the_file_answers_the_same_for_any_number_of_pieces(clip):
    """An example of less than a second, and of a fixed length, must not fix how many pieces there are."""
    model = make_model(True)
    exported = export_precisions(model, clip, 1.0, ["fp32"], 8_000)["fp32"]
    assert "dynamo" in exported.exporter
    assert "traced" not in exported.exporter
    session = open_session(exported.proto.SerializeToString(), session_options(threads=1))
    plain = SpeechGraph(model, clip, precision=None)
    for longest in (3_000, 16_100, 70_000):
        heard = make_clips(longest)
        with torch.no_grad():
            expected = plain(heard.waveforms, heard.lengths)["embedding"]
        found = session.run(["embedding"], {"waveform": heard.waveforms.numpy(), "length": heard.lengths.numpy()})[0]
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)


def test_a_trace_is_refused_for_it_would_fix_the_number_of_pieces():
    model = make_model(True)
    lean = LeanWav2Small(model.encoder, model.pooling)

    def answer(waveforms):
        return lean(model.extract(ModelInput(waveforms, torch.tensor([4_000])))).embedding

    with pytest.raises(ConfigError, match="clips of one length"):
        torch.jit.trace(answer, torch.randn(1, 4_000))


def test_other_models_and_precisions_stay_as_they_are():
    pooled = make_model(True, MeanPooling)
    use_inference_form(pooled, "fp32")
    assert isinstance(pooled.encoder, Wav2Small)
    assert not has_inference_forms(pooled)
    model = make_model(True)
    assert has_inference_forms(model)
    for precision in ("fp16", None):
        use_inference_form(model, precision)
        assert isinstance(model.encoder, Wav2Small)
    assert not has_inference_forms(SpeechModel(TimNet(10, filters=3, blocks=1), LogMel(n_mels=10), head=LinearHead, classes=2))


def test_channels_of_the_int8_form_fill_the_block():
    model = make_model(True)
    kernels = [unit.weight for unit in FilledWav2Small(model.encoder, model.pooling).before]
    assert [tuple(kernel.shape[:2]) for kernel in kernels] == [(16, 1), (16, 16)]
    assert not kernels[1][5:].any()
    assert not kernels[1][:, 5:].any()
