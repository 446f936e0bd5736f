"""ser-kd robustness: judge finished runs and model files on their test split in noise, type by type and ratio by ratio."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.robustness_record import CLEAN, ROBUSTNESS_FOLDER, Key, NoiseCondition, RobustnessRecord
from ser_kd.runtime import console
from ser_kd.runtime.composition import compose
from ser_kd.runtime.faults import raise_faults
from ser_kd.runtime.validation import check_config
from ser_kd.storage.atomic import check_writable

if TYPE_CHECKING:
    from ser_kd.data.datamodule import SpeechDataModule
    from ser_kd.data.noise_corpora.noise_corpus import NoiseCorpus
    from ser_kd.tasks.noisy_clips import NoisyClips
    from ser_kd.tasks.robustness_systems import RobustnessSystem

LEVELS = ("rms", "active_speech", "p56")


def run(arguments: list[str]) -> int:
    """Judge in noise what is named, and write records, tables and a figure. Conditions computed before are not computed again.

    Args:
        arguments: ``key=value`` overrides of ``conf/robustness.yaml``.

    Returns:
        0.

    Raises:
        ConfigError: If a value cannot be, nothing is named, or the runs are of different protocols.
        DataError: If a run, file or corpus cannot be used, or a clip or noise is silent.
    """
    config = compose("robustness", arguments)
    check_config(config)
    _check_values(config)
    command = shlex.join(["ser-kd", "robustness", *arguments])
    from ser_kd.reports.robustness_files import write_robustness  # late: torch and pandas take seconds to import
    from ser_kd.runtime.build import build
    from ser_kd.tasks.robustness_systems import find_robustness_systems

    build(config.noise)  # an unknown type is told before anything is read
    if config.enhancement is not None:
        build(config.enhancement)
    systems = find_robustness_systems(
        [*([config.run] if config.run else []), *config.runs], _list(config.model), config.compare_with, config.enhancement is not None
    )
    check_writable(Path(config.out))
    records = [record for fold in _by_fold(systems) for record in _judge_fold(fold, config, command)]
    from ser_kd.reports.robustness_tables import render_summary
    from ser_kd.runtime.paths import find_experiment_roots

    teacher = next((system.run.identity for system in systems if _is_teacher(system, config.compare_with)), None)
    boards, files = write_robustness(records, Path(config.out), find_experiment_roots(), resamples=config.resamples, teacher=teacher)
    console.show(render_summary(boards))
    console.show("\n".join(f"{name:<9} {path}" for name, path in files.items()))
    return 0


def _check_values(config: DictConfig) -> None:
    faults = []
    for key, choices in (("level", LEVELS), ("checkpoint", ("best", "last"))):
        if config[key] not in choices:
            faults.append(ConfigError(f"Unknown {key}.", expected=" or ".join(choices), got=str(config[key]), remedy=f"set {key} to one"))
    ratios = config.snrs_db
    wrong = not OmegaConf.is_list(ratios) or not all(type(ratio) in (int, float) and abs(ratio) <= 100 for ratio in ratios)
    if wrong or (not ratios and not config.clean) or len(set(ratios)) < len(ratios):
        faults.append(
            ConfigError(
                "'snrs_db' is no list of ratios.",
                expected="different numbers from -100 to 100 dB",
                got=str(ratios),
                remedy="such as snrs_db=[20,15,10,5,0,-5]",
            )
        )
    if not (isinstance(config.resamples, int) and config.resamples >= 200):
        expected = "a whole number from 200"
        faults.append(ConfigError("'resamples' is no such number.", expected=expected, got=str(config.resamples), remedy="resamples=2000"))
    if config.noise is None:
        expected = "a noise corpus: synthetic (no files), noisex92 or folder"
        faults.append(ConfigError("There is no noise.", expected=expected, got="noise=null", remedy="leave noise out for synthetic"))
    raise_faults(faults)


def _list(value: Any) -> list[str]:
    return [] if value is None else list(value) if OmegaConf.is_list(value) else [str(value)]


def _by_fold(systems: Sequence[RobustnessSystem]) -> list[list[RobustnessSystem]]:
    folds = sorted({(system.run.protocol.fold, system.run.sample_rate_hz) for system in systems})
    return [[s for s in systems if (s.run.protocol.fold, s.run.sample_rate_hz) == fold] for fold in folds]


def _is_teacher(system: RobustnessSystem, teacher: str | None) -> bool:
    return teacher is not None and Path(teacher).expanduser().resolve() in (system.folder.resolve(), *system.folder.resolve().parents)


def _judge_fold(systems: Sequence[RobustnessSystem], config: DictConfig, command: str) -> list[RobustnessRecord]:
    """Judge the systems of one fold, which share its clips and noises."""
    import torch

    from ser_kd.tasks.finished_runs import open_run_data
    from ser_kd.tasks.fitted_enhancement import fit_enhancement
    from ser_kd.tasks.noise import describe_warnings, prepare_noise
    from ser_kd.tasks.noisy_clips import NoisyClips

    first = systems[0]
    moved = {name: value for name, value in config.corpus.items() if value is not None}
    # babble and the enhancement are of all training speakers, whomever a run withheld: the noise is the same for every run of the fold
    whole = DictConfig(OmegaConf.merge(first.config, {"datamodule": {"withhold": None}}))
    data = open_run_data(first.run, whole, moved, config.paths.cache)
    noise = prepare_noise(OmegaConf.merge(config.noise, {"sample_rate_hz": data.sample_rate_hz}), data)
    clips = NoisyClips(data, noise, config.level, config.noise_seed)
    clips.check_audible()
    keys: list[Key] = [(CLEAN, None)] if config.clean else []
    keys += [(noise_type, float(ratio)) for noise_type in noise.types for ratio in config.snrs_db]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    enhancement = None
    records = []
    for system in systems:
        record, path = _open_record(system, config, data, noise)
        record.command = command
        record.warnings = [*describe_warnings(noise), *[text for text in record.warnings if text not in describe_warnings(noise)]]
        missing = [key for key in keys if record.find(*key) is None]
        name = f"{system.run.experiment}{' + ' + record.enhancement if record.enhancement else ''}, fold {record.fold}, seed {record.seed}"
        if missing:
            if system.is_enhanced and enhancement is None:
                enhancement = fit_enhancement(config.enhancement, data, config.paths.cache).to(device)
            _judge(system, record, path, clips, missing, config.checkpoint, device, enhancement if system.is_enhanced else None, name)
        console.tell(f"{name}: {len(missing)} conditions judged" + (f", {len(keys) - len(missing)} were there" if missing != keys else ""))
        # what this call did not ask for stays in the file, and out of this call's tables
        record.conditions = [found for key in keys if (found := record.find(*key)) is not None]
        records.append(record)
    return records


def _judge(
    system: RobustnessSystem, record: RobustnessRecord, path: Path, clips: NoisyClips, keys: Sequence[Key], checkpoint: str,
    device: Any, enhancement: Any, name: str,
) -> None:  # fmt: skip
    """Judge a system under conditions and write its record after each, so that a killed process loses one at most."""
    from dataclasses import replace

    from ser_kd.reports.robustness_systems import measure_answers
    from ser_kd.runtime.recording import now
    from ser_kd.storage.atomic import write_text

    answer = system.load(checkpoint, device)
    with console.progress(name) as progress:
        for number, key in enumerate(keys):
            answers: list[int] = []
            for whole, batch in clips.hear(key):
                if enhancement is not None:
                    heard = enhancement.enhance(batch.waveforms.to(device), batch.lengths.to(device)).cpu()
                    batch = replace(batch, waveforms=heard)
                answers += answer(whole, batch)
            metrics = measure_answers(record.truth, answers, len(record.classes))
            record.conditions.append(NoiseCondition(*key, answers, metrics))
            record.updated_at = now()
            then = system.run.metrics.get("test/ua")
            is_recorded = key[0] == CLEAN and not system.is_enhanced and system.file is None and checkpoint == "best"
            if is_recorded and then is not None and abs(metrics["ua"] - then) > 1e-4:
                record.warnings.append(f"clean UA is {metrics['ua']:.4f} here and {then:.4f} in the run's record")
            write_text(path, record.to_json())
            progress(number + 1, len(keys), f"{key[0]} {'' if key[1] is None else f'{key[1]:g} dB'}")


def _open_record(system: RobustnessSystem, config: DictConfig, data: SpeechDataModule, noise: NoiseCorpus) -> tuple[RobustnessRecord, Path]:
    """Read a system's record of this setting, or begin one."""
    from ser_kd.runtime.environment import git_revision, installed_packages
    from ser_kd.runtime.recording import name_folders_by_content
    from ser_kd.storage.hashing import hash_data, hash_file

    node: Any = OmegaConf.to_container(config.noise, resolve=True)
    # which types are asked for and which training may hear changes no stretch of a type
    settings = {name: value for name, value in name_folders_by_content(node).items() if name not in ("types", "held_out", "sample_rate_hz")}
    setting = hash_data([settings, config.level, config.noise_seed], 8)
    enhancement, enhancement_setting = "", ""
    if system.is_enhanced:
        enhancement = _name_enhancement(config.enhancement)
        enhancement_setting = hash_data(OmegaConf.to_container(config.enhancement, resolve=True), 8)
    precision = "fp32" if system.file is None else system.file.precision
    run, protocol = system.run, system.run.protocol
    apart = [
        config.checkpoint if config.checkpoint != "best" else "",
        system.source.stem if system.file else "",
        enhancement,
        enhancement_setting,
    ]
    name = "_".join([noise.name, setting, *(part for part in apart if part)])
    path = system.place / ROBUSTNESS_FOLDER / f"{name}.json"
    test = data.fold.test
    dataset = data.dataset("test")
    fresh = RobustnessRecord(
        experiment=run.experiment, identity=run.identity, fold=protocol.fold, seed=run.seed,
        kind="run" if system.file is None else "file", precision=precision, checkpoint=config.checkpoint,
        enhancement=enhancement, enhancement_setting=enhancement_setting, corpus=run.corpus, protocol=protocol.name,
        fingerprint=protocol.fingerprint, classes=list(protocol.classes),
        teachers=[teacher.identity for teacher in run.teachers if teacher.identity], distilled=system.is_distilled,
        noise=noise.describe(), setting=setting, level=config.level, noise_seed=config.noise_seed,
        heard={} if system.is_borrowed else _tell_heard(run, noise),
        ids=[u.id for u in test], speakers=[u.speaker for u in test], truth=list(dataset.class_indices),
        model_hash=hash_file(weights) if (weights := system.find_weights(config.checkpoint)).is_file() else "",
        warnings=[*protocol.warnings, *_find_unnamed_noise(system)], packages=installed_packages(),
        git_revision=git_revision(Path(__file__).parent),
    )  # fmt: skip
    if path.is_file():
        kept = RobustnessRecord.from_json(path.read_text(encoding="utf-8"), str(path))
        if all(getattr(kept, part) == getattr(fresh, part) for part in ("ids", "truth", "identity", "model_hash")):
            fresh.conditions = kept.conditions
            fresh.warnings = list(dict.fromkeys([*fresh.warnings, *kept.warnings]))
            return fresh, path
        console.warn(f"{path} is of other clips or of another model and is made again")
    return fresh, path


def _name_enhancement(node: DictConfig) -> str:
    return {"VadNmf": "vad_nmf"}.get(str(node["_target_"]).rpartition(".")[2], str(node["_target_"]).rpartition(".")[2].lower())


def _tell_heard(run: Any, noise: NoiseCorpus) -> dict[str, str]:
    """Tell what training heard of each type: ``never``, ``type`` or ``stretch``."""
    told = run.noise
    known = told.get("heard_types", []) if told and told.get("corpus") == noise.name else []
    same = bool(told) and (told.get("test_was_heard") or noise.noise_split == "paper")
    return {name: "never" if name not in known else "stretch" if same else "type" for name in noise.types}


def _find_unnamed_noise(system: RobustnessSystem) -> list[str]:
    views = str(OmegaConf.to_container(system.config.get("views") or OmegaConf.create({}), resolve=False))
    if system.is_borrowed:
        return ["a model file away from its run does not tell what noises its training heard"]
    if "BackgroundNoise" in views and not system.run.noise:
        return ["training heard noises of its views' own, which the record does not name: types marked 'never' may have been among them"]
    return []
