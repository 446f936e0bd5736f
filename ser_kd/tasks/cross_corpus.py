"""Judge a finished run on all clips of a corpus that it was not trained on."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ser_kd.contracts.cross_corpus_record import CrossCorpusRecord
from ser_kd.contracts.emotions import LabelSet, NoClasses, Targets
from ser_kd.contracts.errors import ConfigError, DataError, LeakageError, SerKdError
from ser_kd.contracts.records import RunRecord
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus
from ser_kd.data.corpora.msp_podcast import MspPodcast
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.manifest import Corpus
from ser_kd.data.protocols.all_clips import AllClips
from ser_kd.data.protocols.annotated_dimensions import count_dimensions
from ser_kd.data.protocols.protocol_fold import sort_naturally
from ser_kd.data.relabelled_corpus import RelabelledCorpus
from ser_kd.models.restricted_classes import RestrictedClasses
from ser_kd.runtime.build import build
from ser_kd.runtime.environment import git_revision, installed_packages
from ser_kd.runtime.recording import now, write_evaluation
from ser_kd.tasks.finished_runs import OWN_CLIPS_ONLY, judge_clips, load_student
from ser_kd.tasks.heard_audio import check_run_unheard
from ser_kd.tasks.prepared_clips import prepare_clips
from ser_kd.tasks.text_readers import check_reads


def is_own_corpus(record: RunRecord, run_config: DictConfig, corpus: Corpus) -> bool:
    """Tell whether a corpus is the one a run was trained on.

    Named corpora are told by their name. Of manifests, which all share one, the file decides.

    Args:
        record: The run's record.
        run_config: Its configuration.
        corpus: The corpus page.
    """
    if corpus.name != record.corpus:
        return False
    if isinstance(corpus, ManifestCsvCorpus):
        trained_on = run_config.corpus.get("path")
        return corpus.path is None or (trained_on is not None and Path(trained_on).expanduser().resolve() == corpus.path.resolve())
    return True


def judge_other_corpus(
    folder: Path, corpus: Corpus, *, checkpoint: str, restrict: bool, label_set: str | None, command: str, cache_dir: str,
    texts: Mapping[Any, Any] | None = None,
) -> tuple[CrossCorpusRecord, Path]:  # fmt: skip
    """Judge a finished run's checkpoint on every clip of another corpus whose label it knows, and write the result beside the run.

    Arousal, dominance and valence meet by name, each corpus' scale mapped onto [0, 1]. A run of classes and dimensions is judged by both
    where the corpus has both. Clips are brought to the run's own sample rate, length and padding. All speakers are unseen, as far as names
    can tell.

    Args:
        folder: Run folder.
        corpus: The other corpus.
        checkpoint: ``best`` or ``last``.
        restrict: Let the model answer only with classes the corpus has.
        label_set: Label set of the corpus whose merges and drops come first; None takes its only one, or its labels as they are.
        command: Command line that makes the evaluation again.
        cache_dir: Folder for decoded audio.
        texts: ``transcripts`` and ``on_missing_text`` of the data module, as far as they are given; else the corpus' own texts are read.

    Returns:
        The evaluation's record and the file it was written to.

    Raises:
        ConfigError: If the label set is unknown, a restricted model would have fewer than two classes left, or texts are given and the
            model reads none.
        DataError: If the run or the corpus cannot be used, or they have nothing in common.
        LeakageError: If the corpus holds clips or audio that the run was trained or selected with, or speakers of them where names mean
            people.
    """
    model, run, config = load_student(folder, checkpoint)
    check_reads([model], texts or {}, str(folder))
    question = _choose_question(run, config, corpus, label_set, restrict)
    classes, remarks = question.classes, question.remarks
    remarks += _check_same_named(folder, run, corpus)
    data: SpeechDataModule = build(
        OmegaConf.merge(config.datamodule, {"cache_dir": cache_dir, "withhold": None, **OWN_CLIPS_ONLY, **(texts or {})}),
        corpus=question.corpus,
        protocol=AllClips(targets=question.targets),
        fold=0,
        seed=config.seed,
    )
    prepare_clips(data)
    remarks += check_run_unheard(folder, run.experiment, data)
    remarks += [*data.manifest.notes, *_describe_cropping(data), *data.fold.warnings]
    counts = data.fold.class_counts("test")
    absent = [name for name, count in zip(classes.labels, counts, strict=True) if not count]
    if absent and len(absent) == len(classes) - 1:
        remarks.append("only one class of the model has clips: UA is its recall")
    if restrict:
        model = RestrictedClasses(model, [count > 0 for count in counts])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Undefined metrics are NaN")  # classes without a clip are told by the record
        module = judge_clips(model, classes.labels, data, "test")
    result = module.results["test"]
    relabelled = question.corpus if isinstance(question.corpus, RelabelledCorpus) else None
    record = CrossCorpusRecord(
        name=_name_evaluation(corpus, checkpoint, restrict, label_set, texts or {}),
        experiment=run.experiment,
        identity=run.identity,
        fold=run.protocol.fold,
        seed=run.seed,
        trained_on=run.corpus,
        corpus=corpus.name,
        fingerprint=data.fold.fingerprint,
        checkpoint=checkpoint,
        restricted=restrict,
        classes=list(classes.labels),
        mapping=relabelled.mapping if relabelled else {},
        unmapped=relabelled.count_unmapped(data.manifest.left_out) if relabelled else {},
        absent=absent,
        clips=len(data.fold.test),
        class_counts=counts,
        speakers=len(data.fold.speakers("test")),
        metrics=result.values,
        undefined=result.undefined,
        confusion=result.confusion,
        sample_rate_hz=data.sample_rate_hz,
        clips_left_out=dict(data.manifest.left_out),
        warnings=remarks,
        packages=installed_packages(),
        git_revision=git_revision(Path(__file__).parent),
        command=command,
        finished_at=now(),
        targets=question.targets,
        dimension_counts=count_dimensions(data.fold.test) if question.targets != "classes" else {},
    )
    labels = relabelled.labels_by_id() if relabelled else {}
    rows: list[dict[str, Any]] = [
        {**row, "split": "all", **({"label": labels[row["id"]]} if labels else {})} for row in module.predictions["test"]
    ]
    return record, write_evaluation(folder, record, rows)


@dataclass
class _Question:
    """What a run is asked about another corpus.

    Args:
        corpus: The corpus, under the model's classes where these are judged.
        targets: What is judged.
        classes: The model's classes; none where dimensions alone are judged.
        remarks: What a reader must know.
    """

    corpus: Corpus
    targets: Targets
    classes: LabelSet = field(default_factory=NoClasses)
    remarks: list[str] = field(default_factory=list)


def _choose_question(run: RunRecord, config: DictConfig, corpus: Corpus, label_set: str | None, restrict: bool) -> _Question:
    if not run.protocol.classes:
        if restrict or label_set is not None:
            raise ConfigError(
                "The run has no classes to restrict or to map.",
                expected="neither restrict nor label_set beside a run of arousal, dominance and valence",
                got=f"restrict={restrict}, label_set={label_set}",
                remedy="leave them out",
            )
        return _Question(corpus, "dimensions")
    judges_dimensions = run.protocol.learns_dimensions and any(u.is_annotated for u in corpus.read_manifest().utterances)
    classes, remarks = _read_label_set(run, config)
    try:
        relabelled = RelabelledCorpus(corpus, classes, _choose_own_labels(corpus, label_set))
    except DataError:
        if not judges_dimensions:
            raise
        return _Question(corpus, "dimensions", remarks=["no label in common: arousal, dominance and valence alone are judged"])
    if run.protocol.learns_dimensions and not judges_dimensions:
        remarks.append(f"{corpus.name} has no arousal, dominance or valence: classes alone are judged")
    return _Question(relabelled, "both" if judges_dimensions else "classes", classes, remarks)


def _read_label_set(run: RunRecord, config: DictConfig) -> tuple[LabelSet, list[str]]:
    """Give the label set a run was trained with, merges and drops included, and a warning where these are no longer known."""
    name, labels = run.protocol.label_set, tuple(run.protocol.classes)
    try:
        found: LabelSet | None = build(config.corpus).label_sets.get(name)
    except SerKdError:  # a manifest that is no longer there, say
        found = None
    if found is not None and found.labels == labels:
        return found, []
    return LabelSet(name, labels), [f"the run's corpus is out of reach: what its label set '{name}' merged or dropped is unknown"]


def _choose_own_labels(corpus: Corpus, name: str | None) -> LabelSet | None:
    sets = corpus.label_sets
    if name is None:
        return next(iter(sets.values())) if len(sets) == 1 else None
    if name not in sets:
        raise ConfigError(
            f"Corpus '{corpus.name}' has no label set '{name}'.",
            expected=f"one of {', '.join(sets)}",
            got=f"label_set={name}",
            remedy="set label_set to one of them, or leave it out",
        )
    return sets[name]


def _check_same_named(folder: Path, run: RunRecord, corpus: Corpus) -> list[str]:
    """Look for the run's speakers in another corpus of the same name (another manifest, a part of it); elsewhere names mean nothing."""
    is_part = isinstance(corpus, MspPodcast) and run.corpus.startswith("msp_podcast")
    if corpus.name != run.corpus and not is_part:
        return []
    clips = {(u.id, u.speaker) for u in corpus.read_manifest().utterances}
    path = folder / "predictions.csv"
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            known = sorted({row["id"] for row in csv.DictReader(file) if (row["id"], row["speaker"]) in clips})
        if known:
            raise LeakageError(
                "The other corpus holds clips of the run's own.",
                expected=f"another corpus than the one {run.experiment} was trained on",
                got=f"{len(known)} clips of the same id and speaker, such as {', '.join(known[:3])}",
                remedy="to judge the run's own corpus where it lies now, leave corpus=… out and give corpus.path=… or corpus.root=…",
            )
    seen = {*run.protocol.speakers.get("train", []), *run.protocol.speakers.get("validation", [])}
    shared = sort_naturally(seen & {speaker for _, speaker in clips})
    shown = ", ".join(shared[:8]) + (f" and {len(shared) - 8} more" if len(shared) > 8 else "")
    if shared and is_part:
        raise LeakageError(
            "The run was trained or selected on speakers of these clips.",
            expected=f"a part of MSP-Podcast whose speakers {run.experiment} has not heard",
            got=f"speakers {shown} of {corpus.name}",
            remedy="judge it on a part whose speakers it has not heard (corpus.part=test2); where a part of another release has these "
            "speakers, train on that release",
        )
    return [f"speakers called as in training: {shown}; if they are the same people, the result is too good"] if shared else []


def _describe_cropping(data: SpeechDataModule) -> list[str]:
    longest, _ = data.evaluation_length
    cropped = [u for u in data.fold.test if longest is not None and data.audio.length_of(u.id) > longest]
    if not cropped:
        return []
    return [f"{len(cropped)} of {len(data.fold.test)} clips are longer than the model's {longest} samples: their middle is judged"]


def _name_evaluation(corpus: Corpus, checkpoint: str, restrict: bool, label_set: str | None, texts: Mapping[str, Any]) -> str:
    """Name the files, so that no choice overwrites another: emodb, emodb_restricted, ravdess_merge7, manifest_csv_mine_asr_blank_last."""
    manifest = corpus.path.stem if isinstance(corpus, ManifestCsvCorpus) and corpus.path is not None else None
    spoken = [Path(texts["transcripts"]).stem if "transcripts" in texts else None, texts.get("on_missing_text")]
    choices = [manifest, label_set, *spoken, "restricted" if restrict else None, "last" if checkpoint == "last" else None]
    return "_".join([corpus.name, *(choice for choice in choices if choice)])
