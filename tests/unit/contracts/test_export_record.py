import math

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.export_record import ExportedFile, ExportRecord, Gate


def make_record(**changes) -> ExportRecord:
    file = ExportedFile(
        "int8", "model_int8.onnx", 484_000, "torch", 20, "CPUExecutionProvider", 300, "static int8", ["a", "b"], ["1", "2"],
        {"ua": 0.5, "ua_torch": 0.51, "ua_change": -0.01, "max_difference": math.nan},
        [Gate("ua_change", 0.01, 0.01), Gate("argmax_agreement", 0.97, 0.95, at_least=True)], ["a remark"],
    )  # fmt: skip
    values = {"metadata": {"labels": ["x", "y"]}, "metrics": {"test/calibration_error": 0.1}, "files": [file]}
    return ExportRecord("e", "id", 0, 1, "best", **{**values, **changes})


def test_it_is_read_back_as_it_was_written():
    record = make_record()
    found = ExportRecord.from_json(record.to_json())
    assert math.isnan(found.files[0].metrics.pop("max_difference"))
    record.files[0].metrics.pop("max_difference")
    assert found == record
    assert found.signed_off


def test_it_is_signed_off_only_where_every_file_is():
    record = make_record()
    record.files[0].gates[1].value = 0.9
    assert not record.signed_off
    assert record.files[0].gates[1].describe() == "argmax_agreement 0.9, wanted at least 0.95"
    assert not make_record(files=[]).signed_off
    record.files[0].gates = []
    assert not record.signed_off  # what nobody judged is not signed off


def test_a_gate_without_a_value_stays_without_one():
    record = make_record()
    record.files[0].gates[0].value = math.nan
    found = ExportRecord.from_json(record.to_json())
    assert math.isnan(found.files[0].gates[0].value)
    assert not found.signed_off


@pytest.mark.parametrize("text", ["{", '{"schema_version": 1}', '{"schema_version": 9}', "[]"])
def test_what_is_no_record_is_told(text):
    with pytest.raises(DataError, match="export"):
        ExportRecord.from_json(text)
