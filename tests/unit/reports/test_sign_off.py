import re

from ser_kd.contracts.records import RunRecord
from ser_kd.reports.model_card import hide_folders, render_model_card
from ser_kd.reports.sign_off import list_reasons, render_sign_off, tell_sign_off
from tests.unit.contracts.test_export_record import make_record
from tests.unit.reports import fake_runs

NAMES = ("calibration_error", "log_loss")
METADATA = {
    "labels": ["x", "y"], "output": "probabilities", "minimum_samples": 1600, "sample_rate_hz": 16_000, "padding": "clips stay whole",
    "licences": ["demo: CC0"], "calibration_temperature": 1.39,
}  # fmt: skip


def make_full_record():
    metrics = {f"{split}/{name}{end}": 0.1 for split in ("validation", "test") for name in NAMES for end in ("", "_before")}
    return make_record(metrics=metrics, metadata=METADATA, command="ser-kd export run=/home/me/runs/fold=0/seed=0 out=/tmp/x")


def test_a_file_that_fails_says_why():
    record = make_full_record()
    assert "NOT SIGNED OFF" not in tell_sign_off(record)
    record.files[0].gates[1].value = 0.9
    assert "NOT SIGNED OFF  model_int8.onnx: argmax_agreement 0.9, wanted at least 0.95" in tell_sign_off(record)
    assert "NOT signed off" in render_sign_off(record)
    record.files[0].gates = []
    assert list_reasons(record.files[0]) == ["no condition was judged: give it bounds (gates)"]


def test_the_page_tells_who_calibrated_and_what_the_temperature_did():
    page = render_sign_off(make_full_record())
    assert "2 training speakers (1, 2)" in page
    assert "divided by 1.390" in page
    assert "| validation | 0.100 | 0.100 | 0.100 | 0.100 |" in page


def test_the_card_tells_protocol_licence_metrics_and_limits(tmp_path):
    folder = fake_runs.write_run(tmp_path, fake_runs.TRIO[2])
    run = RunRecord.from_json((folder / "record.json").read_text())
    card = render_model_card(run, make_full_record())
    assert card.startswith("---\nlibrary_name: onnx\n")
    for told in (run.protocol.fingerprint, "demo: CC0", "ser-kd predict model_int8.onnx", "| UA |", "not what a person feels", "0.10 s"):
        assert told in card
    assert f"{run.metrics['test/ua']:.3f}" in card
    assert "/home/me" not in card
    assert not re.search(r"\n\n\n", card)


def test_a_file_that_may_not_ship_says_so_at_the_top_of_its_card(tmp_path):
    folder = fake_runs.write_run(tmp_path, fake_runs.TRIO[2])
    run = RunRecord.from_json((folder / "record.json").read_text())
    record = make_full_record()
    assert "NOT SIGNED OFF" not in render_model_card(run, record)
    record.files[0].gates[1].value = 0.9
    card = render_model_card(run, record)
    assert card.index("NOT SIGNED OFF") < card.index("## Use")


def test_without_a_temperature_nothing_is_claimed_of_one():
    record = make_full_record()
    record.metrics = {name: value for name, value in record.metrics.items() if not name.endswith("_before")}
    assert "Calibration" not in render_sign_off(record)


def test_folders_of_a_machine_stay_on_it():
    command = "ser-kd x run=/a/b/c 'k=/d/e f' experiments=wav_to_mfcc/ce_kl"
    assert hide_folders(command) == "ser-kd x run=…/c 'k=…/e f' experiments=wav_to_mfcc/ce_kl"
