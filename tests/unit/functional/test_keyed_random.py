import pytest
import torch
from scipy import stats

from ser_kd.functional.keyed_random import derive_keys, draw_normal, draw_uniform, hash_text, mix_bits

KEYS = torch.arange(20_000, dtype=torch.int64)


def as_unsigned(value: torch.Tensor) -> int:
    return int(value) % (1 << 64)


def test_mix_bits_is_the_published_splitmix64():
    # first outputs of the reference generator for the seeds 0 and 1234567
    assert as_unsigned(mix_bits(torch.tensor(0))) == 0xE220A8397B1DCDAF
    assert as_unsigned(mix_bits(torch.tensor(1234567))) == 6457827717110365317
    second_state = torch.tensor(1234567) + -7046029254386353131
    assert as_unsigned(mix_bits(second_state)) == 3203168211198807973


def test_numbers_are_pinned_on_every_machine():
    assert hash_text(0, 1, "clip") == 6912208777345321616
    keys = torch.tensor([hash_text(0, 1, "clip"), -1])
    assert derive_keys(keys, "gain").tolist() == [7041049770139796252, 4239440980997209473]
    uniform = [[0.4673572778701782, 0.5881370306015015, 0.38520920276641846], [0.36624205112457275, 0.7408050298690796, 0.5105620622634888]]
    normal = [[-0.954658567905426, -0.590284526348114], [-0.05514765530824661, -0.9534857273101807]]
    assert draw_uniform(keys, 3).tolist() == uniform
    torch.testing.assert_close(draw_normal(keys, 2), torch.tensor(normal), rtol=0, atol=1e-6)


def test_uniform_equals_whole_numbers_in_python():
    def mix(key: int) -> int:
        bits = (key + 0x9E3779B97F4A7C15) % (1 << 64)
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) % (1 << 64)
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) % (1 << 64)
        return bits ^ (bits >> 31)

    for key in (0, 12345, -9_000_000_000_000_000_000):
        expected = [(mix(mix(key % (1 << 64)) + count * 0x9E3779B97F4A7C15) >> 40) / 2**24 for count in range(4)]
        assert draw_uniform(torch.tensor([key]), 4)[0].tolist() == expected


@pytest.mark.parametrize("parts", [(("ab", "c"), ("a", "bc")), (("a", ""), ("a",)), ((1, 11), (11, 1)), ((0, 1), (1, 0))])
def test_hash_keeps_parts_apart(parts):
    assert hash_text(*parts[0]) != hash_text(*parts[1])


def test_uniform_is_uniform_over_keys_and_over_counts():
    over_keys = draw_uniform(KEYS, 1)[:, 0].double().numpy()
    over_counts = draw_uniform(torch.tensor([7]), 20_000)[0].double().numpy()
    for numbers in (over_keys, over_counts):
        assert stats.kstest(numbers, "uniform").pvalue > 0.01
        assert numbers.min() >= 0.0
        assert numbers.max() < 1.0
        assert abs(stats.pearsonr(numbers[:-1], numbers[1:]).statistic) < 0.03


def test_uniform_fills_the_wanted_range():
    numbers = draw_uniform(KEYS, 1, -4.0, 4.0)
    assert -4.0 <= numbers.min() < -3.99
    assert 3.99 < numbers.max() <= 4.0
    assert numbers.dtype == torch.float32


@pytest.mark.parametrize("count", [1, 2, 5])
def test_normal_is_normal(count):
    numbers = draw_normal(KEYS, count)
    assert numbers.shape == (len(KEYS), count)
    for column in numbers.T:
        assert stats.kstest(column.double().numpy(), "norm").pvalue > 0.005
    if count > 1:
        assert abs(torch.corrcoef(numbers.T)[0, 1].item()) < 0.03


@pytest.mark.parametrize(
    "draw", [lambda keys: draw_uniform(keys, 4), lambda keys: draw_normal(keys, 5), lambda keys: derive_keys(keys, "x")]
)
def test_a_draw_depends_on_its_own_key_alone(draw):
    keys = torch.tensor([3, -8, 1 << 62, 5])
    whole = draw(keys)
    for row, key in enumerate(keys):
        torch.testing.assert_close(draw(key[None])[0], whole[row], rtol=0, atol=0)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(draw(keys[order]), whole[order], rtol=0, atol=0)


def test_more_uniform_numbers_begin_with_the_same_ones():
    torch.testing.assert_close(draw_uniform(KEYS[:4], 9)[:, :5], draw_uniform(KEYS[:4], 5), rtol=0, atol=0)


def test_global_generators_are_neither_read_nor_moved():
    torch.manual_seed(1)
    first, state = draw_normal(KEYS[:3], 4), torch.get_rng_state()
    torch.manual_seed(2)
    torch.testing.assert_close(draw_normal(KEYS[:3], 4), first, rtol=0, atol=0)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_derived_keys_are_independent_of_each_other_and_of_their_parent():
    draws = torch.stack([draw_uniform(keys, 1)[:, 0] for keys in (KEYS, derive_keys(KEYS, "gain"), derive_keys(KEYS, "noise"))])
    correlation = torch.corrcoef(draws) - torch.eye(3)
    assert correlation.abs().max() < 0.03
    assert len(set(derive_keys(KEYS, "gain").tolist())) == len(KEYS)
    there_and_back = derive_keys(derive_keys(KEYS[:9], "a"), "b"), derive_keys(derive_keys(KEYS[:9], "b"), "a")
    assert not (there_and_back[0] == there_and_back[1]).any()
    assert not (derive_keys(derive_keys(KEYS[:9], "a"), "a") == KEYS[:9]).any()


def test_a_longer_normal_draw_begins_with_the_shorter_one():
    torch.testing.assert_close(draw_normal(KEYS, 9)[:, :4], draw_normal(KEYS, 4), rtol=0, atol=0)
