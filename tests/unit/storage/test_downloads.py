import json

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.storage.downloads import describe_hub_access, find_file, find_model, is_folder, read_json


def write_model(folder, *files):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "wav2vec2"}')
    for name in files:
        (folder / name).write_bytes(b"weights")
    return folder


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and a function that fills it as a download would."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))

    def fill(name, *files):
        repository = cache / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("c0ffee")
        return write_model(repository / "snapshots" / "c0ffee", *files)

    return fill


def test_folders_and_names_of_the_hub_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(write_model(tmp_path / "models" / "mine").parents[1])
    assert all(map(is_folder, [str(tmp_path), "models/mine", "./nowhere", "/nowhere/at/all", "~/model", "a/b/c"]))
    assert not any(map(is_folder, ["facebook/wav2vec2-base", "gpt2", "models/other"]))


def test_safetensors_come_before_pytorch_and_the_preprocessor_is_optional(tmp_path):
    found = find_model(str(write_model(tmp_path, "pytorch_model.bin", "model.safetensors", "preprocessor_config.json")))
    assert found.weights == (tmp_path / "model.safetensors",)
    assert found.preprocessor == tmp_path / "preprocessor_config.json"
    only_torch = find_model(str(write_model(tmp_path / "second", "pytorch_model.bin")))
    assert only_torch.weights == (tmp_path / "second" / "pytorch_model.bin",)
    assert only_torch.preprocessor is None


def test_weights_in_several_parts_are_found_by_their_index(tmp_path):
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    write_model(tmp_path, *parts)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": parts[0], "b": parts[1], "c": parts[0]}}))
    assert find_model(str(tmp_path)).weights == tuple(tmp_path / part for part in parts)
    (tmp_path / parts[1]).unlink()
    with pytest.raises(DataError, match="with all its parts"):
        find_model(str(tmp_path))


@pytest.mark.parametrize(("prepare", "told"), [(None, "no such folder"), ("empty", "no config.json"), ("config", r"model\.safetensors")])
def test_a_folder_without_a_model_is_refused(tmp_path, prepare, told):
    folder = tmp_path / "model"
    if prepare:
        folder.mkdir()
    if prepare == "config":
        write_model(folder)
    with pytest.raises(DataError, match=told):
        find_model(str(folder))


def test_the_hubs_cache_is_searched_without_asking_the_hub(hub_cache):
    folder = hub_cache("owner/model", "pytorch_model.bin")
    assert find_model("owner/model").weights == (folder / "pytorch_model.bin",)
    assert find_model("owner/other") is None
    assert "HF_HUB_OFFLINE is set" in describe_hub_access()


def test_offline_a_download_finds_what_is_cached_and_gives_none_for_the_rest(hub_cache):
    hub_cache("owner/model", "pytorch_model.bin")
    assert find_model("owner/model", download=True) is not None
    assert find_model("owner/other", download=True) is None


def test_without_a_network_no_time_is_lost(hub_cache, monkeypatch):
    asked = []

    def fail(host, port):
        asked.append((host, port))
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: pytest.fail("the hub was asked"))
    assert find_model("owner/other", download=True) is None
    assert asked == [("huggingface.co", 443)]


def test_an_impossible_name_is_refused(hub_cache):
    with pytest.raises(DataError, match="no such model"):
        find_model("no spaces allowed")


@pytest.mark.parametrize("text", ["{", "[1]", "\ud800".encode("utf-8", "surrogatepass")])
def test_damaged_json_is_named(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=r"config\.json cannot be read"):
        read_json(path)


def test_a_single_file_is_found_beside_the_weights(tmp_path, hub_cache):
    folder = write_model(tmp_path / "mine", "vocab.txt")
    assert find_file(str(folder), "vocab.txt") == folder / "vocab.txt"
    assert find_file(str(folder), "other.txt") is None
    held = hub_cache("owner/name", "vocab.txt")
    assert find_file("owner/name", "vocab.txt") == held / "vocab.txt"
    assert find_file("owner/name", "other.txt") is None
