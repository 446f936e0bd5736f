import pytest

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.deploy.hub import push_files


@pytest.fixture
def export(tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    for name in ("model_fp32.onnx", "README.md", "private.txt"):
        (folder / name).write_text(name)
    return folder


def test_files_are_copied_to_a_folder(export, tmp_path):
    target = tmp_path / "hub"
    target.mkdir()
    assert push_files(export, ["model_fp32.onnx", "README.md"], str(target)) == str(target)
    assert sorted(path.name for path in target.iterdir()) == ["README.md", "model_fp32.onnx"]
    assert (target / "README.md").read_text() == "README.md"


@pytest.mark.parametrize("target", ["nowhere", "/nowhere/at/all", "a/b/c", "./missing/folder"])
def test_a_target_that_is_neither_is_told(export, target):
    with pytest.raises(ConfigError, match="nowhere to push"):
        push_files(export, ["README.md"], target)


def test_only_the_named_files_are_uploaded(export, monkeypatch):
    calls = []

    class Hub:
        def create_repo(self, name, **words):
            calls.append(("create", name, words))

        def upload_folder(self, **words):
            calls.append(("upload", words))

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert push_files(export, ["model_fp32.onnx", "README.md"], "me/model").endswith("me/model")
    assert calls[0] == ("create", "me/model", {"private": True, "exist_ok": True})
    assert calls[1][1]["allow_patterns"] == ["model_fp32.onnx", "README.md"]
    assert calls[1][1]["repo_id"] == "me/model"


def test_a_hub_that_cannot_be_reached_is_told(export, monkeypatch):
    class Hub:
        def create_repo(self, *_, **__):
            raise ConnectionError("offline mode is enabled")

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    with pytest.raises(DataError, match="offline mode"):
        push_files(export, ["README.md"], "me/model")


def test_a_folder_of_other_things_is_left_alone(export, tmp_path):
    target = tmp_path / "project"
    target.mkdir()
    (target / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        push_files(export, ["README.md"], str(target))
    assert (target / "README.md").read_text() == "mine"
    (target / "sign_off.json").write_text("an earlier export")
    push_files(export, ["README.md"], str(target))
    assert (target / "README.md").read_text() == "README.md"
