"""One finished run from its checkpoint to signed-off model files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ser_kd import __version__
from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.export_record import BENCHMARK, CARD, SIGN_OFF, SIGN_OFF_PAGE, ExportedFile, ExportRecord
from ser_kd.contracts.records import RunRecord
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.deploy.model_metadata import PRECISIONS, ModelMetadata
from ser_kd.deploy.onnx_export import ExportedGraph, export_precisions, write_model
from ser_kd.deploy.onnx_model import OnnxModel, pad_clips
from ser_kd.deploy.parity import JudgedClips, compare_with_torch, judge_answers, make_gates
from ser_kd.deploy.quantize import ConvertedGraph, Method, convert_graph
from ser_kd.deploy.speech_graph import FittedClip, SpeechGraph
from ser_kd.functional.calibration import fit_temperature
from ser_kd.models.named_features import check_hears_waveform
from ser_kd.models.pretrained import pretrained_sources
from ser_kd.models.speech_model import SpeechModel
from ser_kd.models.unlearned_dimensions import list_known_dimensions
from ser_kd.reports.sign_off import render_sign_off
from ser_kd.runtime import console
from ser_kd.runtime.environment import describe_hardware, git_revision, installed_packages
from ser_kd.runtime.recording import now
from ser_kd.storage.atomic import check_writable, write_text
from ser_kd.tasks.exported_clips import Waveforms, ask_model, choose_calibration_clips
from ser_kd.tasks.finished_runs import load_student, open_run_data, read_finished_run, read_run_config
from ser_kd.tasks.model_cards import write_model_card
from ser_kd.tasks.text_readers import check_hears

SAME_SCORE = 1e-6
"""By how much the trained model's UA or mean CCC may differ from its record: not by a clip."""


@dataclass(frozen=True)
class ExportRequest:
    """What is to be exported.

    Args:
        run: Run folder.
        checkpoint: ``best`` or ``last``.
        precisions: Of ``fp32``, ``int8``, ``fp16``.
        out: Folder of the files.
        calibrate: Whether a temperature is fitted on validation.
        method: How int8 is made: ``static``, ``dynamic`` or ``auto``.
        calibration_clips: Training clips for static quantisation.
        minimum_s: Shortest recording, seconds.
        licences: Further licence notes.
        gates: Precision -> metric -> bound.
        moved: Keys of the corpus that are others now.
        cache_dir: Folder for decoded audio.
        command: The command line.
    """

    run: Path
    checkpoint: str
    precisions: tuple[str, ...]
    out: Path
    calibrate: bool
    method: Method | Literal["auto"]
    calibration_clips: int
    minimum_s: float
    licences: tuple[str, ...]
    gates: Mapping[str, Mapping[str, Any]]
    moved: Mapping[str, Any]
    cache_dir: str
    command: str


