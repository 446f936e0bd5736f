"""Find the finished runs whose encoders a student hears through, and hand over their weights or the frames that are kept of them."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.records import RunRecord
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.models.run_upstream import UPSTREAMS, RunUpstream, UpstreamExtractor, list_upstreams
from ser_kd.runtime import console
from ser_kd.runtime.build import build
from ser_kd.storage.atomic import replace_file
from ser_kd.storage.checkpoints import read_checkpoint
from ser_kd.storage.hashing import hash_file
from ser_kd.storage.weight_files import write_weights
from ser_kd.tasks.finished_runs import read_finished_run, read_run_config
from ser_kd.tasks.heard_audio import check_other_unheard, read_heard_audio
from ser_kd.tasks.missing_teachers import advise_training, compose_teacher
from ser_kd.tasks.teachers import check_unseen, find_teacher_run
from ser_kd.tasks.wanted_upstreams import find_nodes, want_run

WEIGHTS = "encoder.safetensors"
"""Beside a run's checkpoints: what others hear through of it."""

_KEPT_PARTS = ("student.frontend.", "student.encoder.")


@dataclass(frozen=True)
class FoundUpstream:
    """The finished run behind one upstream of a student.

    Args:
        name: Name of the upstream.
        node: Its node of the configuration, filled in.
        experiment: The run's experiment.
        folder: The run's folder; None in a dry run that found none.
        file: Its weights.
        heard_audio: Hashes of what it was trained and selected with.
        reason: Why its frames are not kept; empty where they are.
    """

    name: str
    node: DictConfig
    experiment: str
    folder: Path | None
    file: Path | None
    heard_audio: frozenset[str] = frozenset()
    reason: str = ""

    def describe(self) -> str:
        """Tell where frames come from, for a record."""
        frames = f"heard anew in each epoch ({self.reason})" if self.reason else f"kept as {self.node.keep}"
        place = "/".join(self.folder.parts[-3:]) if self.folder is not None else "no run yet"
        learns = "trainable" if self.node.trainable else "frozen"
        return f"hears through the upstream {self.name}: {self.experiment} ({place}), {learns}, frames {frames}"


def find_upstreams(
    config: DictConfig, data: SpeechDataModule, runs_root: Path, command: str = "", device: str = "cpu"
) -> list[FoundUpstream]:
    """Find each upstream's run, fill in what it is, and let the data module keep its frames.

    Args:
        config: Checked configuration; nodes of upstreams are changed.
        data: The student's fold; features are added to it.
        runs_root: Where runs lie.
        command: The student's command line, for messages.
        device: Where upstreams are run for the cache.

    Raises:
        ConfigError: If a run is missing or ambiguous, two upstreams share a name, or one hears through another.
        DataError: If a run is not finished or its checkpoint is damaged.
        LeakageError: If one was trained or selected on test clips of the fold.
    """
    nodes = list(find_nodes(config.student))
    names = [str(node.name) for node in nodes]
    if len(set(names)) < len(names):
        raise ConfigError(
            "Two upstreams have one name, and their frames would be taken for each other's.",
            expected="a name for each",
            got=", ".join(names),
            remedy="set the name of one of them, such as hubert",
        )
    found = []
    for node in nodes:
        one = _find(config, node, data, runs_root, command)
        reason = _why_not_kept(config, data, node)
        if not reason and one.file is not None and not config.dry_run:
            part = _build(node, one.file)
            data.features.add(one.name, UpstreamExtractor(part, device, node.keep), f"the upstream '{one.name}'")
        found.append(FoundUpstream(one.name, node, one.experiment, one.folder, one.file, one.heard_audio, reason))
    return found


def hand_over_upstreams(student: nn.Module, found: Sequence[FoundUpstream], data: SpeechDataModule) -> None:
    """Tell a student's upstreams where their weights lie, or that the batches carry their frames."""
    files = {one.name: one.file for one in found}
    for part in list_upstreams(student):
        part.file = files.get(part.name)
        if part.name in data.features.extractors:
            part.rely_on_kept_frames()
        elif part.file is None:  # a dry run without the run
            part.keep_random_weights()


def take_along(found: Sequence[FoundUpstream], run: Path) -> None:
    """Put the weights of frozen upstreams into the run folder of who hears through them: its own checkpoints hold none."""
    for one in found:
        if one.file is None or one.node.trainable:
            continue
        place = run / UPSTREAMS / f"{one.name}.safetensors"
        with replace_file(place) as part:
            with suppress(OSError):  # no room is lost where the file system can name one file twice
                part.unlink(missing_ok=True)
                os.link(one.file, part)
                continue
            shutil.copyfile(one.file, part)


