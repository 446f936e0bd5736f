import copy

import pytest
import torch

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import Fittable
from ser_kd.frontends.log_mel import LogMel
from ser_kd.frontends.normalize import NormalizedFrontend


def fit(frontend, *batches):
    frontend.begin_fit()
    for batch in batches:
        frontend.update_fit(batch)
    frontend.end_fit()
    return frontend


@pytest.fixture
def clips(make_voice):
    return [make_voice(samples, seed) for seed, samples in enumerate((4000, 2500, 3100, 1700))]


def test_fitted_features_have_mean_0_and_deviation_1_over_valid_frames(clips, make_inputs):
    frontend = NormalizedFrontend(LogMel())
    assert isinstance(frontend, Fittable)
    assert not frontend.is_fitted
    fit(frontend, make_inputs(*clips))
    assert frontend.is_fitted
    features = frontend(make_inputs(*clips))
    valid = torch.cat([features.frames[row, :length] for row, length in enumerate(features.lengths.tolist())])
    torch.testing.assert_close(valid.mean(dim=0), torch.zeros(64), rtol=0, atol=1e-4)
    torch.testing.assert_close(valid.std(dim=0, correction=0), torch.ones(64), rtol=0, atol=1e-4)


def test_statistics_do_not_depend_on_how_clips_are_batched(clips, make_inputs):
    together = fit(NormalizedFrontend(LogMel()), make_inputs(*clips))
    one_by_one = fit(NormalizedFrontend(LogMel()), *[make_inputs(clip) for clip in clips])
    torch.testing.assert_close(together.mean, one_by_one.mean, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(together.deviation, one_by_one.deviation, rtol=1e-6, atol=1e-5)


def test_fitting_again_forgets_what_was_before(clips, make_inputs):
    frontend = fit(NormalizedFrontend(LogMel()), make_inputs(*clips[:2]))
    again = fit(copy.deepcopy(frontend), make_inputs(*clips[2:]))
    torch.testing.assert_close(again.mean, fit(NormalizedFrontend(LogMel()), make_inputs(*clips[2:])).mean)
    assert not torch.allclose(again.mean, frontend.mean)


def test_unfitted_statistics_are_not_used(clips, make_inputs):
    frontend = NormalizedFrontend(LogMel())
    with pytest.raises(ConfigError, match=r"never fitted(.|\n)*begin_fit"):
        frontend(make_inputs(*clips))
    fit(frontend, make_inputs(*clips)).begin_fit()
    with pytest.raises(ConfigError, match="never fitted"):
        frontend(make_inputs(*clips))


def test_being_fitted_travels_with_the_state(clips, make_inputs):
    inputs = make_inputs(*clips)
    fitted, fresh = fit(NormalizedFrontend(LogMel()), inputs), NormalizedFrontend(LogMel())
    unfitted_state = copy.deepcopy(fresh.state_dict())
    fresh.load_state_dict(fitted.state_dict())
    assert fresh.is_fitted
    assert torch.equal(fresh(inputs).frames, fitted(inputs).frames)
    fresh.load_state_dict(unfitted_state)
    assert not fresh.is_fitted


def test_buffers_that_another_process_sends_are_believed(clips, make_inputs):
    inputs = make_inputs(*clips)
    fitted, other_rank = fit(NormalizedFrontend(LogMel()), inputs), NormalizedFrontend(LogMel())
    for mine, theirs in zip(other_rank.buffers(), fitted.buffers(), strict=True):
        mine.copy_(theirs)
    assert torch.equal(other_rank(inputs).frames, fitted(inputs).frames)


@pytest.mark.parametrize("statistics", ["training", "utterance", "utterance_mean", "none"])
def test_a_clip_is_heard_the_same_alone_and_in_a_batch(statistics, clips, make_inputs, check_alone_equals_batch):
    frontend = fit(NormalizedFrontend(LogMel(), statistics), make_inputs(*clips))
    check_alone_equals_batch(frontend, *clips, tolerance=1e-3)


def test_utterance_statistics_need_no_fitting(clips, make_inputs):
    frontend = NormalizedFrontend(LogMel(), "utterance")
    assert frontend.is_fitted
    features = frontend(make_inputs(*clips))
    valid = features.frames[1, : int(features.lengths[1])]
    torch.testing.assert_close(valid.mean(dim=0), torch.zeros(64), rtol=0, atol=1e-3)
    torch.testing.assert_close(valid.std(dim=0, correction=0), torch.ones(64), rtol=0, atol=1e-3)


def test_the_mean_of_a_clip_alone_scales_nothing(clips, make_inputs):
    plain, centred = (NormalizedFrontend(LogMel(), statistics)(make_inputs(*clips)) for statistics in ("none", "utterance_mean"))
    valid = slice(None, int(plain.lengths[1]))
    moved = plain.frames[1, valid] - centred.frames[1, valid]
    torch.testing.assert_close(moved, plain.frames[1, valid].mean(dim=0).expand_as(moved))


def test_a_constant_coefficient_is_centred_but_not_scaled(make_inputs):
    silence = make_inputs(torch.zeros(2000))
    frontend = fit(NormalizedFrontend(LogMel()), silence)
    assert torch.equal(frontend(silence).frames, torch.zeros(1, 13, 64))
    assert torch.equal(frontend.deviation, torch.ones(64))


def test_fitting_without_a_beginning_or_without_frames_is_refused(clips, make_inputs):
    frontend = NormalizedFrontend(LogMel())
    with pytest.raises(ConfigError, match=r"begin_fit\(\) first"):
        frontend.update_fit(make_inputs(*clips))
    with pytest.raises(ConfigError, match=r"begin_fit\(\) first"):
        frontend.end_fit()
    frontend.begin_fit()
    with pytest.raises(DataError, match="got:      0 frames"):
        frontend.end_fit()


def test_unknown_statistics_are_refused():
    with pytest.raises(ConfigError, match="training, utterance, utterance_mean or none"):
        NormalizedFrontend(LogMel(), "batch")
