from __future__ import annotations

import csv
from copy import deepcopy
from pathlib import Path

import pytest

from ser_kd.contracts.cross_corpus_record import CrossCorpusRecord
from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.environment import describe_hardware, git_revision, installed_packages
from ser_kd.runtime.recording import identify, read_record, write_evaluation, write_predictions
from ser_kd.runtime.tracking import choose_mode

CONFIG = {
    "paths": {"runs": "a"},
    "corpus": {"_target_": "x", "root": "/data", "speakers": 10},
    "protocol": {"_target_": "y", "superb_metadata": "/lists"},
    "datamodule": {"batch_size": 64, "workers": 0, "cache_dir": "c"},
    "trainer": {"max_epochs": 10, "devices": 1, "accelerator": "cpu", "precision": "32-true"},
    "teacher": {"experiment": "a", "run": None},
    "scale": {"name": "paper"},
    "fold": 0,
    "seed": 0,
    "logger": {"wandb": "auto"},
    "experiment": "x",
}


def changed(section: str, key: str | None, value: object) -> dict:
    config = deepcopy(CONFIG)
    if key is None:
        config[section] = value
    else:
        config[section][key] = value
    return config


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("paths", "runs", "b"), ("corpus", "root", "/elsewhere"), ("datamodule", "workers", 4), ("datamodule", "cache_dir", "d"),
        ("trainer", "devices", 2), ("trainer", "accelerator", "gpu"), ("fold", None, 3), ("seed", None, 7), ("logger", "wandb", "online"),
        ("experiment", None, "y"), ("teacher", "run", "somewhere"), ("trainer", "strategy", "ddp"), ("trainer", "num_nodes", 2),
        ("trainer", "sync_batchnorm", True), ("compile", None, True), ("batch_scope", None, "global"),
        ("protocol", "superb_metadata", "/elsewhere"), ("noise", None, None), ("scale", "distil_layers", 3),
        ("datamodule", "evaluation_clips", "fitted"), ("datamodule", "unlabelled_root", None), ("datamodule", "features", None),
        ("datamodule", "feature_workers", 2), ("scale", "prosodic_widths", [8, 8, 16, 16]), ("protocol", "targets", "classes"),
        ("datamodule", "transcripts", None), ("datamodule", "on_missing_text", "error"), ("datamodule", "word_error_rate", 0.0),
        ("scale", "bert_width", 64), ("scale", "ecapa_channels", 64), ("learning_rates", None, None), ("learning_rates", None, {}),
        ("datamodule", "on_unlabelled_silence", "skip"),
    ],
)  # fmt: skip
def test_what_changes_no_science_changes_no_identity(section: str, key: str | None, value: object) -> None:
    assert identify(changed(section, key, value), "print", "t") == identify(CONFIG, "print", "t")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("corpus", "speakers", 8),
        ("datamodule", "batch_size", 32),
        ("datamodule", "evaluation_clips", "whole"),
        ("datamodule", "features", {"egemaps_lld": {"_target_": "x"}}),
        ("datamodule", "word_error_rate", 0.2),
        ("datamodule", "on_missing_text", "skip"),
        ("datamodule", "on_unlabelled_silence", "keep"),
        ("trainer", "max_epochs", 11),
        ("trainer", "precision", "bf16-mixed"),
        ("batch_scope", None, ["process", 2]),
        ("learning_rates", None, {"encoder": 1e-5}),
        ("noise", None, {"_target_": "x", "held_out": []}),
    ],
)
def test_what_changes_the_science_changes_the_identity(section: str, key: str | None, value: object) -> None:
    assert identify(changed(section, key, value), "print", "t") != identify(CONFIG, "print", "t")


def test_a_cache_counts_by_what_it_changes_and_not_by_being_there() -> None:
    def name(caches_frames: bool = True, **cache: object) -> str:
        whole = {"views": None, "dtype": "float32", "layers": None, "frame_stride": 1, "budget_gb": 20, "keep": "all", "folder": None}
        teacher = {**CONFIG["teacher"], "cache": "auto"}  # type: ignore[dict-item]
        return identify({**CONFIG, "teacher": teacher, "cache": {**whole, **cache}}, "print", "t", caches_frames)

    plain = identify(CONFIG, "print", "t")
    assert name() == name(budget_gb=1.5, keep="fold", folder="elsewhere", layers=[3]) == plain
    assert name(False, dtype="float16", frame_stride=4) == plain
    assert identify({**CONFIG, "cache": None}, "print", "t") == plain
    assert len({plain, name(dtype="float16"), name(frame_stride=2), name(views=1), name(views=2)}) == 5
    assert name(False, views=2) == name(views=2) != plain


