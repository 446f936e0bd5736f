"""What a finished run's model does on another corpus, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from ser_kd.contracts.record_json import SCHEMA_VERSION, format_record, restore_metrics, restore_record


@dataclass
class CrossCorpusRecord:
    """What a finished run's model says about all clips of a corpus it was not trained on.

    Metrics are named as in ``RunRecord``, without the split: ``ua``, ``wa``, ``f1_macro``, ``recall_<class>``, ``ua_gender=female``.
    UA is the mean over the classes the corpus has; an answer of any other class counts as an error. Where dimensions are judged,
    ``ccc_arousal``, ``pearson_…``, ``rmse_…`` and ``ccc_mean``.

    Args:
        name: File name under ``evaluations/``, the corpus' name usually.
        experiment: Experiment of the run.
        identity: Identity of the run.
        fold: Fold of the run.
        seed: Seed of the run.
        trained_on: Corpus the run was trained on.
        corpus: Corpus that was judged.
        fingerprint: Hash of the judged ids and their classes; two evaluations compare only where it is equal.
        checkpoint: ``best`` or ``last``.
        restricted: Whether the model could only answer with classes the corpus has.
        classes: Classes of the model in logit order.
        mapping: Label of the corpus -> class of the model it was counted as.
        unmapped: Label of the corpus that the model does not know -> clips left out.
        absent: Classes of the model of which the corpus has no clip.
        clips: Clips judged.
        class_counts: Clips judged per class, in class order.
        speakers: Speakers judged.
        metrics: See above.
        undefined: Metric name -> why it is NaN.
        confusion: C x C counts, rows true, columns predicted.
        sample_rate_hz: Sample rate of the audio.
        clips_left_out: Utterance id -> why it could not be used.
        warnings: Whatever a reader must know to compare.
        packages: Package -> version.
        git_revision: As in ``RunRecord``.
        command: The command line that makes this evaluation again.
        finished_at: ISO time, UTC.
        targets: What was judged: ``classes``, ``dimensions`` or ``both``.
        dimension_counts: Dimension -> ``clips`` that are annotated, with ``mean`` and ``deviation`` in [0, 1]; empty where only classes
            are judged.
    """

    name: str
    experiment: str
    identity: str
    fold: int
    seed: int
    trained_on: str
    corpus: str
    fingerprint: str
    checkpoint: str
    restricted: bool
    classes: list[str]
    mapping: dict[str, str]
    unmapped: dict[str, int]
    absent: list[str]
    clips: int
    class_counts: list[int]
    speakers: int
    metrics: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)
    sample_rate_hz: int = 16_000
    clips_left_out: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    git_revision: str | None = None
    command: str = ""
    finished_at: str = ""
    targets: str = "classes"
    dimension_counts: dict[str, dict[str, float]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Write the record as strict JSON; NaN becomes null."""
        return format_record(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str = "evaluation.json") -> CrossCorpusRecord:
        """Read the record back; null metrics become NaN, unknown keys of later versions are refused.

        Args:
            text: The file's text.
            source: Named in errors.

        Raises:
            DataError: If the text is no JSON, of another schema version, or misses a key.
        """
        again = "evaluate the run again: ser-kd evaluate run=… corpus=…"
        return restore_record(cls, text, source, holds="an evaluation", remedy=again, again=again, restore=restore_metrics)
