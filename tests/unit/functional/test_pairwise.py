import math

import pytest
import torch
from sklearn.metrics.pairwise import euclidean_distances
from torch.nn.functional import huber_loss

from ser_kd.contracts.errors import ShapeError
from ser_kd.functional.pairwise import compare_angles, measure_distances, normalize_rows

TRIANGLE = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
GENERATOR = torch.Generator().manual_seed(3)
CLOUD = torch.randn(12, 20, generator=GENERATOR)


def test_distances_of_a_triangle():
    torch.testing.assert_close(measure_distances(TRIANGLE), torch.tensor([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]]))


def plain_cosines(embeddings):
    """Cosines (j, i, k) of unit differences in float64."""
    wide = embeddings.double()
    unit = torch.nn.functional.normalize(wide[None] - wide[:, None], dim=2)  # [j, i] = e_ij
    return unit @ unit.transpose(1, 2)


def plain_comparison(student, teacher):
    return huber_loss(plain_cosines(student), plain_cosines(teacher).detach(), reduction="sum")


def test_angles_of_a_triangle():
    # on a line all angles are 0 or 180 degrees; the triangle has cosines 0, 3/5 and 4/5
    line = torch.tensor([[0.0], [1.0], [2.0]])  # at its ends cosine 1, in the middle -1
    by_hand = 2 * (0.5 * (1 - 0) ** 2 + 1.6 - 0.5 + 0.5 * (1 - 4 / 5) ** 2)
    assert compare_angles(TRIANGLE, line).item() == pytest.approx(by_hand)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_distances_are_those_of_torch_and_scikit_learn(offset):
    far = CLOUD + offset
    found = measure_distances(far)
    torch.testing.assert_close(found, torch.cdist(far, far, compute_mode="donot_use_mm_for_euclid_dist"), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, torch.tensor(euclidean_distances(far.double().numpy())).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("clips", [3, 12, 60])  # 60 are more than one sweep
def test_comparison_and_gradient_are_those_of_unit_differences_also_of_near_neighbours(clips):
    generator = torch.Generator().manual_seed(clips)
    near, teacher = torch.randn(clips, 20, generator=generator), torch.randn(clips, 7, generator=generator)
    near[1] = near[0] + 1e-4 * near[2]
    found, plain = near.clone().requires_grad_(), near.double().requires_grad_()
    value, expected = compare_angles(found, teacher), plain_comparison(plain, teacher)
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(found.grad, plain.grad.float(), rtol=1e-3, atol=1e-5 * plain.grad.abs().max().item())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("rows", [[0, 0, 1, 2], [0, 0, 0, 0]])
def test_identical_embeddings_have_finite_values_and_gradients(rows, scale):
    embeddings = (CLOUD[rows] * scale).requires_grad_()
    distances, angles = measure_distances(embeddings), compare_angles(embeddings, CLOUD[:4])
    assert distances[0, 1] < 1e-7 * scale + 2e-6
    assert distances[0, 1] > 0
    assert distances[1, 0] > 0
    (distances.square().sum() + distances.sum() + angles).backward()
    assert torch.isfinite(embeddings.grad).all()
    if rows == [0, 0, 0, 0]:
        assert embeddings.grad.abs().max() < 1e-6
        torch.testing.assert_close(angles, huber_loss(torch.zeros(4, 4, 4), plain_cosines(CLOUD[:4]).float(), reduction="sum"))
        assert distances[0, 1].item() == pytest.approx(1e-6)


def test_gradients_are_those_of_numbers():
    embeddings = CLOUD[:5, :4].double().requires_grad_()
    assert torch.autograd.gradcheck(measure_distances, embeddings)
    assert torch.autograd.gradcheck(lambda rows: compare_angles(rows, CLOUD[:5].double()), embeddings)


@pytest.mark.parametrize("measure", [measure_distances, lambda rows: compare_angles(rows, CLOUD)])
def test_precision_of_the_answer(measure):
    assert measure(CLOUD.double()).dtype == torch.float64
    for low in (CLOUD.half(), CLOUD.bfloat16()):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = measure(low)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, measure(low.float()))


def test_unit_rows():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-30, 4e-30]], requires_grad=True)
    unit = normalize_rows(rows)
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.6, 0.8]]))
    unit[:2].sum().backward()
    torch.testing.assert_close(rows.grad, torch.tensor([[(1 - 0.6 * 1.4) / 5, (1 - 0.8 * 1.4) / 5], [0.0, 0.0], [0.0, 0.0]]))
    assert torch.autograd.gradcheck(normalize_rows, CLOUD[:3].double().requires_grad_())
    assert math.isfinite(normalize_rows(torch.full((1, 4), 1e30)).sum())


def test_shape():
    for measure in (measure_distances, lambda rows: compare_angles(CLOUD, rows)):
        with pytest.raises(ShapeError, match="wrong number of axes"):
            measure(torch.zeros(2, 3, 4))
