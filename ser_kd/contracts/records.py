"""What a run leaves behind, as plain data: all that training, deployment and reports share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ser_kd.contracts.record_json import SCHEMA_VERSION, format_record, restore_metrics, restore_record


@dataclass
class ProtocolRecord:
    """Under which rules a run was trained and judged.

    Args:
        name: Protocol name, such as ``ravdess_actors5``.
        fingerprint: Hash of ids, labels and split; two runs compare only where it is equal.
        fold: Fold number, from 0.
        folds: How many folds there are.
        validation: How validation is held out (``next_fold``, ``two_actors``, ``test_fold``, …).
        selection: Where the model was selected: ``validation``, ``refit`` or ``test`` (stated wherever it is shown).
        label_set: Name of the label set.
        classes: Classes in logit order.
        counts: Split name -> number of clips.
        speakers: Split name -> speakers.
        class_counts: Split name -> clips per class, in class order.
        warnings: Whatever a reader must know to compare.
        withheld: Training speakers of the fold that were kept from training, so that the model can answer for them unseen.
        targets: What is learned and judged: ``classes``, ``dimensions`` or ``both``.
        dimension_counts: Split name -> dimension -> ``clips`` that are annotated and, where there are any, their ``mean`` and ``deviation``
            (divided by n); empty where targets are classes.
    """

    name: str
    fingerprint: str
    fold: int
    folds: int
    validation: str
    selection: str
    label_set: str
    classes: list[str]
    counts: dict[str, int]
    speakers: dict[str, list[str]]
    class_counts: dict[str, list[int]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    targets: str = "classes"
    dimension_counts: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    @property
    def learns_dimensions(self) -> bool:
        """Whether arousal, dominance and valence are learned and judged."""
        return self.targets != "classes"


@dataclass
class TeacherRecord:
    """One teacher of a run.

    Args:
        name: Member name.
        experiment: The experiment it was trained by, or None for a foreign model.
        run: Its run folder, relative to the runs root.
        protocol_fingerprint: Fingerprint it was trained under.
        trained_on: Speakers it was trained on, or ``["unknown"]``.
        parameters: Its parameter count, running statistics included.
        metrics: Its own test and validation metrics.
        identity: Identity of its run; None for a foreign model.
        corpus: Corpus it was trained on; speakers of another corpus are other people.
        weight: Its share of the combined answer; None where it differs by class.
        class_weights: Class -> share, where it differs by class.
        calibration_temperature: What its logits are divided by; None where they are not.
        left_out: Its classes that the student does not have.
        source: Folder or hub name of a model made elsewhere; empty for a run of ours.
        licence: Under what its weights, or those of its own teachers, may be used; empty where nothing is stated.
        warnings: What a reader must know of it, such as that it may have heard the corpus before.
    """

    name: str
    experiment: str | None
    run: str | None
    protocol_fingerprint: str | None
    trained_on: list[str]
    parameters: int
    metrics: dict[str, float] = field(default_factory=dict)
    identity: str | None = None
    corpus: str | None = None
    weight: float | None = None
    class_weights: dict[str, float] = field(default_factory=dict)
    calibration_temperature: float | None = None
    left_out: list[str] = field(default_factory=list)
    source: str = ""
    licence: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass
class RunRecord:
    """Everything a report, a comparison or a later run needs to know of a run.

    Metrics are named ``<split>/<metric>``, such as ``test/ua``, ``test/wa``, ``test/f1_macro``, ``test/f1_weighted``,
    ``test/recall_<class>``, ``test/calibration_error``, ``test/teacher_agreement``, ``test/ua_gender=female``,
    ``train/teacher_confidence`` (mean of the teacher's largest probability on the training clips as it heard them);
    shares lie in [0, 1]. Where dimensions are learned, ``test/ccc_arousal``, ``test/pearson_…``, ``test/rmse_…``, ``test/ccc_mean`` (of the
    dimensions that are defined), ``test/teacher_ccc_…``, ``test/teacher_agreement_ccc_…``, ``test/ccc_mean_gender=female``.
    An undefined value is NaN (null in the file) and stands in ``undefined`` with its reason.

    Args:
        experiment: ``<paper_slug>/<variant>``.
        identity: Hash of everything that changes the science.
        status: ``running``, ``finished``, ``failed``, or ``stopped`` (ended early by its sweep; it can go on).
        seed: Run seed.
        corpus: Corpus name.
        protocol: The protocol and its fold.
        metrics: See above.
        undefined: Metric name -> why it is NaN.
        confusion: Split -> C x C counts, rows true, columns predicted.
        teacher_confusion: The same for the teacher on the same clips; empty without a teacher.
        teachers: The run's teachers.
        teaching: How the teachers' answers were combined, as configured (``weights``, ``combine``, ``calibrate``, ``answers``);
            empty without a teacher.
        parameters: ``trainable`` and ``total`` (with running statistics), of the student alone.
        multiply_accumulates: At ``input_samples``; None where it was not counted.
        input_samples: Input length in samples at which the former was counted.
        sample_rate_hz: Sample rate of the audio.
        epochs: ``run``, ``best`` (counted from 1), ``planned``.
        timings: Seconds by stage (``fit_s``, ``test_s``, ``epoch_s``).
        objective: Weights, temperature and terms as configured; ``needs_teacher`` lists the terms that listened to a teacher.
        clips_left_out: Utterance id -> why it was not used.
        packages: Package -> version.
        hardware: Processor, cores, memory, accelerator.
        git_revision: Commit, with ``+changes`` where the tree was not clean; None outside a checkout.
        command: The command line that makes this run again.
        started_at: ISO time, UTC.
        finished_at: ISO time, UTC.
        notes: Free remarks of the program (early stop, resumed, …).
        failure: Message of the error where status is ``failed``.
        noise: The noises of training, as ``NoiseCorpus.describe`` tells them (``corpus``, ``types``, ``heard_types``, ``held_out``,
            ``noise_split``, ``test_was_heard``, …); empty where none of the group ``noise`` were heard.
        sweep: Name of the sweep that this run is no more than a trial of; empty for an ordinary run.
        unlearned_dimensions: Of arousal, dominance and valence those that neither labels nor a teacher taught: the model gives no
            number for them.
    """

    experiment: str
    identity: str
    status: str
    seed: int
    corpus: str
    protocol: ProtocolRecord
    metrics: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    confusion: dict[str, list[list[int]]] = field(default_factory=dict)
    teacher_confusion: dict[str, list[list[int]]] = field(default_factory=dict)
    teachers: list[TeacherRecord] = field(default_factory=list)
    teaching: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    multiply_accumulates: int | None = None
    input_samples: int | None = None
    sample_rate_hz: int = 16_000
    epochs: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=dict)
    clips_left_out: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, str] = field(default_factory=dict)
    git_revision: str | None = None
    command: str = ""
    started_at: str = ""
    finished_at: str = ""
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    noise: dict[str, Any] = field(default_factory=dict)
    sweep: str = ""
    unlearned_dimensions: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    @property
    def is_distilled(self) -> bool:
        """Whether a term of the objective listened to a teacher; one that lent its blocks alone, as a start, distilled nothing."""
        return bool(self.teachers) and bool(self.objective.get("needs_teacher", True))

    def to_json(self) -> str:
        """Write the record as strict JSON; NaN becomes null."""
        return format_record(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str = "record.json") -> RunRecord:
        """Read a record back; null metrics become NaN, unknown keys of later versions are refused.

        Args:
            text: The file's text.
            source: Named in errors.

        Raises:
            DataError: If the text is no JSON, of another schema version, or misses a key.
        """
        remedy = "the run was damaged: delete its folder and train it again"
        return restore_record(cls, text, source, holds="a record", remedy=remedy, again="train the run again", restore=_restore)


def _restore(data: dict[str, Any]) -> dict[str, Any]:
    teachers = [TeacherRecord(**restore_metrics(teacher)) for teacher in data["teachers"]]
    return {**restore_metrics(data), "protocol": ProtocolRecord(**data["protocol"]), "teachers": teachers}
