"""ser-kd check: prove that no speaker, file or identical audio crosses a split, on all folds of a protocol, and no noise either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ser_kd.runtime import console
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config


def run(arguments: list[str]) -> int:
    """Audit a protocol on a corpus.

    Args:
        arguments: ``key=value`` overrides of ``conf/check.yaml``.

    Returns:
        0 where nothing leaks.

    Raises:
        LeakageError: If a split leaks: every shared speaker, file, audio or noise is named.
        DataError: If clips cannot be used: named, after the audit of the others was printed.
    """
    config = compose("check", arguments)
    check_config(config)
    from ser_kd.data.datamodule import SpeechDataModule  # late: torch takes seconds to import
    from ser_kd.data.decoded_audio import bad_audio_error
    from ser_kd.data.manifest import describe_left_out
    from ser_kd.data.protocols.leakage import audit_fold
    from ser_kd.data.protocols.protocol_fold import SPLITS, list_speakers
    from ser_kd.runtime.build import build

    data: SpeechDataModule = build(config.datamodule, corpus=build(config.corpus), protocol=build(config.protocol))
    with console.progress("decoding audio") as data.progress:
        manifest, audio = data.manifest, data.audio
    folds = [data.add_unlabelled(fold) for fold in data.protocol.folds(manifest, data.label_set)]
    first = folds[0]
    console.heading(f"{manifest.corpus}, protocol {first.protocol}, fingerprint {first.fingerprint}")
    used = {u.id for name in SPLITS for u in first.split(name)}
    unused = (
        Counter(u.emotion or "no label" for u in manifest.utterances if u.id not in used)
        if first.learns_dimensions
        else Counter(u.emotion or "no label" for u in manifest.utterances if u.emotion is None or not first.label_set.find_class(u.emotion))
    )
    console.table(
        {
            **({"classes": f"{first.label_set.name}: {', '.join(first.label_set.labels)}"} if first.label_set.labels else {}),
            **({"dimensions": "arousal, dominance, valence in [0, 1]: mean ± deviation"} if first.learns_dimensions else {}),
            "validation": first.validation,
            **({"not used": ", ".join(f"{name} {count}" for name, count in unused.most_common())} if unused else {}),
        }
    )
    audits = [audit_fold(fold, audio.audio_hashes) for fold in folds]
    for fold in folds:
        console.show(
            f"fold {fold.fold}: "
            + "; ".join(
                f"{name} {len(fold.split(name))} clips of {list_speakers(fold.speakers(name))}" for name in ("train", "validation", "test")
            )
        )
        for name in SPLITS if fold.learns_dimensions else ():
            console.show(f"  {name}: {fold.describe_counts(name)}")
    for text in (*_join_warnings(folds), *manifest.notes):
        console.warn(text)
    twins = {pair for audit in audits for pair in audit.identical_within}
    for pair in sorted(twins):
        by_id = {u.id: u for u in manifest.utterances}
        kept = ", ".join(f"speaker {by_id[name].speaker}, {by_id[name].emotion}" for name in pair[:1])
        console.show(f"identical audio within one split, harmless: {' = '.join(pair)} ({kept})")
    for audit in audits:
        audit.raise_if_leaking(first.protocol)
    if len(data.manifest.left_out) > len(audio.faults):  # files of foreign names; damaged ones are an error below
        console.warn(describe_left_out(data.manifest.left_out))
    if audio.faults:
        raise bad_audio_error(audio.faults, len(manifest.utterances) + len(audio.faults))
    allowed = "; validation shares speakers with training, as the protocol has it" if first.validation_shares_speakers else ""
    who = "test speaker" if allowed else "speaker"
    console.show(f"no {who}, file or identical audio crosses a split of the {len(folds)} folds{allowed}")
    if config.noise is not None:
        _check_noise(config.noise, data)
    return 0


def _join_warnings(folds: Sequence[Any]) -> list[str]:
    """List the warnings of all folds, each once with the folds it is of, where it is not of all."""
    found: dict[str, list[int]] = {}
    for fold in folds:
        for text in fold.warnings:
            found.setdefault(text, []).append(fold.fold)
    return [text if len(where) == len(folds) else f"fold {', '.join(map(str, where))}: {text}" for text, where in found.items()]


def _check_noise(node: Any, data: Any) -> None:
    from ser_kd.tasks.noise import audit_noise, prepare_noise  # late: torch takes seconds to import

    corpus = prepare_noise(node, data)
    audit, remarks = audit_noise(corpus)
    console.heading(f"noises of {corpus.name}")
    console.table(
        {
            "licence": corpus.licence,
            **({"source": corpus.source} if corpus.source else {}),
            "never heard in training": ", ".join(corpus.held_out) or "none of these types",
        }
    )
    for line in audit.describe():
        console.show(line)
    for text in remarks:
        console.warn(text)
    for text in audit.shared[:8]:
        console.show(text)
    audit.raise_if_leaking()
    if not audit.shared:
        console.show(f"no noise of the test or the validation sounds in training (fold {data.fold_number})")