def export_run(request: ExportRequest) -> ExportRecord:
    """Export, compare with the trained model on the test split, and write files, sign-off and model card.

    Raises:
        ConfigError: If the model cannot be exported, or there is nothing to quantise.
        DataError: If there is no finished run, its corpus is another now, or a file cannot be written.
        ParityError: If no exporter can take the model.
    """
    read_finished_run(request.run)
    check_hears(read_run_config(request.run), str(request.run), "exported")
    model, run_record, config = load_student(request.run, request.checkpoint)
    if not isinstance(model, SpeechModel):
        raise ConfigError(
            "Only a SpeechModel can be exported.", expected="SpeechModel", got=type(model).__name__, remedy="export another run"
        )
    check_hears_waveform(model, "exported", "export the student that it teaches")
    data = open_run_data(run_record, config, request.moved, request.cache_dir)
    record = ExportRecord(
        run_record.experiment, run_record.identity, run_record.protocol.fold, run_record.seed, request.checkpoint, {},
        packages=installed_packages(), hardware=describe_hardware(), git_revision=git_revision(Path(__file__).parent),
        command=request.command,
    )  # fmt: skip
    window = data.evaluation_length[0] or max(data.dataset("train").lengths)
    minimum = max(1, round(request.minimum_s * data.sample_rate_hz))
    if minimum > window:
        raise ConfigError(
            "The shortest recording is longer than the model's window.",
            expected=f"minimum_s up to {window / data.sample_rate_hz:.2f}",
            got=f"minimum_s={request.minimum_s:g}",
            remedy="lower minimum_s",
        )
    _check_place(request.out)
    console.note("asking the trained model about validation and test")
    temperature, clips = _judge_in_torch(model, data, request.calibrate, record)
    _check_own_score(run_record, record, clips)
    if run_record.protocol.targets == "both":
        record.notes.append("the files answer with classes: arousal, dominance and valence of this run are not exported")
    elif run_record.unlearned_dimensions:
        record.notes.append(f"{' and '.join(run_record.unlearned_dimensions)} of this run was never learned and is not in the files")
    graph = SpeechGraph(model, FittedClip(*data.evaluation_length), temperature, precision=None)  # what files are compared with
    console.note("exporting")
    exported = export_precisions(model, graph.clip, temperature, request.precisions, window)
    first = exported[request.precisions[0]]
    metadata = ModelMetadata(
        output="probabilities" if clips.classes else "dimensions",
        labels=list(clips.classes),
        dimensions=[] if clips.classes else list_known_dimensions(model),
        sample_rate_hz=data.sample_rate_hz,
        minimum_samples=minimum,
        window_samples=window,
        padding=graph.clip.describe(data.sample_rate_hz),
        crops=graph.clip.clip_samples is not None,
        precision="fp32",
        calibration_temperature=temperature,
        experiment=run_record.experiment,
        identity=run_record.identity,
        fold=run_record.protocol.fold,
        seed=run_record.seed,
        corpus=run_record.corpus,
        protocol=run_record.protocol.name,
        protocol_fingerprint=run_record.protocol.fingerprint,
        checkpoint=request.checkpoint,
        teachers=list(dict.fromkeys(teacher.experiment or teacher.name for teacher in run_record.teachers)),
        licences=_list_licences(model, data, run_record, request),
        exporter=first.exporter,
        opset=first.opset,
        ser_kd=__version__,
    )
    record.metadata = {name: value for name, value in asdict(metadata).items() if name != "precision"}
    made = {}
    for precision in request.precisions:  # whatever cannot be made is told before anything is written
        graph_made = exported[precision]
        file = ExportedFile(precision, f"model_{precision}.onnx", 0, graph_made.exporter, graph_made.opset, "", len(clips))
        record.files.append(file)
        made[file.file] = _convert(precision, exported[precision], data, request, file)
    _remove_earlier(request.out)
    for file in record.files:
        console.note(f"making {file.file}")
        write_model(made[file.file].proto, replace(metadata, precision=file.precision), request.out / file.file)
        _judge_file(file, graph, clips, request)
    _note_sizes(record)
    record.finished_at = now()
    _write_reports(request, record)
    return record


def _judge_in_torch(model: SpeechModel, data: SpeechDataModule, calibrate: bool, record: ExportRecord) -> tuple[float, JudgedClips]:
    """Ask the trained model, fit its temperature, and note what the temperature does."""
    answers, labels, has_classes = ask_model(model, data, "test")
    waveforms = Waveforms(data.dataset("test"))
    if not has_classes:
        known = list_known_dimensions(model)
        return 1.0, JudgedClips(waveforms, labels, answers[:, [DIMENSIONS.index(name) for name in known]], (), known)
    temperature = _fit_temperature(model, data, record) if calibrate else 1.0
    clips = JudgedClips(waveforms, labels, torch.softmax(answers / temperature, dim=1), labels.class_names)
    _note_calibration(record, "test", replace(clips, reference=answers), temperature)
    return temperature, clips


def _fit_temperature(model: SpeechModel, data: SpeechDataModule, record: ExportRecord) -> float:
    """Fit the temperature on validation; 1, and a note why, where no clips are left for it."""
    if not data.fold.validation_set:
        record.notes.append("no temperature was fitted: the run was trained on its validation clips in the end")
        return 1.0
    if data.fold.to_record().selection == "test":
        record.notes.append("no temperature was fitted: the protocol validates on the test clips")
        return 1.0
    logits, labels, _ = ask_model(model, data, "validation")
    if labels.classes is None:
        return 1.0
    temperature = fit_temperature(logits, labels.classes)
    _note_calibration(record, "validation", JudgedClips((), labels, logits, labels.class_names), temperature)
    return temperature


def _check_own_score(run_record: RunRecord, record: ExportRecord, clips: JudgedClips) -> None:
    """Warn where the trained model no longer scores what its record says."""
    told, name, shown = ("ua", "ua", "UA") if clips.classes else ("ccc_mean", "ccc", "mean CCC")
    then = run_record.metrics.get(f"test/{told}")
    if then is None or record.checkpoint != "best":
        return
    now_scored = judge_answers(clips.reference, clips)[name]
    if abs(now_scored - then) > SAME_SCORE:
        scored = f"{shown} {now_scored:.4f} on the test split and its record says {then:.4f}"
        note = f"the trained model scores {scored}: other packages or hardware?"
        record.notes.append(note)
        console.warn(note)


