import pytest
import torch

from ser_kd.contracts.errors import LeakageError
from ser_kd.data.noise_corpora.split_audit import BLOCK_S, _hash_windows, audit_noise_splits

RATE_HZ = 1000
BLOCK = round(BLOCK_S * RATE_HZ)


def noise(seed, samples=10_000):
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def test_parts_of_one_track_share_nothing(make_counting):
    audit = audit_noise_splits(make_counting({"a": noise(0), "b": noise(1)}, sample_rate_hz=RATE_HZ, held_out=["b"]))
    assert audit.shared == []
    audit.raise_if_leaking()
    assert audit.describe() == [
        "noise a: train 0.0 to 5.9 s; validation 6.1 to 7.9 s; test 8.1 to 10.0 s",
        "noise b: train never; validation never; test 8.1 to 10.0 s",
    ]


@pytest.mark.parametrize("shift", [0, 17])
def test_a_copied_stretch_is_found_wherever_it_lies(make_counting, shift):
    first, second = noise(0), noise(1)
    second[9000 : 9000 + 2 * BLOCK] = first[100 + shift : 100 + shift + 2 * BLOCK]
    audit = audit_noise_splits(make_counting({"a": first, "b": second}, sample_rate_hz=RATE_HZ))
    assert audit.shared in [[f"{count} of 38 blocks of test noise b sound in train, too"] for count in (1, 2)]
    with pytest.raises(LeakageError, match="heard in two splits"):
        audit.raise_if_leaking()


def test_a_noise_that_repeats_itself_is_found(make_counting):
    audit = audit_noise_splits(make_counting({"loop": noise(3, 2500).repeat(4)}, sample_rate_hz=RATE_HZ))
    assert "38 of 38 blocks of test noise loop sound in train, too" in audit.shared
    assert "36 of 36 blocks of validation noise loop sound in train, too" in audit.shared
    with pytest.raises(LeakageError):
        audit.raise_if_leaking()


def test_the_papers_way_is_told_and_let_pass(make_counting):
    audit = audit_noise_splits(make_counting({"a": noise(0)}, sample_rate_hz=RATE_HZ, noise_split="paper"))
    assert "200 of 200 blocks of test noise a sound in train, too" in audit.shared
    audit.raise_if_leaking()


def test_silence_is_no_evidence(make_counting):
    track = noise(0)
    track[1000:2000] = track[9000:9500] = 0.0
    audit_noise_splits(make_counting({"a": track}, sample_rate_hz=RATE_HZ)).raise_if_leaking()


def test_rolling_hashes_are_those_of_the_windows():
    clip = noise(5, 300)
    clip[100:180] = 0.25
    factor, modulus = 0x9E3779B97F4A7C15, 2**64
    bits = clip.view(torch.int32).tolist()
    expected = []
    for start in range(300 - 20 + 1):
        window = [value % 2**32 for value in bits[start : start + 20]]
        expected.append(sum(value * pow(factor, n, modulus) for n, value in enumerate(window)) % modulus if len(set(window)) > 1 else 0)
    assert _hash_windows(clip, 20).tolist() == expected
    assert len(_hash_windows(clip[:19], 20)) == 0
