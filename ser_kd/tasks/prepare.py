"""ser-kd prepare: decode a corpus once into the cache, and name what cannot be used."""

from __future__ import annotations

from collections import Counter

from ser_kd.runtime import console
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config


def run(arguments: list[str]) -> int:
    """Prepare a corpus.

    Args:
        arguments: ``key=value`` overrides of ``conf/prepare.yaml``.

    Returns:
        0.

    Raises:
        DataError: If clips cannot be used; the others are in the cache all the same.
    """
    config = compose("prepare", arguments)
    check_config(config)
    from ser_kd.data.datamodule import SpeechDataModule  # late: torch takes seconds to import
    from ser_kd.data.decoded_audio import bad_audio_error
    from ser_kd.data.manifest import describe_left_out
    from ser_kd.runtime.build import build
    from ser_kd.tasks.prepared_clips import extract_features

    data: SpeechDataModule = build(config.datamodule, corpus=build(config.corpus), protocol=build(config.protocol))
    with console.progress("decoding audio") as data.progress:
        audio = data.audio
    extract_features(data, data.manifest.utterances)
    utterances = data.manifest.utterances
    seconds = sum(audio.length_of(u.id) for u in utterances) / audio.sample_rate_hz
    labels = Counter(u.emotion or "no label" for u in utterances)
    console.table(
        {
            "corpus": f"{data.manifest.corpus}, licence: {data.manifest.licence}",
            "clips": f"{len(utterances)} of {len({u.speaker for u in utterances})} speakers, {seconds / 3600:.2f} h",
            "labels": ", ".join(f"{name} {count}" for name, count in sorted(labels.items())),
            "cache": f"{audio.folder}, {audio.size_bytes / 2**20:.0f} MiB",
        }
    )
    for text in data.manifest.notes:
        console.warn(text)
    if len(data.manifest.left_out) > len(audio.faults):  # files of foreign names; damaged ones are an error below
        console.warn(describe_left_out(data.manifest.left_out))
    if audio.faults:
        raise bad_audio_error(audio.faults, len(utterances) + len(audio.faults))
    return 0
