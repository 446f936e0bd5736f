import pytest
import torch
from safetensors.torch import save_file

from ser_kd.contracts.errors import DataError
from ser_kd.storage.weight_files import read_weights


class Harmful:
    def __reduce__(self):
        return (print, ("code ran",))


def test_both_formats_and_several_parts_are_read(tmp_path):
    first, second = {"a": torch.randn(2, 3)}, {"b": torch.arange(4)}
    save_file(first, tmp_path / "first.safetensors")
    torch.save(second, tmp_path / "second.bin")
    read = read_weights([tmp_path / "first.safetensors", tmp_path / "second.bin"])
    assert torch.equal(read["a"], first["a"])
    assert torch.equal(read["b"], second["b"])


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_file_cut_short_is_named(tmp_path, name):
    path = tmp_path / name
    state = {"a": torch.randn(100)}
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=f"{name}.*\n.*cut short"):
        read_weights([path])


def test_a_file_that_holds_code_or_other_things_is_refused(tmp_path, capsys):
    torch.save(Harmful(), tmp_path / "harmful.bin")
    with pytest.raises(DataError, match=r"harmful\.bin"):
        read_weights([tmp_path / "harmful.bin"])
    assert "code ran" not in capsys.readouterr().out
    torch.save({"epoch": 3}, tmp_path / "other.bin")
    with pytest.raises(DataError, match="a dict of other things"):
        read_weights([tmp_path / "other.bin"])
