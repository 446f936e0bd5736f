import numpy as np
import pytest
import soundfile
from scipy.io import savemat

from ser_kd.contracts.errors import DataError
from ser_kd.data.noise_corpora.noisex92 import PAPER_TYPES, RATE_HZ, TYPES, Noisex92
from ser_kd.storage.audio_files import resample


def noise(seed, seconds=5.0):
    return (4000 * np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ))).clip(-32_768, 32_767).astype(np.int16)


def write(folder, name, seed, seconds=5.0, rate_hz=RATE_HZ):
    samples = noise(seed, seconds)
    if name.endswith(".mat"):
        savemat(folder / name, {name.removesuffix(".mat"): samples[:, None]})
    else:
        soundfile.write(folder / name, samples, rate_hz, subtype="PCM_16")


@pytest.mark.filterwarnings("ignore:.*not 235 s")
def test_wav_and_mat_are_the_same_noise(tmp_path):
    for folder, ending in (("a", "wav"), ("b", "mat")):
        (tmp_path / folder).mkdir()
        for seed, name in enumerate(PAPER_TYPES):
            write(tmp_path / folder, f"{name}.{ending}", seed)
    banks = [Noisex92(tmp_path / folder, check_duration=False) for folder in ("a", "b")]
    with pytest.warns(UserWarning, match=r"volvo\.wav lasts 5\.00 s, not 235 s"):
        wav = banks[0].bank("train")
    with pytest.warns(UserWarning, match="lasts 5"):
        mat = banks[1].bank("train")
    assert wav.types == mat.types == PAPER_TYPES == banks[0].types
    for first, second in zip(wav.clips(), mat.clips(), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)
    expected = resample((noise(1) / 32_768).astype(np.float32), RATE_HZ, 16_000)
    np.testing.assert_allclose(wav.clips()[1], expected[: len(wav.clips()[1])], atol=1e-6)
    assert [part.end_s for part in wav.parts] == pytest.approx([2.95] * 5, abs=1e-3)


def test_files_are_found_by_other_names_in_any_folder(tmp_path):
    (tmp_path / "NoiseX-92").mkdir()
    for name in ("F-16.wav", "Factory.WAV", "hf_channel.wav", "white noise.wav", "unknown.wav"):
        write(tmp_path / "NoiseX-92", name, 0, 0.1)
    corpus = Noisex92(tmp_path, types=["f16", "factory", "HF-channel", "white"], held_out=["F16"])
    assert corpus.types == ("f16", "factory1", "hfchannel", "white")
    assert corpus.held_out == ("f16",)
    assert len(TYPES) == 15
    words = [word for name, others in TYPES.items() for word in (name, *others)]
    assert len(set(words)) == len(words)


def test_the_published_duration_is_asked_for(tmp_path):
    write(tmp_path, "volvo.wav", 0, 235.0)
    corpus = Noisex92(tmp_path, types=["volvo"])
    (part,) = corpus.bank("test").parts
    assert (part.start_s, part.end_s) == pytest.approx((188.5, 235.0), abs=1e-3)
    write(tmp_path, "white.wav", 0, 5.0)
    with pytest.raises(DataError, match="does not last as long") as fault:
        Noisex92(tmp_path, types=["white"]).bank("train")
    assert "5.00 s" in fault.value.got


def test_a_wrong_rate_is_refused(tmp_path):
    write(tmp_path, "pink.wav", 0, 1.0, rate_hz=44_100)
    with pytest.raises(DataError, match="another sample rate") as fault:
        Noisex92(tmp_path, types=["pink"], check_duration=False).bank("train")
    assert "44100 Hz" in fault.value.got


def test_missing_types_are_named_with_where_to_get_them(tmp_path):
    write(tmp_path, "babble.wav", 0, 0.1)
    with pytest.raises(DataError, match="missing: f16, factory1, hfchannel, volvo") as fault:
        Noisex92(tmp_path)
    assert "it holds babble" in fault.value.got
    assert "spib" in fault.value.remedy
    with pytest.raises(DataError, match="missing") as fault:
        Noisex92(tmp_path / "nowhere")
    assert "no such folder" in fault.value.got
