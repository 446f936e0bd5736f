"""eGeMAPS as openSMILE itself gives it."""

from __future__ import annotations

import pickle
from importlib import metadata

import numpy as np
import pytest

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import FeatureExtractor
from ser_kd.frontends.egemaps import LLD_NAMES, Egemaps, read_feature_names
from tests.conftest import speech_like


def open_plainly(level: str):
    opensmile = pytest.importorskip("opensmile")
    levels = {"lld": opensmile.FeatureLevel.LowLevelDescriptors, "functionals": opensmile.FeatureLevel.Functionals}
    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, levels[level])


@pytest.mark.parametrize(("level", "width"), [("lld", 25), ("functionals", 88)])
def test_names_count_and_values_are_those_of_opensmile(level: str, width: int) -> None:
    smile, extractor = open_plainly(level), Egemaps(level)  # type: ignore[arg-type]
    assert isinstance(extractor, FeatureExtractor)
    assert read_feature_names(extractor.level) == smile.feature_names
    assert extractor.width == len(smile.feature_names) == width
    samples = speech_like(3, 1.3)
    found = extractor.extract(samples, 16_000)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, smile.process_signal(samples, 16_000).to_numpy())


def test_the_descriptors_stand_in_opensmiles_order() -> None:
    assert list(LLD_NAMES) == open_plainly("lld").feature_names


@pytest.mark.parametrize("samples", [960, 961, 1_120, 16_000, 16_159, 16_160, 80_000])
def test_frames_come_every_10_ms(samples: int) -> None:
    pytest.importorskip("opensmile")
    frames = Egemaps().extract(speech_like(1, samples / 16_000 + 0.1)[:samples], 16_000)
    assert len(frames) == (samples - 960) // 160 + 2
    assert samples != 80_000 or len(frames) == 496


@pytest.mark.parametrize("level", ["lld", "functionals"])
def test_a_clip_shorter_than_a_window_is_refused(level: str) -> None:
    pytest.importorskip("opensmile")
    with pytest.raises(DataError, match=r"too short for eGeMAPS(.|\n)*960 samples(.|\n)*959 samples"):
        Egemaps(level).extract(speech_like(0)[:959], 16_000)  # type: ignore[arg-type]


def test_the_version_is_part_of_the_identity_and_it_travels_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opensmile")
    extractor = Egemaps()
    assert pickle.loads(pickle.dumps(extractor)).identity == extractor.identity
    assert extractor.identity != Egemaps("functionals").identity
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    assert Egemaps().identity != extractor.identity


def test_without_opensmile_it_says_what_to_install_and_under_which_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(ConfigError, match=r"opensmile, which is not installed(.|\n)*ser-kd\[opensmile\](.|\n)*licence"):
        Egemaps()


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="Unknown level of eGeMAPS"):
        Egemaps("frames")  # type: ignore[arg-type]
