"""Models made elsewhere as members of an ensemble: found, loaded, and asked what they have heard before."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

import torch

from ser_kd.contracts.errors import ConfigError, LeakageError
from ser_kd.contracts.records import TeacherRecord
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.distill.teacher_member import TeacherMember, hash_weights
from ser_kd.distill.teacher_spec import MemberSource, TeacherSpec
from ser_kd.models.freezing import count_parameters
from ser_kd.models.pretrained import describe_missing_weights, keep_random_weights, load_pretrained
from ser_kd.runtime import console
from ser_kd.storage.downloads import find_model
from ser_kd.storage.hashing import hash_data

UNKNOWN = "unknown"


def check_published(spec: TeacherSpec, sample_rate_hz: int, needs_weights: bool) -> None:
    """Check, before any audio is read, that the weights of all published members can be had, and fetch those of the hub.

    Args:
        spec: Who teaches.
        sample_rate_hz: Of the audio that they will hear.
        needs_weights: Whether missing weights are an error; a dry run does without.

    Raises:
        DataError: If weights are missing.
        ConfigError: If the audio has another sample rate than they know.
    """
    if not spec.published:
        return
    from ser_kd.models.published_dimensions import SAMPLE_RATE_HZ  # late: transformers takes seconds to import

    if sample_rate_hz != SAMPLE_RATE_HZ:
        raise ConfigError(
            f"The teachers {' and '.join(spec.published)} know audio of another sample rate.",
            expected=f"datamodule.sample_rate_hz={SAMPLE_RATE_HZ}",
            got=f"datamodule.sample_rate_hz={sample_rate_hz}",
            remedy="set datamodule.sample_rate_hz, or choose other teachers",
        )
    wanted = {f"teacher.members.{name}.path": str(s["path"]) for name, s in spec.published.items() if s.get("weights") != "random"}
    missing = {key: path for key, path in wanted.items() if find_model(path, download=needs_weights) is None}
    if not missing:
        return
    fault = describe_missing_weights(missing)
    if needs_weights:
        raise fault
    console.warn(f"{fault}\n  until then the name of the run folder is not known: the teachers' weights are part of it")


def load_published_member(name: str, source: MemberSource, fold: ProtocolFold, corpus: str, needs_weights: bool) -> TeacherMember:
    """Build a published model, frozen, with its weights.

    Args:
        name: Member name.
        source: Where it comes from, checked by ``TeacherSpec``.
        fold: The student's fold.
        corpus: The student's corpus.
        needs_weights: Whether missing weights are an error; else the model stays random, and has no identity.

    Raises:
        LeakageError: If it has heard test clips of the fold, as far as can be told, or may have.
        ConfigError: If the order of its outputs is unknown, or it is of another size.
        DataError: If its weights are missing, damaged, or of another network.
    """
    warnings = check_unheard(name, source.get("seen"), fold, corpus)
    from ser_kd.models.published_dimensions import PublishedDimensions  # late: transformers takes seconds to import

    path, layout, weights = str(source.get("path")), source.get("layout"), source.get("weights") or "pretrained"
    if layout is None:  # refused by TeacherSpec; told to the type checker
        raise RuntimeError("a published model without a layout")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(name.encode()))  # random members are the same ones in every run
        model = PublishedDimensions(
            path, layout, weights, source.get("dimensions"), source.get("settings"),
            source.get("layers"), source.get("width"), source.get("conv_width"),
        )  # fmt: skip
    missing = model.missing_weights()
    if missing and not needs_weights:
        keep_random_weights(model)
    else:
        load_pretrained(model)
    if weights == "random":
        warnings.append(f"the teacher {name} has random weights: what it teaches means nothing")
    seen = source.get("seen")
    record = TeacherRecord(
        name=name,
        experiment=None,
        run=None,
        protocol_fingerprint=None,
        trained_on=_list_seen(seen),
        parameters=count_parameters(model)["total"],
        identity=None if missing else hash_data(["published", layout, hash_weights(model)]),
        corpus=", ".join(seen) if isinstance(seen, Mapping) else None,
        source=path,
        licence=source.get("licence") or "",
        warnings=warnings,
    )
    return TeacherMember(model, record)


def check_unheard(name: str, seen: Mapping[str, Sequence[str]] | str | None, fold: ProtocolFold, corpus: str) -> list[str]:
    """Check that a published model has not heard the test clips, by the corpus' own parts.

    Its training speakers are not known by name, so that only a corpus with a published split (``split`` of its clips) can be told apart.

    Args:
        name: Member name.
        seen: Corpus -> parts it was trained or selected on, or ``unknown``.
        fold: The student's fold.
        corpus: The student's corpus.

    Returns:
        What a reader must know.

    Raises:
        LeakageError: If test clips are of a part that it has heard, or of none that is known.
    """
    if seen is None or isinstance(seen, str):
        return [f"what the teacher {name} was trained on is unknown: it may have heard the test clips"]
    if corpus not in seen:
        return []
    parts = list(seen[corpus])
    heard = [u for u in fold.test if UNKNOWN in parts or u.groups.get("split") in (None, "", *parts)]
    if heard and fold.selection != "test":
        raise LeakageError(
            f"The teacher '{name}' may have heard test clips of this fold.",
            expected=f"test clips of parts of {corpus} that it was not trained on (it was on {', '.join(parts)})",
            got=f"{len(heard)} of {len(fold.test)} test clips: {_describe_parts(heard)}",
            remedy="judge on another corpus, or under a protocol whose test clips are a published part of this one; "
            f"if its makers trained on other parts, say so: teacher.members.{name}.seen.{corpus}=[train]",
        )
    return [f"the teacher {name} was trained on {', '.join(parts)} of {corpus}: clips that moved between releases are not told apart"]


def describe_published(members: Iterable[TeacherMember]) -> list[str]:
    """Tell where published members come from, and the licences of all, those that runs of ours inherit too."""
    lines = []
    for record in (member.record for member in members):
        if record.source or record.licence:
            origin = f"{record.source}, {record.parameters:,} parameters, trained on {', '.join(record.trained_on)}"
            lines.append(f"teacher {record.name}: {origin if record.source else record.run}; licence: {record.licence or 'not stated'}")
    return lines


def list_warnings(members: Iterable[TeacherMember]) -> list[str]:
    """List what a reader must know of members."""
    return [text for member in members for text in member.record.warnings]


def _list_seen(seen: Mapping[str, Sequence[str]] | str | None) -> list[str]:
    if not isinstance(seen, Mapping):
        return [UNKNOWN]
    return [f"{corpus}/{part}" for corpus, parts in seen.items() for part in parts]


def _describe_parts(utterances: Sequence[Utterance]) -> str:
    return ", ".join(sorted({u.groups.get("split") or "of no known part" for u in utterances}))
