"""Find the finished runs and published models that teach, and make one frozen ensemble of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.errors import ConfigError, LeakageError
from ser_kd.contracts.interfaces import FeatureExtractor
from ser_kd.contracts.records import RunRecord, TeacherRecord
from ser_kd.data.protocols.protocol_fold import ProtocolFold, sort_naturally
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import ClassMapping, TeacherMember
from ser_kd.distill.teacher_spec import MemberSource, TeacherSpec
from ser_kd.models.named_features import list_heard_features
from ser_kd.runtime.build import build
from ser_kd.runtime.recording import read_record
from ser_kd.storage.hashing import hash_data
from ser_kd.tasks.finished_runs import load_student, read_finished_run
from ser_kd.tasks.heard_audio import read_heard_audio
from ser_kd.tasks.published_teachers import UNKNOWN, load_published_member


def make_teacher(
    spec: TeacherSpec,
    fold: ProtocolFold,
    corpus: str,
    seed: int,
    runs_root: Path,
    needs_weights: bool = True,
    advise: Callable[[WantedRun], str] | None = None,
) -> TeacherEnsemble:
    """Load every member for a student's fold.

    Args:
        spec: Who teaches.
        fold: The student's fold.
        corpus: The student's corpus; speakers of another corpus are other people.
        seed: The student's seed.
        runs_root: Where runs lie.
        needs_weights: Whether weights of published models must be there; a dry run counts them without.
        advise: Says how a run that is missing is made, for messages.

    Raises:
        ConfigError: If a run is missing, ambiguous, has other classes, or nobody may answer for a training speaker.
        DataError: If a run is not finished or its checkpoint is damaged.
        LeakageError: If a member was trained or selected on test speakers of the fold.
    """
    folders = _find_folders(spec, fold, seed, runs_root, advise)
    _check_cross_fitted(spec, corpus)
    members = [load_member(folder, fold, corpus, member) for member, folder in folders.items()]
    members += [load_published_member(name, source, fold, corpus, needs_weights) for name, source in spec.published.items()]
    ensemble = TeacherEnsemble(members, fold.label_set.labels, spec.kept_weights, spec.combine, spec.calibrate, spec.answers)
    ensemble.check_speakers(fold.speakers("train"))
    return ensemble


def _check_cross_fitted(spec: TeacherSpec, corpus: str) -> None:
    """Check that nobody answers as one who has not heard a speaker, and may have."""
    suspect = [name for name, source in spec.published.items() if source.get("seen") == UNKNOWN or corpus in (source.get("seen") or {})]
    if spec.answers == "cross_fitted" and suspect:
        raise ConfigError(
            "Cross-fitted answers come from members that did not train on a clip's speaker, and of one nobody knows.",
            expected=f"published models that have heard nothing of {corpus}",
            got=", ".join(suspect),
            remedy="set teacher.answers=all",
        )


def identify_teacher(ensemble: TeacherEnsemble) -> str:
    """Hash which runs teach under which names; how they are combined stands in the configuration."""
    return hash_data([[member.name, member.record.identity] for member in ensemble.members])


@dataclass(frozen=True)
class WantedRun:
    """A finished run that a student's fold needs as a teacher.

    Args:
        member: Member name.
        experiment: The teacher's experiment.
        seed: The seed that is preferred.
        exact_seed: Whether no other seed will do.
        fold: The student's fold, less the speakers withheld.
        withhold: ``K/N`` of ``datamodule.withhold``; None for a teacher of all training speakers.
    """

    member: str
    experiment: str
    seed: int
    exact_seed: bool
    fold: ProtocolFold
    withhold: str | None = None

    @property
    def words(self) -> list[str]:
        """The words behind ``ser-kd train`` that choose it, beside those of the corpus."""
        words = [f"experiments={self.experiment}", f"fold={self.fold.fold}", f"seed={self.seed}"]
        return [*words, f"datamodule.withhold={self.withhold}"] if self.withhold else words


def list_wanted_runs(spec: TeacherSpec, fold: ProtocolFold, seed: int) -> list[WantedRun]:
    """List the runs of members that are named by their experiment, in the order of members and groups.

    Args:
        spec: Who teaches.
        fold: The student's fold.
        seed: The student's seed.
    """
    return [run for name, source in spec.sources.items() for run in _list_runs_of(spec, name, source, fold, seed)]


def _list_runs_of(spec: TeacherSpec, name: str, source: MemberSource, fold: ProtocolFold, seed: int) -> list[WantedRun]:
    experiment, own_seed = source.get("experiment"), source.get("seed")
    if experiment is None:
        return []
    chosen, exact = (seed, False) if own_seed is None else (own_seed, True)
    if spec.answers == "all":
        return [WantedRun(name, experiment, chosen, exact, fold)]
    groups = range(1, spec.groups + 1)
    return [
        WantedRun(f"{name}_{group}", experiment, chosen, exact, fold.withhold(group, spec.groups), f"{group}/{spec.groups}")
        for group in groups
    ]


def _find_folders(
    spec: TeacherSpec, fold: ProtocolFold, seed: int, runs_root: Path, advise: Callable[[WantedRun], str] | None
) -> dict[str, Path]:
    found = {}
    for name, source in spec.sources.items():
        template, own_seed = source.get("run"), source.get("seed")
        if template is not None:
            chosen = seed if own_seed is None else own_seed
            found[name] = Path(template.replace("{fold}", str(fold.fold)).replace("{seed}", str(chosen)))
        for run in _list_runs_of(spec, name, source, fold, seed):
            tell = _advise_plainly if advise is None else partial(advise, run)
            found[run.member] = find_teacher_run(runs_root, run.experiment, run.fold, run.seed, tell, exact_seed=run.exact_seed)
    return found


def _advise_plainly() -> str:
    return "train it first, on the student's corpus, protocol and fold"


def find_teacher_run(
    runs_root: Path,
    experiment: str,
    fold: ProtocolFold,
    seed: int,
    advise: Callable[[], str] = _advise_plainly,
    exact_seed: bool = False,
    what: str = "teacher",
) -> Path:
    """Find the finished run of an experiment that was trained under the same protocol and fold, with the same speakers withheld.

    Args:
        runs_root: Where runs lie.
        experiment: Name of the teacher's experiment.
        fold: The fold it was trained on.
        seed: The seed that is preferred; else the lowest is taken.
        advise: Says how one is made, for the message.
        exact_seed: Take no other seed.
        what: What it is to be, for the message.

    Trials of sweeps are passed over: they are runs of the same experiment in many configurations.

    Raises:
        ConfigError: If there is none, or several configurations of it.
    """
    folders = sorted(runs_root.glob(f"{experiment}/*/fold={fold.fold}/seed={seed if exact_seed else '*'}"))
    finished = [(folder, record) for folder in folders if (record := read_record(folder)) is not None and record.status == "finished"]
    records = [(folder, record) for folder, record in finished if not record.sweep]
    withheld = fold.to_record().withheld
    same_rules = [(folder, record) for folder, record in records if record.protocol.fingerprint == fold.fingerprint]
    fitting = [(folder, record) for folder, record in same_rules if record.protocol.withheld == withheld]
    if not fitting:
        others = len(records) - len(same_rules)
        reasons = [f"{others} finished under another protocol or on other clips"] if others else []
        trials = len(finished) - len(records)
        reasons += [f"{trials} finished as trials of sweeps, which teach only by name (teacher.run=FOLDER)"] if trials else []
        if same_rules:
            reasons.append(f"{len(same_rules)} finished with other speakers withheld")
        raise ConfigError(
            f"No finished run of the {what} '{experiment}' for fold {fold.fold}"
            + (f" without speakers {', '.join(withheld)}." if withheld else "."),
            expected=f"a finished run under protocol {fold.protocol} ({fold.fingerprint}) in {runs_root / experiment}",
            got="; ".join(["none", *reasons]),
            remedy=advise(),
        )
    if len({record.identity for _, record in fitting}) > 1:
        shown = "; ".join(f"{folder} ({_tell_validation(record)})" for folder, record in fitting)
        raise ConfigError(
            f"The {what} '{experiment}' was trained in several configurations.",
            expected="one, or the choice of one",
            got=shown,
            remedy="name one of these folders: teacher.experiment=null teacher.run=FOLDER (of a member: teacher.members.NAME.… for both)",
        )
    return min(fitting, key=lambda pair: (pair[1].seed != seed, pair[1].seed))[0]


def _tell_validation(record: RunRecord) -> str:
    name, shown = ("ua", "UA") if record.protocol.classes else ("ccc_mean", "mean CCC")
    return f"validation {shown} {record.metrics.get(f'validation/{name}', float('nan')):.3f}"


def load_member(folder: Path, fold: ProtocolFold, corpus: str, name: str) -> TeacherMember:
    """Load a finished run as a teacher of a fold.

    Args:
        folder: The teacher's run folder.
        fold: The student's fold.
        corpus: The student's corpus.
        name: Member name.

    Raises:
        LeakageError: If it was trained or selected on test speakers of the fold.
        ConfigError: If it knows nothing of one of the student's classes.
        DataError: If the run is not finished or its checkpoint is damaged.
    """
    record = read_finished_run(folder)
    mapping = _map_classes(record, fold, name)  # before its weights are read
    check_unseen(record, folder, fold, corpus)
    model, _, config = load_student(folder)
    nodes = (config.get("datamodule") or {}).get("features") or {}
    features: dict[str, FeatureExtractor] = {name: build(nodes[name]) for name in list_heard_features(model) if name in nodes}
    notices = [extractor.notice for extractor in features.values()]
    teacher_record = TeacherRecord(
        name=name,
        experiment=record.experiment,
        run="/".join(folder.parts[-(3 + record.experiment.count("/") + 1) :]),
        protocol_fingerprint=record.protocol.fingerprint,
        trained_on=record.protocol.speakers.get("train", []),
        parameters=record.parameters.get("total", 0),
        metrics={key: value for key, value in record.metrics.items() if key.count("/") == 1 and "=" not in key},
        identity=record.identity,
        corpus=record.corpus,
        licence="; ".join(dict.fromkeys(text for text in [*notices, *(teacher.licence for teacher in record.teachers)] if text)),
        left_out=[] if mapping is None else list(mapping.left_out),
    )
    if record.corpus != corpus:  # the same name is another person there
        teacher_record = replace(teacher_record, trained_on=[f"{record.corpus}/{speaker}" for speaker in teacher_record.trained_on])
    chosen = None if mapping is None or mapping.is_identity else mapping
    start = hash_start(config, record.seed)
    return TeacherMember(model, teacher_record, chosen, features, record.sample_rate_hz, read_heard_audio(folder), start)


def hash_start(config: DictConfig, seed: int) -> str:
    """Hash what a run's random weights come from: the model it builds, and the seed."""
    return hash_data([OmegaConf.to_container(config.student, resolve=True), seed])


