"""A pretrained speech model in the hub's format becomes a teacher, and the teacher distils; without weights there is one clear message."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ser_kd.contracts.records import RunRecord
from tests.flows.conftest import SMALL, only_run

pytestmark = pytest.mark.slow

WORDS = ["corpus=demo", *SMALL, "trainer.max_epochs=1", "datamodule.clip_samples=12000"]


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny wav2vec 2.0 as save_pretrained writes it."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    folder = tmp_path_factory.mktemp("tiny-wav2vec2")
    torch.manual_seed(7)
    config = Wav2Vec2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, conv_dim=[16] * 7)
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def pretrained(folder: Path) -> list[str]:
    sizes = [f"student.encoder.{key}=null" for key in ("layers", "width", "conv_width")]
    return ["student=wav2vec2_base", "student.encoder.weights=pretrained", f"student.encoder.source={folder}", *sizes]


def test_a_pretrained_model_is_loaded_trained_and_distilled(ser_kd, hub_folder: Path, workplace: Path) -> None:
    # With a learning rate of zero the frozen weights and all others are still those of the folder after training.
    code, _, errors = ser_kd("train", *WORDS, *pretrained(hub_folder), "experiment=ssl_teacher", "optimizer.lr=0.0")
    assert code == 0, errors
    folder = only_run(workplace, "ssl_teacher")
    record = RunRecord.from_json((folder / "record.json").read_text())
    assert f"started from the pretrained weights {hub_folder}" in record.notes
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    from safetensors.torch import load_file

    saved = load_file(hub_folder / "model.safetensors")
    trunk = {name.removeprefix("student.encoder.model."): value for name, value in state.items() if "encoder.model." in name}
    assert set(trunk) == set(saved)
    assert all(torch.equal(value, saved[name]) for name, value in trunk.items())
    teacher = ["teacher=finished_run", "teacher.experiment=ssl_teacher", "objective=ce_kl"]
    code, _, errors = ser_kd("train", *WORDS, "student=timnet_39", *teacher, "experiment=ssl_distilled")
    assert code == 0, errors
    distilled = RunRecord.from_json((only_run(workplace, "ssl_distilled") / "record.json").read_text())
    assert distilled.teachers[0].parameters == record.parameters["total"]
    assert distilled.metrics["test/teacher_ua"] == pytest.approx(record.metrics["test/ua"])


def test_without_weights_a_dry_run_counts_and_a_run_says_what_it_wants(ser_kd, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(workplace / "no-hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    words = [word for word in WORDS if not word.startswith("scale")] + ["student=wav2vec2_base", "experiment=no_weights"]
    wanted = ("'facebook/wav2vec2-base' are not on this machine", "source=FOLDER", "hf download facebook/wav2vec2-base")
    code, output, errors = ser_kd("train", *words, "dry_run=true")
    assert code == 0, errors
    assert "94,967,687 total" in output
    assert errors.count("are not on this machine") == 1
    assert all(text in errors for text in wanted)
    code, _, errors = ser_kd("train", *words)
    assert code == 2
    assert all(text in errors for text in (*wanted, "to do:"))
    assert "Traceback" not in errors
    assert not (workplace / "runs" / "no_weights").exists()


def test_a_damaged_or_missing_folder_is_named(ser_kd, hub_folder: Path, tmp_path: Path) -> None:
    code, _, errors = ser_kd("train", *WORDS, *pretrained(tmp_path / "nowhere"))
    assert code == 2
    assert "no such folder" in errors
    for path in hub_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:300] if path.suffix == ".safetensors" else path.read_bytes())
    code, _, errors = ser_kd("train", *WORDS, *pretrained(tmp_path))
    assert code == 2
    assert "model.safetensors" in errors
    assert "damaged" in errors