def _note_calibration(record: ExportRecord, split: str, clips: JudgedClips, temperature: float) -> None:
    """Note calibration error and log loss of logits, with the temperature and without."""
    for ending, divisor in (("_before", 1.0), ("", temperature)) if temperature != 1.0 else (("", 1.0),):
        values = judge_answers(torch.softmax(clips.reference / divisor, dim=1), clips)
        record.metrics |= {f"{split}/{name}{ending}": values[name] for name in ("calibration_error", "log_loss")}


def _judge_file(file: ExportedFile, graph: SpeechGraph, clips: JudgedClips, request: ExportRequest) -> None:
    """Compare a written file with the trained model, and hold it against its gates."""
    path = request.out / file.file
    file.bytes = path.stat().st_size
    opened = _open(path, file.precision, file)

    def ask_torch(waveform: np.ndarray) -> torch.Tensor:
        fed = pad_clips([waveform])
        with torch.no_grad():
            return graph(torch.from_numpy(fed["waveform"]), torch.from_numpy(fed["length"]))[opened.metadata.output][0]

    with console.progress(f"comparing {path.name} with torch") as progress:
        file.metrics = compare_with_torch(opened, clips, ask_torch, progress)
    file.gates = make_gates(file.metrics, request.gates.get(file.precision, {}))


def _check_place(folder: Path) -> None:
    """Check that files can be written, and that no README of something else would give way to the model card.

    Raises:
        ConfigError: If there is such a README.
        DataError: If the folder cannot be written.
    """
    if (folder / CARD).is_file() and not (folder / SIGN_OFF).is_file():
        raise ConfigError(
            f"The folder has a {CARD} that is no model card.",
            expected="a new folder, or one with an earlier export",
            got=str(folder),
            remedy="give another folder as out",
        )
    check_writable(folder)


def _remove_earlier(folder: Path) -> None:
    """Remove what an earlier export left: its sign-off and figures do not speak of the new files."""
    for name in (*(f"model_{precision}.onnx" for precision in PRECISIONS), SIGN_OFF, SIGN_OFF_PAGE, CARD, BENCHMARK):
        (folder / name).unlink(missing_ok=True)


def _note_sizes(record: ExportRecord) -> None:
    """Say where a smaller precision made no smaller file: ranges and roundings of each layer cost some KB themselves."""
    whole = next((file.bytes for file in record.files if file.precision == "fp32"), None)
    for file in record.files:
        if whole is not None and file.precision != "fp32" and file.bytes >= whole:
            file.notes.append(f"no smaller than fp32 ({file.bytes:,} against {whole:,} bytes): the network is too small to gain from it")


def _open(path: Path, precision: str, file: ExportedFile) -> OnnxModel:
    """Open a file as whoever predicts does; fp16 on the CPU where there is no CUDA, which is noted."""
    try:
        opened = OnnxModel(path)
    except ConfigError as fault:
        if precision != "fp16":
            raise
        file.notes.append(f"fp16 is for the CUDA provider, and here {fault.got}: it was judged on the CPU")
        opened = OnnxModel(path, "cpu")
    file.provider = opened.providers[0]
    return opened


def _convert(precision: str, exported: ExportedGraph, data: SpeechDataModule, request: ExportRequest, file: ExportedFile) -> ConvertedGraph:
    """Give the graph in the wanted precision, and note in the file's record how it was made."""

    def read_clips() -> list[dict[str, np.ndarray]]:
        train = data.dataset("train")
        chosen = choose_calibration_clips(train, request.calibration_clips)
        file.calibration_clips = [train.utterances[number].id for number in chosen]
        speakers = {train.utterances[number].speaker for number in chosen}
        file.calibration_speakers = sorted(speakers, key=lambda name: (len(name), name))
        waveforms = Waveforms(train)
        return [pad_clips([waveforms[number]]) for number in chosen]

    made = convert_graph(exported.proto, precision, request.method, read_clips)
    file.method = made.method
    return made


def _list_licences(model: SpeechModel, data: SpeechDataModule, run_record: RunRecord, request: ExportRequest) -> list[str]:
    notes = [f"trained on {data.corpus.name}: {data.manifest.licence or 'licence not stated'}"]
    notes += [f"started from the pretrained weights {source}: see their licence" for source in pretrained_sources(model)]
    notes += [
        f"taught by {teacher.name}, trained on {teacher.corpus}"
        for teacher in run_record.teachers
        if teacher.corpus not in (None, run_record.corpus)
    ]
    notes += [f"taught by {teacher.name}: {teacher.licence}" for teacher in run_record.teachers if teacher.licence]
    return list(dict.fromkeys([*notes, *request.licences]))


def _write_reports(request: ExportRequest, record: ExportRecord) -> None:
    write_text(request.out / SIGN_OFF, record.to_json())
    write_text(request.out / SIGN_OFF_PAGE, render_sign_off(record))
    write_model_card(request.run, request.out)