def list_twins(config: DictConfig, teacher: TeacherEnsemble) -> list[str]:
    """Tell the members whose random weights the student begins with too, a line each.

    Args:
        config: The student's configuration.
        teacher: Its teacher.
    """
    if config.student.get("init_from") == "teacher":
        return []
    own = hash_start(config, config.seed)
    return [
        f"the student has the architecture and seed of the teacher {member.name}, and so begins with the very weights it began with: "
        f"they agree more than two trainings do (another seed is another start)"
        for member in teacher.members
        if member.start == own
    ]


def _map_classes(record: RunRecord, fold: ProtocolFold, name: str) -> ClassMapping | None:
    """Map the teacher's classes onto the student's; None where the teacher has none and need not.

    Raises:
        ConfigError: If the teacher says nothing about what the student learns.
    """
    if fold.targets == "dimensions" and not record.protocol.learns_dimensions:
        raise ConfigError(
            f"The teacher '{name}' does not answer with arousal, dominance and valence.",
            expected="a run with protocol.targets=dimensions or both",
            got=f"{record.experiment} with protocol.targets={record.protocol.targets}",
            remedy="train a teacher with the student's targets, or choose another",
        )
    if fold.learns_dimensions and not record.protocol.classes:
        return None
    return ClassMapping.by_name(record.protocol.classes, fold.label_set, name)


def check_unseen(record: RunRecord, folder: Path, fold: ProtocolFold, corpus: str, who: str = "teacher") -> None:
    """Check that a run was not trained or selected on test speakers of a fold; speakers of another corpus are other people.

    Raises:
        LeakageError: If it was.
    """
    if record.corpus != corpus or fold.selection == "test":
        return
    seen = set(record.protocol.speakers.get("train", [])) | set(record.protocol.speakers.get("validation", []))
    known = sort_naturally(seen & set(fold.speakers("test")))
    if known:
        raise LeakageError(
            f"The {who} has seen test speakers of this fold.",
            expected=f"a {who} trained without speakers {', '.join(fold.speakers('test'))}",
            got=f"{folder} was trained or selected on {', '.join(known)}",
            remedy=f"train the {who} on the same fold (fold={fold.fold}) under the same protocol",
        )
