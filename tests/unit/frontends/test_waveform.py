import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ShapeError
from ser_kd.frontends.waveform import Waveform


@pytest.mark.parametrize("normalize", [False, True])
def test_a_clip_is_heard_the_same_alone_and_in_a_batch(normalize, make_voice, check_alone_equals_batch):
    check_alone_equals_batch(Waveform(normalize), make_voice(3000), make_voice(1234, 1), behind=float("nan"), tolerance=1e-5)


def test_each_clip_gets_mean_0_and_variance_1_over_its_valid_samples(make_voice, make_inputs):
    features = Waveform(normalize=True)(make_inputs(make_voice(3000) + 0.5, make_voice(2000, 1) - 3.0))
    for row, length in enumerate((3000, 2000)):
        valid = features.frames[row, :length, 0]
        assert float(valid.mean()) == pytest.approx(0.0, abs=1e-5)
        assert float(valid.var(correction=0)) == pytest.approx(1.0, abs=1e-4)
    assert torch.equal(features.frames[1, 2000:], torch.zeros(1000, 1))


def test_samples_pass_unchanged_by_default(make_voice, make_inputs):
    inputs = make_inputs(make_voice(500), make_voice(400, 1))
    features = Waveform()(inputs)
    assert torch.equal(features.frames[..., 0], inputs.waveforms)
    assert features.lengths.tolist() == [500, 400]


def test_without_lengths_every_sample_counts():
    waveforms = torch.randn(2, 300) * 3 + 1
    frames = Waveform(normalize=True)(ModelInput(waveforms, None)).frames
    torch.testing.assert_close(frames.var(dim=1, correction=0), torch.ones(2, 1), rtol=1e-4, atol=1e-4)


def test_a_waveform_without_batch_axis_is_refused():
    with pytest.raises(ShapeError, match=r"\(batch, samples\)"):
        Waveform()(ModelInput(torch.randn(100), torch.tensor([100])))