def test_a_folder_of_noises_counts_by_its_files_and_not_by_its_place(tmp_path: Path) -> None:
    def name(folder: str, files: dict[str, int]) -> str:
        for file, size in files.items():
            (tmp_path / folder / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / file).write_bytes(bytes(size))
        views = {"student": {"transforms": [{"bank": {"root": str(tmp_path / folder), "split": "train"}}]}}
        return identify({**CONFIG, "views": views}, "print", "t")

    here = name("here", {"rain/a.wav": 10, "b.flac": 20})
    assert name("there", {"rain/a.wav": 10, "b.flac": 20, "readme.txt": 5}) == here
    assert name("longer", {"rain/a.wav": 11, "b.flac": 20}) != here
    assert name("more", {"rain/a.wav": 10, "b.flac": 20, "c.wav": 1}) != here
    noises = [identify({**CONFIG, "noise": {"root": str(tmp_path / folder)}}, "print", "t") for folder in ("here", "there", "longer")]
    assert noises[0] == noises[1] != noises[2]
    (tmp_path / "there" / "volvo.mat").write_bytes(bytes(7))
    assert identify({**CONFIG, "noise": {"root": str(tmp_path / "there")}}, "print", "t") != noises[1]


def test_unlabelled_clips_count_by_their_files(tmp_path: Path) -> None:
    names = []
    for folder, size in (("here", 10), ("there", 10), ("longer", 12)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").write_bytes(b"x" * size)
        names.append(identify(changed("datamodule", "unlabelled_root", str(tmp_path / folder)), "print", "t"))
    assert names[0] == names[1] != names[2]
    assert identify(CONFIG, "print", "t") not in names


def test_transcripts_count_by_their_content_and_not_by_their_place(tmp_path: Path) -> None:
    names = []
    for file, text in (("here.csv", "id,text\na,yes\n"), ("there.csv", "id,text\na,yes\n"), ("other.csv", "id,text\na,no\n")):
        (tmp_path / file).write_text(text)
        names.append(identify(changed("datamodule", "transcripts", str(tmp_path / file)), "print", "t"))
    assert names[0] == names[1] != names[2]
    assert identify(CONFIG, "print", "t") not in names


def test_data_and_teacher_are_part_of_the_identity() -> None:
    assert (
        len(
            {
                identify(CONFIG, "print", "t"),
                identify(CONFIG, "other", "t"),
                identify(CONFIG, "print", "u"),
                identify(CONFIG, "print", None),
            }
        )
        == 4
    )


def test_predictions_are_a_table(tmp_path: Path) -> None:
    write_predictions(tmp_path, [{"id": "a", "probability_x": 0.12345678}, {"id": "b", "probability_x": 1.0, "group_gender": "f"}])
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"id": "a", "probability_x": "0.123457", "group_gender": ""},
        {"id": "b", "probability_x": "1.000000", "group_gender": "f"},
    ]
    assert read_record(tmp_path) is None


def test_an_evaluation_lies_beside_the_run_with_its_predictions(tmp_path: Path) -> None:
    record = CrossCorpusRecord(
        "emodb_restricted", "paper/variant", "id", 0, 1, "demo", "emodb", "abc", "best", True,
        ["a", "b"], {"angry": "a"}, {}, ["b"], 1, [1, 0], 1,
    )  # fmt: skip
    place = write_evaluation(tmp_path, record, [{"id": "a", "probability_a": 0.5}])
    assert place == tmp_path / "evaluations" / "emodb_restricted.json"
    assert CrossCorpusRecord.from_json(place.read_text()) == record
    assert place.with_suffix(".csv").read_text().splitlines() == ["id,probability_a", "a,0.500000"]


def test_wandb_is_offline_unless_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert choose_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert choose_mode("auto") == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert choose_mode("auto") == "disabled"
    assert choose_mode("offline") == "offline"
    with pytest.raises(ConfigError, match="W&B mode"):
        choose_mode("sometimes")


def test_a_login_for_another_host_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine example.org login user password secret\n")
    netrc.chmod(0o600)
    assert choose_mode("auto") == "offline"
    netrc.write_text("machine api.wandb.ai login user password secret\n")
    assert choose_mode("auto") == "online"


def test_the_environment_is_described(tmp_path: Path) -> None:
    assert {"python", "torch", "lightning", "numpy"} <= set(installed_packages())
    assert {"processor", "cores", "memory"} <= set(describe_hardware())
    assert git_revision(tmp_path) is None


def test_targets_count_only_where_they_are_not_classes():
    def name(**protocol):
        return identify({**CONFIG, "protocol": {**CONFIG.get("protocol", {}), **protocol}}, "print", "t")

    assert name(targets="classes") == name()
    assert len({name(), name(targets="dimensions"), name(targets="both")}) == 3