def _find(config: DictConfig, node: DictConfig, data: SpeechDataModule, runs_root: Path, command: str) -> FoundUpstream:
    name, fold, template = str(node.name), data.fold, node.get("run")
    if (template is None) == (node.get("experiment") is None):
        raise ConfigError(
            f"Which finished run the upstream '{name}' is, is not said.",
            expected="its experiment, or its run folder",
            got="both" if template is not None else "neither",
            remedy="set student.frontend.experiment=NAME (found by protocol and fold), or student.frontend.run=FOLDER",
        )
    if template is not None:
        own = node.get("seed")
        folder = Path(template.replace("{fold}", str(fold.fold)).replace("{seed}", str(config.seed if own is None else own)))
    else:
        wanted = want_run(node, fold, config.seed)
        advise = partial(advise_training, wanted, config, command, runs_root)
        try:
            folder = find_teacher_run(
                runs_root, wanted.experiment, fold, wanted.seed, advise, exact_seed=wanted.exact_seed, what=f"upstream '{name}'"
            )
        except ConfigError as fault:
            if not config.dry_run or not fault.problem.startswith("No finished run"):
                raise
            console.warn(f"{fault.problem} {fault.remedy.capitalize()}; what follows is counted from its configuration")
            planned = compose_teacher(wanted, config, shlex.split(command)[2:])
            if planned is None:
                raise
            _fill(node, planned[1].student, None)
            return FoundUpstream(name, node, wanted.experiment, None, None)
    record = read_finished_run(folder)
    check_unseen(record, folder, fold, data.corpus.name, who="upstream")
    heard = read_heard_audio(folder)
    check_other_unheard(data, "upstream", name, heard)
    _check_rate(name, record, data)
    file = keep_encoder(folder)
    _fill(node, read_run_config(folder).student, hash_file(file, 16))
    return FoundUpstream(name, node, record.experiment, folder, file, heard)


def keep_encoder(folder: Path) -> Path:
    """Write front-end and encoder of a finished run beside its checkpoints, once; gives the file.

    Raises:
        DataError: If the checkpoint is missing or damaged.
    """
    path = folder / "checkpoints" / WEIGHTS
    if not path.is_file():
        state: dict[str, Any] = read_checkpoint(folder / "checkpoints" / "best.ckpt").get("state_dict", {})
        kept = {name.removeprefix("student."): value for name, value in state.items() if name.startswith(_KEPT_PARTS)}
        write_weights(path, kept)
    return path


def _fill(node: DictConfig, student: DictConfig, weights: str | None) -> None:
    if any(find_nodes(student)):
        raise ConfigError(
            f"The upstream '{node.name}' hears through another upstream.",
            expected="a run that hears waveforms or reads transcripts by itself",
            got=f"{node.get('experiment') or node.get('run')}",
            remedy="choose the run of the first stage",
        )
    plain: Any = OmegaConf.to_container(student, resolve=True)
    node.model = {
        "_target_": "ser_kd.models.upstream.Upstream", "frontend": plain.get("frontend"), "encoder": plain["encoder"], "layers": "last",
    }  # fmt: skip
    node.weights = weights


def _build(node: DictConfig, file: Path) -> RunUpstream:
    part: RunUpstream = build(node)
    part.file = file
    return part


def _check_rate(name: str, record: RunRecord, data: SpeechDataModule) -> None:
    if record.sample_rate_hz not in (None, data.sample_rate_hz):
        raise ConfigError(
            f"The upstream '{name}' was trained on audio of another sample rate.",
            expected=f"{record.sample_rate_hz:,} Hz",
            got=f"{data.sample_rate_hz:,} Hz",
            remedy=f"set datamodule.sample_rate_hz={record.sample_rate_hz}",
        )


def _why_not_kept(config: DictConfig, data: SpeechDataModule, node: DictConfig) -> str:
    """Say why an upstream has to be heard anew in each epoch; empty where its frames can be kept."""
    if node.trainable:
        return "it goes on learning"
    if node.get("keep") is None:
        return "keep is null"
    if data.clip_samples is not None:
        return "clips are brought to a fixed length, and an upstream's frames depend on what stands around them"
    heard = [slot for slot in ("both", "student") if config.views and config.views.get(slot) is not None]
    if heard:
        return f"views.{heard[0]} changes what it hears"
    if config.get("noise") is not None:
        return "noise changes what it hears"
    return ""
