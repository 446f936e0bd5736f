"""What is wrong with a machine is found, with what to do about it."""

from types import SimpleNamespace

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.tasks import doctor


@pytest.fixture
def installed(monkeypatch):
    """Pretends that exactly these packages are installed: ``installed({name: version})``."""

    def pretend(versions):
        monkeypatch.setattr(doctor, "installed_version", versions.get)

    return pretend


def failures(findings):
    return {name: found for state, name, found in findings if state == "FAIL"}


@pytest.mark.parametrize(("looks", "code"), [(["ok", "warn"], 0), (["ok", "FAIL"], 2)])
def test_exit_code(monkeypatch, capsys, looks, code):
    monkeypatch.setattr(doctor, "LOOKS", (lambda: [(state, "thing", "found") for state in looks],))
    assert doctor.run([]) == code
    assert f"{looks.count('FAIL')} to mend, {looks.count('warn')} to know about" in capsys.readouterr().out


def test_no_words():
    with pytest.raises(ConfigError, match="takes no words"):
        doctor.run(["now"])


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_the_malicious_lightning_is_named(installed, version):
    installed({"lightning": version})
    assert "malicious" in failures(doctor.look_at_conflicts())["lightning"]


def test_a_sound_lightning_passes(installed):
    installed({"lightning": "2.6.4", "onnxruntime": "1.31"})
    assert failures(doctor.look_at_conflicts()) == {}


def test_both_onnxruntimes_are_a_conflict(installed):
    installed({"onnxruntime": "1.31", "onnxruntime-gpu": "1.31"})
    assert "pip uninstall" in failures(doctor.look_at_conflicts())["onnxruntime"]


@pytest.mark.parametrize(
    ("versions", "unfit"),
    [
        ({"torch": "2.11.0", "torchaudio": "2.11.0", "torchvision": "0.26.0"}, []),
        ({"torch": "2.12.1+cu128", "torchaudio": "2.12.0+cu128", "torchvision": "0.27.1+cu128"}, []),
        ({"torch": "2.11.0", "torchaudio": "2.10.0", "torchvision": "0.26.0"}, ["torchaudio"]),
        ({"torch": "2.11.0", "torchaudio": "2.11.0", "torchvision": "0.25.0"}, ["torchvision"]),
        ({"torch": "2.11.0+cpu", "torchaudio": "2.11.0+cu128", "torchvision": "0.26.0+cpu"}, ["torchaudio"]),
        ({"torch": "2.11.0"}, []),
    ],
)
def test_torch_and_its_companions(versions, unfit):
    assert list(doctor.find_unfit_companions(versions)) == unfit


def test_a_companion_that_does_not_load_is_told(installed, monkeypatch):
    installed({"torch": "2.11.0", "torchaudio": "2.11.0"})
    monkeypatch.setattr(doctor, "_import_fault", lambda name: "OSError: undefined symbol" if name == "torchaudio" else "")
    monkeypatch.setattr(doctor, "_look_at_accelerator", lambda torch: ("ok", "accelerator", "none"))
    assert "undefined symbol" in failures(doctor.look_at_torch())["torchaudio"]


def test_without_torch_nothing_is_said_about_it(installed):
    installed({})
    assert list(doctor.look_at_torch()) == []


def test_old_packages_are_told_with_the_command(installed, monkeypatch):
    monkeypatch.setattr(doctor, "read_requirements", lambda: {"": {"numpy": "1.26"}, "train": {"torch": "2.11", "timm": "1.0"}})
    installed({"numpy": "2.0", "torch": "2.9"})
    found = failures(doctor.look_at_extras())
    assert list(found) == ["torch"]
    assert 'pip install "torch>=2.11"' in found["torch"]


def test_incomplete_extras_are_told(monkeypatch):
    missing = {"train": ["torch"], "demo": ["espeakng_loader"]}
    monkeypatch.setattr(doctor, "find_missing_modules", lambda extra: missing.get(extra, []))
    found = {name: (state, text) for state, name, text in doctor.look_at_extras()}
    assert found["extra train"][0] == "warn"
    assert "torch missing" in found["extra train"][1]
    assert found["extra demo"][0] == "ok"
    assert 'pip install "ser-kd[demo]"' in found["extra demo"][1]


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    state, _, found = doctor.look_at_folder("runs folder", tmp_path / "file" / "runs", "SER_KD_RUNS")
    assert state == "FAIL"
    assert "SER_KD_RUNS=/folder" in found


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above(tmp_path):
    assert doctor.look_at_folder("runs folder", tmp_path / "a" / "b", "SER_KD_RUNS")[0] == "ok"


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e8))
    state, _, found = doctor.look_at_folder("cache folder", tmp_path, "SER_KD_CACHE")
    assert state == "warn"
    assert "0.1 GB left" in found


def test_the_environment_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("SER_KD_RAVDESS", str(tmp_path / "nowhere"))
    found = {name: (state, text) for state, name, text in doctor.look_at_surroundings()}
    assert "offline (HF_HUB_OFFLINE)" in found["model hub"][1]
    assert found["W&B"][1] == "WANDB_MODE=disabled"
    assert found["RAVDESS"][0] == "warn"


def test_this_machine_passes_the_light_looks():
    findings = [*doctor.look_at_installation(), *doctor.look_at_audio(), *doctor.look_at_machine()]
    assert failures(findings) == {}
    assert {"python", "configuration", "audio files", "memory"} <= {name for _, name, _ in findings}
