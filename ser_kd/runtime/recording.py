"""Write what a run leaves behind, and find it again."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ser_kd.contracts.cross_corpus_record import CrossCorpusRecord
from ser_kd.contracts.records import RunRecord
from ser_kd.storage.atomic import replace_file, write_text
from ser_kd.storage.audio_files import AUDIO_SUFFIXES, list_audio
from ser_kd.storage.hashing import hash_data, hash_file

NOT_SCIENCE = (
    "paths", "logger", "cache", "dry_run", "experiment", "experiments", "fold", "seed", "callbacks", "name", "checkpoint_minutes",
    "compile", "sweep",
)  # fmt: skip
"""Keys of a configuration that change where and how a run is made, not what it finds."""

NOT_SCIENCE_WITHIN = {
    "corpus": ("root", "path"),
    "protocol": ("superb_metadata",),
    "datamodule": ("workers", "feature_workers", "cache_dir", "evaluation_batch_size"),
    "trainer": (
        "accelerator",
        "devices",
        "num_nodes",
        "strategy",
        "sync_batchnorm",
        "log_every_n_steps",
        "enable_progress_bar",
        "enable_model_summary",
    ),
    "scale": (  # they stand in the parts they size
        "distil_teacher_layers",
        "distil_layers",
        "transformer_width",
        "mobilenetv4_s",
        "mobilenetv3_s",
        "mobilenetv4_m",
        "mobilenetv3_l",
        "prosodic_widths",
        "prosodic_learning_rate",
        "bert_layers",
        "bert_width",
        "bert_vocabulary",
        "bert_learning_rate",
        "ssl_encoder_learning_rate",
        "ssl_learning_rate",
        "ecapa_channels",
        "ecapa_embedding_width",
        "ecapa_attention_width",
    ),
    "teacher": ("experiment", "run", "members", "cache"),
}


UNUSED_KEYS: Sequence[tuple[str, Any]] = (
    ("averaging", None),
    ("noise", None),
    ("batch_scope", "global"),
    ("learning_rates", None),
    ("learning_rates", {}),
)
"""Keys beside the nodes and the values at which they change nothing."""

NEW_KEYS: Mapping[str, Mapping[str, Any]] = {
    "datamodule": {
        "evaluation_clips": "fitted",
        "unlabelled_root": None,
        "features": None,
        "transcripts": None,
        "on_missing_text": "error",
        "word_error_rate": 0.0,
        "on_unlabelled_silence": "skip",
    },
    "protocol": {"targets": "classes"},
}
"""Keys that later versions brought -> the value at which a run is called as it was before them."""


def identify(config: Mapping[str, Any], protocol_fingerprint: str, teacher_identity: str | None, caches_frames: bool = False) -> str:
    """Hash everything that changes the science of a run.

    Fold and seed are not part of it (they stand in the folder name), nor are devices, workers, loggers and paths. The protocol's
    fingerprint stands for the data, the teacher's identity for the teacher, however it was named, and names and sizes of the audio
    files for a folder of noises, rooms or unlabelled clips (a ``root`` below ``views``, ``noise`` or ``datamodule``), wherever it lies,
    and the content of a file of transcripts for the file.
    Whether answers come from a cache does not count, but what they lose there does, and so do draws that repeat (``cache.views``).

    Args:
        config: Resolved configuration as plain data.
        protocol_fingerprint: See ``ProtocolFold``.
        teacher_identity: Identity of the teacher's run, or None.
        caches_frames: Whether frames or hidden layers of the teacher are heard as a cache keeps them.

    Returns:
        12 hexadecimal digits.
    """
    science = {}
    for name, value in config.items():
        # without averaging or noise, with one learning rate for all, and however many processes share it, a run keeps the name it had
        # before there was any such key
        if name in NOT_SCIENCE or (name, value) in UNUSED_KEYS:
            continue
        left_out = NOT_SCIENCE_WITHIN.get(name, ())
        unset = NEW_KEYS.get(name, {})
        science[name] = (
            {k: v for k, v in value.items() if k not in left_out and (k not in unset or v != unset[k])}
            if isinstance(value, Mapping)
            else value
        )
    science["views"] = name_folders_by_content(science.get("views"))
    if "datamodule" in science:
        science["datamodule"] = _name_transcripts_by_content(name_folders_by_content(science["datamodule"]))
    if "noise" in science:
        science["noise"] = name_folders_by_content(science["noise"])
    cache = config.get("cache") or {}
    lossy = {"views": cache.get("views")}
    if caches_frames:
        lossy |= {"dtype": cache.get("dtype", "float32"), "frame_stride": cache.get("frame_stride", 1)}
    lossless = {"views": None, "dtype": "float32", "frame_stride": 1}
    lossy = {name: value for name, value in lossy.items() if value != lossless[name]}
    if lossy:  # an ordinary run keeps the name it had before there were caches
        science["cache"] = lossy
    return hash_data([science, protocol_fingerprint, teacher_identity])


def _name_transcripts_by_content(node: Any) -> Any:
    """Put a hash of the file in the place of its path: texts are in no protocol's fingerprint."""
    path = Path(node["transcripts"]).expanduser() if isinstance(node, Mapping) and node.get("transcripts") else None
    return node if path is None else {**node, "transcripts": hash_file(path) if path.is_file() else None}


def name_folders_by_content(node: Any) -> Any:
    """Put names and sizes of the audio files in the place of each folder of audio (``root``) in a node of the configuration."""
    if isinstance(node, Mapping):
        return {
            name: [[file, path.stat().st_size] for file, path in list_audio(Path(value), (*AUDIO_SUFFIXES, ".mat")).items()]
            if name in ("root", "unlabelled_root") and isinstance(value, str)
            else name_folders_by_content(value)
            for name, value in node.items()
        }
    return [name_folders_by_content(part) for part in node] if isinstance(node, list) else node


def read_record(folder: Path) -> RunRecord | None:
    """Read the record of a run folder; None where there is none.

    Raises:
        DataError: If it is damaged.
    """
    path = folder / "record.json"
    if not path.is_file():
        return None
    return RunRecord.from_json(path.read_text(encoding="utf-8"), source=str(path))


def write_record(folder: Path, record: RunRecord) -> None:
    """Write the record whole or not at all."""
    write_text(folder / "record.json", record.to_json())


def write_predictions(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``predictions.csv``: split, id, speaker, truth, prediction, a probability per class, groups.

    Args:
        folder: Run folder.
        rows: One mapping per clip; probabilities are written with 6 digits.
    """
    _write_rows(folder / "predictions.csv", rows)


def write_evaluation(folder: Path, record: CrossCorpusRecord, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``evaluations/<name>.json`` and ``.csv`` beside a run.

    Args:
        folder: Run folder.
        record: The evaluation.
        rows: As in ``write_predictions``.

    Returns:
        The path of the JSON file.
    """
    place = folder / "evaluations" / f"{record.name}.json"
    _write_rows(place.with_suffix(".csv"), rows)
    write_text(place, record.to_json())  # last: where it lies, its predictions do too
    return place


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with replace_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{value:.6f}" if isinstance(value, float) else value for name, value in row.items()})


def now() -> str:
    """Give the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
