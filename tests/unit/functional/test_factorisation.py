import numpy as np
import pytest
import torch

from ser_kd.functional.factorisation import generalised_divergence, learn_dictionary, update_activations

sklearn = pytest.importorskip("sklearn.decomposition")


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)

    def draw(*size):
        return torch.rand(*size, generator=generator, dtype=torch.float64) + 0.05

    return draw(1, 30, 3) @ draw(1, 3, 40), draw(1, 30, 4), draw(1, 4, 40)


@pytest.mark.filterwarnings("ignore:When update_H=False")  # the library starts from constants: the two meet where both end
def test_fixed_dictionary_ends_where_scikit_learn_ends(parts):
    spectra, dictionary, start = parts
    theirs, _, _ = sklearn.non_negative_factorization(
        spectra[0].T.numpy(), H=dictionary[0].T.numpy().copy(), n_components=4, update_H=False,
        solver="mu", beta_loss="kullback-leibler", max_iter=4000, tol=0.0,
    )  # fmt: skip
    ours = update_activations(spectra, dictionary, start, 4000)
    torch.testing.assert_close(ours, torch.from_numpy(theirs.T)[None], rtol=1e-2, atol=1e-3)
    reached = [float(generalised_divergence(spectra, dictionary @ each)) for each in (start, ours)]
    assert reached[1] < 0.5 * reached[0]


def test_one_update_is_the_formula(parts):
    spectra, dictionary, start = parts
    v, w, h = (part[0].numpy() for part in parts)
    by_hand = h * (w.T @ (v / (w @ h))) / (w.sum(axis=0)[:, None] + 0.3)
    np.testing.assert_allclose(update_activations(spectra, dictionary, start, 1, 0.3)[0].numpy(), by_hand, rtol=1e-6)


def test_divergence_falls_with_every_update(parts):
    spectra, dictionary, activations = parts
    last = torch.inf
    for _ in range(20):
        activations = update_activations(spectra, dictionary, activations)
        now = float(generalised_divergence(spectra, dictionary @ activations))
        assert now <= last + 1e-9
        last = now
    dictionary, activations = learn_dictionary(spectra, dictionary, activations, 200)
    assert float(generalised_divergence(spectra, dictionary @ activations)) < 0.1 * last
    torch.testing.assert_close(dictionary.sum(dim=1), torch.ones(1, 4, dtype=torch.float64))


def test_masked_frames_teach_nothing_and_rows_are_apart(parts):
    spectra, dictionary, start = parts
    mask = torch.arange(40)[None] < 25
    spoilt = torch.where(mask.unsqueeze(1), spectra, 1e3 * torch.ones_like(spectra))
    learnt, activations = learn_dictionary(spoilt, dictionary, start, 20, mask)
    alone, _ = learn_dictionary(spectra[:, :, :25], dictionary, start[:, :, :25], 20)
    torch.testing.assert_close(learnt, alone)
    assert not activations[:, :, 25:].any()
    both, _ = learn_dictionary(torch.cat([spectra, 3 * spectra.flip(1)]), dictionary, start.expand(2, -1, -1), 20)
    torch.testing.assert_close(both[:1], learn_dictionary(spectra, dictionary, start, 20)[0])


def test_zero_spectra_stay_finite(parts):
    _, dictionary, start = parts
    learnt, activations = learn_dictionary(torch.zeros(1, 30, 40, dtype=torch.float64), dictionary, start, 5)
    assert torch.isfinite(learnt).all()
    assert torch.isfinite(activations).all()
