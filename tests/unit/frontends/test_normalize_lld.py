import copy

import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.frontends.egemaps import LLD_NAMES
from ser_kd.frontends.normalize_lld import AMPLITUDES, PITCH, ZERO_COLUMNS, NormalizedLld
from ser_kd.frontends.precomputed import Precomputed

F1_AMPLITUDE = LLD_NAMES.index("F1amplitudeLogRelF0_sma3nz")


def make_descriptors(lengths=(30, 18), seed=0, behind=0.0):
    """Clips whose frames 5 to 9 are unvoiced, as openSMILE writes it, and which hold nonsense behind their length."""
    generator = torch.Generator().manual_seed(seed)
    frames = 5.0 + 3.0 * torch.randn(len(lengths), max(lengths), 25, generator=generator)
    voiced_only = [PITCH, PITCH + 1, PITCH + 2, PITCH + 3, PITCH + 4, PITCH + 5]
    frames[:, 5:10, voiced_only] = 0.0
    frames[:, 5:10, list(AMPLITUDES)] = -201.0
    frames[:, 12, F1_AMPLITUDE] = 0.0  # the strongest harmonic of F1 is F0 itself
    for row, length in zip(frames, lengths, strict=True):
        row[length:] = behind
    return ModelInput(torch.zeros(len(lengths), 10), torch.tensor([10] * len(lengths)), features={"lld": (frames, torch.tensor(lengths))})


def make(statistics="training", *batches):
    frontend = NormalizedLld(Precomputed("lld", 25), statistics)
    if batches:
        frontend.begin_fit()
        for batch in batches:
            frontend.update_fit(batch)
        frontend.end_fit()
    return frontend


def test_the_columns_are_those_that_are_smoothed_without_zeros():
    smoothed = [column for column, name in enumerate(LLD_NAMES) if name.endswith("nz")]
    assert sorted({*ZERO_COLUMNS, *AMPLITUDES}) == smoothed == list(range(10, 25))
    assert [LLD_NAMES[column][:2] for column in AMPLITUDES] == ["F1", "F2", "F3"]


@pytest.mark.parametrize("behind", [0.0, 99.0])
def test_statistics_are_those_of_voiced_frames(behind):
    inputs = make_descriptors(behind=behind)
    found = make("training", inputs)(inputs)
    valid = torch.cat([found.frames[row, :length] for row, length in enumerate(found.lengths.tolist())])
    raw = torch.cat([inputs.features["lld"][0][row, :length] for row, length in enumerate(found.lengths.tolist())])
    voiced = raw[:, PITCH] != 0
    assert int((~voiced).sum()) == 10
    for column in range(25):
        chosen = valid[voiced, column] if column in (*range(PITCH, PITCH + 6), *AMPLITUDES) else valid[:, column]
        assert abs(float(chosen.mean())) < 1e-4, LLD_NAMES[column]
        assert abs(float(chosen.std(correction=0)) - 1) < 1e-4, LLD_NAMES[column]
    assert not valid[~voiced][:, [*range(PITCH, PITCH + 6), *AMPLITUDES]].any()


def test_a_relative_amplitude_of_0_db_is_a_value_and_a_pitch_of_0_none():
    inputs = make_descriptors()
    found = make("training", inputs)(inputs).frames
    assert (found[:, 12, F1_AMPLITUDE] < -0.5).all()
    assert not found[:, 5:10, PITCH].any()


def test_a_descriptor_that_no_frame_has_stays_as_it_is():
    inputs = make_descriptors()
    inputs.features["lld"][0][..., PITCH + 1] = 0.0
    frontend = make("training", inputs)
    assert (float(frontend.mean[PITCH + 1]), float(frontend.deviation[PITCH + 1])) == (0.0, 1.0)
    assert not frontend(inputs).frames[..., PITCH + 1].any()


def test_statistics_do_not_depend_on_batches_and_travel_with_the_state():
    whole = make_descriptors()
    one_by_one = make("training", whole.take_alone(0), whole.take_alone(1))
    together = make("training", whole)
    torch.testing.assert_close(together.mean, one_by_one.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(together.deviation, one_by_one.deviation, rtol=1e-6, atol=1e-6)
    fresh = make()
    fresh.load_state_dict(copy.deepcopy(together.state_dict()))
    assert torch.equal(fresh(whole).frames, together(whole).frames)


def test_by_utterance_a_clip_is_heard_the_same_alone_and_in_a_batch():
    inputs = make_descriptors(behind=7.0)
    frontend = make("utterance")
    together = frontend(inputs).frames
    for row, length in enumerate((30, 18)):
        torch.testing.assert_close(frontend(inputs.take_alone(row)).frames[0], together[row, :length])
    assert not together[:, 5:10, PITCH].any()
    assert abs(float(together[1, :18, PITCH].sum())) < 1e-3


def test_nothing_to_fit_to_and_other_features_are_refused():
    frontend = make()
    frontend.begin_fit()
    with pytest.raises(DataError, match="no frame to take statistics of"):
        frontend.end_fit()
    with pytest.raises(ConfigError, match="Only the descriptors of eGeMAPS"):
        NormalizedLld(Precomputed("functionals", 88))
