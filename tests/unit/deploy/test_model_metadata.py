import dataclasses

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.deploy.model_metadata import ModelMetadata

METADATA = ModelMetadata(
    output="probabilities", labels=["angry", "happy", "sad"], dimensions=[], sample_rate_hz=16_000, minimum_samples=1600,
    window_samples=84_351, padding="centred in 84,351 samples", crops=True, precision="fp32", calibration_temperature=1.25,
    experiment="wav_to_mfcc/ce_kl", identity="d98f54", fold=0, seed=0, corpus="ravdess", protocol="ravdess_actors5",
    protocol_fingerprint="d9e3a408e093",
    teachers=["wav_to_mfcc/teacher_scratch"], licences=["RAVDESS: CC BY-NC-SA 4.0"], exporter="torch.onnx", opset=20, ser_kd="0.1.0",
)  # fmt: skip


def test_what_is_written_is_read_back():
    properties = METADATA.to_properties() | {"someone_elses": "key"}
    assert ModelMetadata.from_properties(properties, "m.onnx") == METADATA
    assert METADATA.answers == ["angry", "happy", "sad"]


def test_a_model_of_dimensions_names_them():
    metadata = dataclasses.replace(METADATA, output="dimensions", labels=[], dimensions=["arousal", "dominance", "valence"])
    assert ModelMetadata.from_properties(metadata.to_properties(), "m.onnx").answers == ["arousal", "dominance", "valence"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ser_kd.labels": '["angry", '}, "ser_kd.labels is"),
        ({"ser_kd.labels": '"angry"'}, "ser_kd.labels is 'angry'"),
        ({"ser_kd.labels": '["angry", "angry"]'}, "names angry, angry"),
        ({"ser_kd.labels": "[]"}, "0 names"),
        ({"ser_kd.sample_rate_hz": "0"}, "sample_rate_hz is 0"),
        ({"ser_kd.calibration_temperature": "-1"}, "calibration_temperature is -1"),
        ({"ser_kd.precision": '"int4"'}, "int4"),
        ({"ser_kd.minimum_samples": "90000"}, "minimum_samples 90000 above window_samples 84351"),
        ({"ser_kd.crops": '"yes"'}, "crops is 'yes'"),
        ({"ser_kd.surprise": "1"}, "surprise"),
        ({"ser_kd.identity": None}, "identity"),
    ],
)
def test_damaged_metadata_is_told(change, named):
    properties = METADATA.to_properties() | change
    with pytest.raises(DataError, match="damaged") as told:
        ModelMetadata.from_properties({name: value for name, value in properties.items() if value is not None}, "m.onnx")
    assert named in str(told.value)
    assert "m.onnx" in str(told.value)


def test_dimensions_are_of_the_three_we_know():
    learned = dataclasses.replace(METADATA, output="dimensions", labels=[], dimensions=["valence", "arousal"])
    assert ModelMetadata.from_properties(learned.to_properties(), "m.onnx").answers == ["valence", "arousal"]
    for names in (["arousal", "power"], ["arousal", "arousal"], []):
        metadata = dataclasses.replace(learned, dimensions=names)
        with pytest.raises(DataError, match=", ".join(names) or "0 names"):
            ModelMetadata.from_properties(metadata.to_properties(), "m.onnx")


def test_a_foreign_file_and_another_version_are_told_apart():
    with pytest.raises(DataError, match="no model of ser_kd"):
        ModelMetadata.from_properties({"producer": "others"}, "m.onnx")
    with pytest.raises(DataError, match="another version"):
        ModelMetadata.from_properties(METADATA.to_properties() | {"ser_kd.metadata_version": "2"}, "m.onnx")


def test_as_many_outputs_as_names():
    METADATA.check_width(3, "m.onnx")
    with pytest.raises(DataError, match="3 names"):
        METADATA.check_width(7, "m.onnx")
