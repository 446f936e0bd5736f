"""The audit that proves no speaker, file or identical audio crosses a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

from ser_kd.contracts.errors import LeakageError
from ser_kd.data.protocols.protocol_fold import SPLITS, ProtocolFold, sort_naturally


@dataclass(frozen=True)
class LeakageAudit:
    """What the audit of one fold found.

    Args:
        fold: Fold number.
        crossing: One sentence per speaker, file or identical audio that two splits share.
        identical_within: Groups of ids with identical audio that stay within one split: harmless for the split, worth knowing.
    """

    fold: int
    crossing: list[str] = field(default_factory=list)
    identical_within: list[tuple[str, ...]] = field(default_factory=list)

    def raise_if_leaking(self, protocol: str) -> None:
        """Refuse a fold whose splits share something.

        Raises:
            LeakageError: With every shared speaker, file or audio.
        """
        if self.crossing:
            shown = "; ".join(self.crossing[:8]) + (f"; and {len(self.crossing) - 8} more" if len(self.crossing) > 8 else "")
            raise LeakageError(
                f"Fold {self.fold} of protocol '{protocol}' leaks.",
                expected="no speaker, file or identical audio in two of train, validation and test",
                got=shown,
                remedy="correct the speakers or the split of these clips, or leave the copies out",
            )


def audit_fold(fold: ProtocolFold, audio_hashes: Mapping[str, str]) -> LeakageAudit:
    """Look for speakers, files and identical audio in two splits of a fold.

    Args:
        fold: The fold; an empty validation split (refit) is fine. Where the protocol lets validation share the speakers of training,
            that is no leak; test speakers, files and identical audio are looked for all the same.
        audio_hashes: Utterance id -> hash of its decoded samples.
    """
    crossing: list[str] = []
    # validation=test_fold shares test and validation by definition; training against the others is audited all the same
    pairs = [pair for pair in combinations(SPLITS, 2) if fold.selection != "test" or "train" in pair]
    for first, second in pairs:
        shared = set(fold.speakers(first)) & set(fold.speakers(second))
        if fold.validation_shares_speakers and "test" not in (first, second):
            shared = set()
        crossing += [f"speaker {name} is in {first} and {second}" for name in sort_naturally(shared)]
        files = {str(u.path) for u in fold.split(first)} & {str(u.path) for u in fold.split(second)}
        crossing += [f"file {name} is in {first} and {second}" for name in sorted(files)]
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for name in SPLITS:
        for utterance in fold.split(name):
            places[audio_hashes[utterance.id]].setdefault(utterance.id, name)
    within: list[tuple[str, ...]] = []
    for clips in places.values():
        if len(clips) < 2:
            continue
        if len(set(clips.values())) > 1:
            crossing.append("identical audio: " + " and ".join(f"{clip} ({split})" for clip, split in sorted(clips.items())))
        else:
            within.append(tuple(sorted(clips)))
    return LeakageAudit(fold.fold, crossing, sorted(within))
