import math

import pytest
import torch
from sklearn.metrics.pairwise import euclidean_distances

from ser_kd.contracts.errors import ShapeError
from ser_kd.functional.pairwise import measure_angle_cosines, measure_distances, normalize_rows

TRIANGLE = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
GENERATOR = torch.Generator().manual_seed(3)
CLOUD = torch.randn(12, 20, generator=GENERATOR)


def test_distances_of_a_triangle():
    torch.testing.assert_close(measure_distances(TRIANGLE), torch.tensor([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]]))


def test_angles_of_a_triangle():
    cosines = measure_angle_cosines(TRIANGLE)
    assert cosines[0, 1, 2].item() == pytest.approx(0.0, abs=1e-6)  # the right angle is at the first corner
    assert cosines[1, 0, 2].item() == pytest.approx(3 / 5)
    assert cosines[2, 0, 1].item() == pytest.approx(4 / 5)
    for corner in range(3):
        other = (corner + 1) % 3
        assert cosines[corner, other, other].item() == pytest.approx(1.0)
        assert cosines[corner, corner].abs().max() == cosines[corner, :, corner].abs().max() == 0.0


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_distances_are_those_of_torch_and_scikit_learn(offset):
    far = CLOUD + offset
    found = measure_distances(far)
    torch.testing.assert_close(found, torch.cdist(far, far, compute_mode="donot_use_mm_for_euclid_dist"), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, torch.tensor(euclidean_distances(far.double().numpy())).float(), rtol=1e-5, atol=1e-5)


def test_angles_are_those_of_unit_differences_also_of_near_neighbours():
    near = CLOUD.clone()
    near[1] = near[0] + 1e-4 * CLOUD[5]
    unit = torch.nn.functional.normalize(near[None] - near[:, None], dim=2)  # [j, i] = e_ij
    torch.testing.assert_close(measure_angle_cosines(near), unit @ unit.transpose(1, 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("rows", [[0, 0, 1, 2], [0, 0, 0, 0]])
def test_identical_embeddings_have_finite_values_and_gradients(rows, scale):
    embeddings = (CLOUD[rows] * scale).requires_grad_()
    distances, cosines = measure_distances(embeddings), measure_angle_cosines(embeddings)
    assert distances[0, 1] < 1e-7 * scale + 2e-6
    assert distances[0, 1] > 0
    assert distances[1, 0] > 0
    assert cosines[0, 1].abs().max() == cosines[1, :, 0].abs().max() == 0.0
    (distances.square().sum() + distances.sum() + cosines.sum()).backward()
    assert torch.isfinite(embeddings.grad).all()
    if rows == [0, 0, 0, 0]:
        assert embeddings.grad.abs().max() < 1e-6
        assert distances[0, 1].item() == pytest.approx(1e-6)


def test_gradients_are_those_of_numbers():
    embeddings = CLOUD[:5, :4].double().requires_grad_()
    assert torch.autograd.gradcheck(measure_distances, embeddings)
    assert torch.autograd.gradcheck(measure_angle_cosines, embeddings)


@pytest.mark.parametrize("measure", [measure_distances, measure_angle_cosines])
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
    for measure in (measure_distances, measure_angle_cosines):
        with pytest.raises(ShapeError, match="wrong number of axes"):
            measure(torch.zeros(2, 3, 4))
