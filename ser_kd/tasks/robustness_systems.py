"""What robustness can be measured of: finished runs and exported models, each also behind an enhancement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.records import RunRecord
from ser_kd.data.collate import SpeechCollation, choose_evaluation_length
from ser_kd.data.dataset import SpeechClip
from ser_kd.deploy.model_file import read_model_metadata
from ser_kd.deploy.model_metadata import ModelMetadata
from ser_kd.deploy.predictor import Predictor
from ser_kd.models.named_features import check_hears_waveform
from ser_kd.runtime import console
from ser_kd.runtime.recording import read_record
from ser_kd.tasks.finished_runs import load_student, read_finished_run, read_run_config
from ser_kd.tasks.text_readers import check_hears

Answer = Callable[[Sequence[SpeechClip], SpeechBatch], list[int]]
"""Gives the class index of each of B clips, whose waveforms stand in the batch, whole."""


@dataclass
class RobustnessSystem:
    """A model to be judged in noise.

    Args:
        source: Run folder or model file, as it was found.
        folder: Run folder whose clips it is judged on.
        run: That run's record.
        config: Its configuration.
        file: What the model file says about itself; None for a run.
        is_enhanced: Whether the enhancement stands before it.
        is_borrowed: Whether the run is not the file's own, and lends it no more than its clips.
    """

    source: Path
    folder: Path
    run: RunRecord
    config: DictConfig
    file: ModelMetadata | None = None
    is_enhanced: bool = False
    is_borrowed: bool = False

    @property
    def place(self) -> Path:
        """The folder that holds its records."""
        return self.folder if self.file is None else self.source.parent

    @property
    def is_distilled(self) -> bool:
        """Whether it learnt from a teacher."""
        return bool(self.file.teachers) if self.file is not None and self.is_borrowed else self.run.is_distilled

    def find_weights(self, checkpoint: str) -> Path:
        """Give the file that holds what it learnt.

        Args:
            checkpoint: Of a run: ``best`` or ``last``.
        """
        return self.source if self.file is not None else self.folder / "checkpoints" / f"{checkpoint}.ckpt"

    def load(self, checkpoint: str, device: torch.device) -> Answer:
        """Load the model.

        Args:
            checkpoint: Of a run: ``best`` or ``last``.
            device: Where a run's model computes.
        """
        return _load_file(self.source, self.run) if self.file is not None else _load_run(self.folder, self.config, checkpoint, device)


def find_robustness_systems(runs: Sequence[str], models: Sequence[str], teacher: str | None, enhances: bool) -> list[RobustnessSystem]:
    """Find everything that was named, without loading a model.

    Args:
        runs: Run folders, or folders of one identity with all its folds and seeds.
        models: Model files.
        teacher: Run folder, or folder of an identity, of the teacher; None looks for whoever taught another of them.
        enhances: Whether the teacher (without one: every run) is judged once more behind the enhancement.

    Raises:
        ConfigError: If nothing is named, the runs are of different protocols, or one hears features that noise does not reach.
        DataError: If a folder holds no finished run or a model file is not ours.
    """
    folders = list(dict.fromkeys(folder for name in [*runs, *([teacher] if teacher else [])] for folder in _find_runs(Path(name))))
    found = [RobustnessSystem(folder, folder, read_finished_run(folder), read_run_config(folder)) for folder in folders]
    for system in found:
        if (system.config.get("datamodule") or {}).get("features"):  # told before any other is judged
            check_hears_waveform(
                load_student(system.folder)[0], "judged in noise", "leave it out: its features are those of the clean clips"
            )
    found += [_find_file(Path(name), found) for name in models]
    if not found:
        raise ConfigError(
            "There is nothing to judge in noise.",
            expected="a run folder, several, or a model file",
            got="none",
            remedy="name one: ser-kd robustness run=runs/mlkd_noisy/teacher/IDENTITY/fold=0/seed=0",
        )
    for system in found:
        if system.file is None:
            check_hears(system.config, str(system.source), "judged in noise")
    _check_one_protocol(found)
    if not enhances:
        return found
    taught = {each.identity for system in found for each in system.run.teachers}
    teachers = set(_find_runs(Path(teacher))) if teacher else {system.folder for system in found if system.run.identity in taught}
    behind = [system for system in found if system.file is None and (not teachers or system.folder in teachers)]
    return found + [replace(system, is_enhanced=True) for system in behind]


def _find_runs(path: Path) -> list[Path]:
    path = path.expanduser()
    if (path / "record.json").is_file():
        return [path]
    below = sorted(record.parent for record in path.glob("fold=*/seed=*/record.json"))
    finished = [folder for folder in below if (record := read_record(folder)) is not None and record.status == "finished"]
    if len(finished) < len(below):
        console.warn(f"{len(below) - len(finished)} runs below {path} are not finished and are left out")
    if finished:
        return finished
    identities = sorted({record.parents[2].name for record in path.glob("*/fold=*/seed=*/record.json")})
    raise DataError(
        "There is no finished run in this folder.",
        expected="a run folder (…/fold=K/seed=S), or that of an identity (runs/EXPERIMENT/IDENTITY) with finished runs",
        got=f"{path}: " + (f"the identities {', '.join(identities)}" if identities else "no record.json"),
        remedy="name one identity's folder" if identities else "give the run's folder, or train it first; ser-kd report lists all runs",
    )


def _find_file(path: Path, runs: Sequence[RobustnessSystem]) -> RobustnessSystem:
    told = read_model_metadata(path.expanduser())
    if told.output != "probabilities":
        raise _no_classes(str(path))
    own = path.expanduser().resolve().parent.parent
    if (own / "record.json").is_file() and read_finished_run(own).identity == told.identity:
        return RobustnessSystem(path.expanduser(), own, read_finished_run(own), read_run_config(own), told)
    for system in runs:
        if (system.run.protocol.fingerprint, system.run.protocol.fold) == (told.protocol_fingerprint, told.fold):
            run = replace(system.run, experiment=told.experiment, identity=told.identity, seed=told.seed, metrics={}, teachers=[], noise={})
            return RobustnessSystem(path.expanduser(), system.folder, run, system.config, told, is_borrowed=True)
    raise ConfigError(
        "It is not known which clips this model file may be judged on.",
        expected="a file in the folder export/ of its run, or beside it run=… of the same protocol and fold",
        got=f"{path}: {told.experiment}, {told.protocol} {told.protocol_fingerprint}, fold {told.fold}",
        remedy="add run=FOLDER of any run of that protocol and fold",
    )


def _check_one_protocol(systems: Sequence[RobustnessSystem]) -> None:
    first = systems[0].run
    for system in systems[1:]:
        if system.run.protocol.fingerprint != first.protocol.fingerprint or system.run.protocol.classes != first.protocol.classes:
            raise ConfigError(
                "Runs of different protocols cannot stand beside each other.",
                expected=f"{first.protocol.name} {first.protocol.fingerprint}, as {systems[0].source}",
                got=f"{system.run.protocol.name} {system.run.protocol.fingerprint} of {system.source}",
                remedy="judge them one protocol at a time",
            )


def _load_run(folder: Path, config: DictConfig, checkpoint: str, device: torch.device) -> Answer:
    model: nn.Module = load_student(folder, checkpoint)[0].to(device)
    node = config.datamodule
    heard_as = node.get("clip_samples"), node.get("padding", "masked"), node.get("evaluation_clips", "fitted")
    collation = SpeechCollation(*choose_evaluation_length(*heard_as))

    @torch.no_grad()
    def answer(clips: Sequence[SpeechClip], batch: SpeechBatch) -> list[int]:
        whole = zip(clips, batch.waveforms.cpu(), batch.lengths.tolist(), strict=True)
        heard = collation([replace(clip, waveform=row[:length]) for clip, row, length in whole])
        logits = model(heard.model_input().to(device)).logits
        if logits is None:
            raise _no_classes(str(folder))
        found: list[int] = logits.argmax(dim=1).tolist()
        return found

    return answer


def _load_file(path: Path, run: RunRecord) -> Answer:
    predictor = Predictor(path)
    places = {name: place for place, name in enumerate(run.protocol.classes)}
    rate = run.sample_rate_hz

    def answer(clips: Sequence[SpeechClip], batch: SpeechBatch) -> list[int]:
        rows = zip(batch.waveforms.cpu().numpy(), batch.lengths.tolist(), strict=True)
        labels = [predictor(row[:length], rate).label for row, length in rows]
        return [places[label] for label in labels if label is not None]

    return answer


def _no_classes(source: str) -> ConfigError:
    return ConfigError(
        "Robustness is measured of classes.",
        expected="a model that answers with classes",
        got=f"{source}: arousal, dominance and valence alone",
        remedy="choose a model with classes",
    )
