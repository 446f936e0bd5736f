from dataclasses import replace

import pytest
import torch
from scipy import stats

from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.keyed_random import mix_bits
from ser_kd.transforms.mixup import MixUp, draw_beta


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_beta_has_its_distribution(alpha):
    numbers = draw_beta(mix_bits(torch.arange(4000)), alpha).double().numpy()
    assert ((numbers >= 0) & (numbers <= 1)).all()
    assert stats.kstest(numbers, "beta", args=(alpha, alpha)).pvalue > 0.01


def test_a_tiny_alpha_mixes_almost_nothing_and_never_fails():
    numbers = draw_beta(mix_bits(torch.arange(4000)), 0.02)
    assert torch.isfinite(numbers).all()
    for bound in (0.01, 0.5, 0.99):
        assert (numbers < bound).float().mean().item() == pytest.approx(stats.beta.cdf(bound, 0.02, 0.02), abs=0.03)


def test_by_hand(make_batch):
    batch, transform = make_batch(), MixUp(alpha=1.0, probability=1.0)
    mixed = transform(batch)
    share, partner = (transform.last_parameters[name] for name in ("share", "partner"))
    assert ((share >= 0.5) & (share <= 1.0)).all()
    for row in range(6):
        other, part = int(partner[row]), share[row]
        torch.testing.assert_close(mixed.waveforms[row], part * batch.waveforms[row] + (1 - part) * batch.waveforms[other])
        expected = part * torch.eye(3)[batch.classes[row]] + (1 - part) * torch.eye(3)[batch.classes[other]]
        torch.testing.assert_close(mixed.class_probabilities[row], expected)
        assert mixed.lengths[row] == max(batch.lengths[row], batch.lengths[other])
    assert torch.equal(mixed.classes, batch.classes)
    assert mixed.ids == batch.ids


def test_each_clip_is_a_partner_once_and_never_its_own(make_batch):
    transform = MixUp()
    transform(make_batch(count=30))
    partner = transform.last_parameters["partner"]
    assert sorted(partner.tolist()) == list(range(30))
    assert not (partner == torch.arange(30)).any()


def test_order_in_the_batch_does_not_matter_but_company_does(make_batch):
    batch, transform = make_batch(), MixUp(alpha=1.0, probability=1.0)
    whole = transform(batch).waveforms
    share = transform.last_parameters["share"]
    order = [3, 5, 0, 1, 4, 2]
    parts = {name: getattr(batch, name)[order] for name in ("waveforms", "lengths", "keys", "classes")}
    torch.testing.assert_close(transform(replace(batch, **parts)).waveforms, whole[order])
    torch.testing.assert_close(transform.last_parameters["share"], share[order])


def test_a_clip_alone_stays_as_it_is(make_batch):
    batch = make_batch(count=1)
    mixed = MixUp(probability=1.0)(batch)
    torch.testing.assert_close(mixed.waveforms, batch.waveforms)
    assert mixed.class_probabilities.tolist() == [[1.0, 0.0, 0.0]]


def test_clips_that_are_not_mixed_keep_their_class(make_batch):
    batch = make_batch(classes=[0, 1, 2, -1, 1, 2])
    plain = MixUp(probability=0.0)(batch)
    assert plain.class_probabilities.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert torch.equal(plain.lengths, batch.lengths)


def test_labels_exist_only_where_both_clips_have_them(make_batch):
    dimensions = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
    dimensions[2, 1] = torch.nan
    batch = replace(make_batch(classes=[0, 1, -1, 0, 1, 2]), dimensions=dimensions, dimension_mask=~dimensions.isnan())
    transform = MixUp(alpha=1.0, probability=1.0)
    mixed = transform(batch)
    share, partner = (transform.last_parameters[name] for name in ("share", "partner"))
    touched = {2, partner.tolist().index(2)}
    for row in range(6):
        assert (mixed.class_probabilities[row].sum() == 0) == (row in touched)
        assert mixed.dimension_mask[row].tolist() == [True, row not in touched, True]
        assert mixed.dimensions[row].isnan().tolist() == [False, row in touched, False]
        expected = share[row] * dimensions[row, 0] + (1 - share[row]) * dimensions[partner[row], 0]
        torch.testing.assert_close(mixed.dimensions[row, 0], expected)


def test_what_cannot_be_mixed_is_told(make_batch):
    features = {"egemaps": (torch.zeros(6, 2, 25), torch.full((6,), 2))}
    with pytest.raises(ConfigError, match="egemaps"):
        MixUp()(replace(make_batch(), features=features))
    with pytest.raises(ConfigError, match="classes without names"):
        MixUp()(replace(make_batch(), class_names=()))
    with pytest.raises(ConfigError, match="positive alpha"):
        MixUp(alpha=0.0)
