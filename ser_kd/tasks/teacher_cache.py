"""Find, check, build and open the cache of a teacher's answers to the training clips of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.dataset import clip_key
from ser_kd.distill.answer_rows import KeptParts
from ser_kd.distill.cache_spec import CacheSpec
from ser_kd.distill.cached_teacher import CachedTeacher, ask_rows, differs, fill_shelf, identify_member, measure_row
from ser_kd.distill.objective import Objective
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.views import Views
from ser_kd.models.named_features import list_heard_features
from ser_kd.runtime import console
from ser_kd.storage.hashing import hash_data
from ser_kd.storage.shelf_notes import ShelfNote, list_shelves, read_note, remove_shelf
from ser_kd.storage.tensor_shelf import TensorShelf

_GB = 1e9
_PROBE_CLIPS = 2
_SAMPLE_CLIPS = 8


@dataclass
class CacheRequest:
    """Who answers about which clips, heard how.

    Args:
        spec: What is kept and where.
        teacher: Fitted already.
        data: Training clips.
        objective: Tells which parts of the answers are needed.
        views: Tell what the teacher hears.
        views_identity: Plain data that stands for the transforms of the views.
        root: Folder of all teacher caches.
        device: Where the teacher listens.
    """

    spec: CacheSpec
    teacher: TeacherEnsemble
    data: SpeechDataModule
    objective: Objective
    views: Views
    views_identity: Mapping[str, Any]
    root: Path
    device: str = "cpu"


@dataclass
class OpenedCache:
    """What came of a request.

    Args:
        teacher: Answers in training.
        view: ``clean``, or how many drawn views.
        reason: Why the teacher is asked live; empty where there is a cache.
        shelf: The cache, or None.
        clips: Training clips.
        views: Views of each.
        built: Rows that were asked for anew.
        seconds: How long it took to open or build.
    """

    teacher: CachedTeacher
    view: str
    reason: str = ""
    shelf: TensorShelf | None = None
    clips: int = 0
    views: int = 0
    built: int = 0
    seconds: float = 0.0

    def describe(self) -> str:
        """Say in one line for a record where training answers came from."""
        if self.shelf is None:
            return f"the teacher's answers to training clips were asked live: {self.reason}"
        kept = self.teacher.kept
        frames = f", frames in {kept.frames_dtype}, every {kept.frame_stride}" if kept.are_long else ""
        return f"the teacher's answers to training clips came from the cache {self.shelf.folder.name}: view {self.view}{frames}"


def open_cache(request: CacheRequest) -> OpenedCache:
    """Open the cache of a request, after building what is missing of it; where there can be none, say why and ask live.

    Raises:
        ConfigError: If ``cache.folder`` holds something else, or the teacher lacks a layer that is to be kept.
        DataError: If the cache cannot be written.
    """
    start = time.perf_counter()
    spec, data = request.spec, request.data
    kept = spec.choose_parts(request.objective)
    is_drawn = request.views.both is not None or request.views.teacher is not None or data.crops_training_clips
    reason = _why_not(request, is_drawn)
    if reason:
        return OpenedCache(CachedTeacher(request.teacher, kept), "", reason)
    views = (spec.views or 1) if is_drawn else 1
    view = f"{views} drawn" if is_drawn else "clean"
    identity, about = _identify(request, kept, view), _describe_owner(request)
    folder = Path(spec.folder).expanduser() if spec.folder else request.root / hash_data(identity, 16)
    if spec.folder:
        _check_own_folder(folder, identity, about)
    shelf = TensorShelf(folder, identity, about, console.warn)
    places = _place_clips(data, views if is_drawn else None)
    built = _complete(request, shelf, kept, places)
    if built is None:
        reason = f"the cache would exceed cache.budget_gb={spec.budget_gb:g}"
        return OpenedCache(CachedTeacher(request.teacher, kept), "", reason)
    teacher = CachedTeacher(request.teacher, kept, shelf, {pair: key for pair, (key, _) in places.items()})
    return OpenedCache(teacher, view, "", shelf, len(data.fold.train), views, built, time.perf_counter() - start)


def _why_not(request: CacheRequest, is_drawn: bool) -> str:
    if request.views.mixes_clips:
        return "what it hears of a clip depends on the others of the batch (mix-up)"
    if is_drawn and request.spec.views is None:
        what = "cropped" if request.views.both is None and request.views.teacher is None else "augmented"
        return f"clips are {what} anew in each epoch (cache.views=K would keep K views)"
    return ""


Places = dict[tuple[str, int | None], tuple[str, int]]
"""(utterance id, random key or None) -> (key on the shelf, epoch whose draws it has)."""


def _place_clips(data: SpeechDataModule, views: int | None) -> Places:
    """Name the rows of the training clips by their content, so that a changed clip finds none of another's."""
    places: Places = {}
    for utterance in data.fold.train:
        content = hash_data([utterance.id, data.audio.audio_hashes[utterance.id], utterance.text], 20)
        if views is None:
            places[utterance.id, None] = (content, 0)
        else:
            for epoch in range(views):
                places[utterance.id, clip_key(data.seed, epoch, utterance.id)] = (f"{content}/{epoch}", epoch)
    return places


def _identify(request: CacheRequest, kept: KeptParts, view: str) -> dict[str, Any]:
    data = request.data
    heard = {name for member in request.teacher.members for name in list_heard_features(member.model)}
    drawn = {"seed": data.seed, **{slot: request.views_identity.get(slot) for slot in ("both", "teacher")}}
    return {
        "teacher": [identify_member(member) for member in request.teacher.members],
        "preprocessing": {
            "sample_rate_hz": data.sample_rate_hz,
            "clip_samples": data.clip_samples,
            "padding": data.padding,
            **({"features": data.features.describe(heard)} if heard else {}),
        },
        "view": "clean" if view == "clean" else drawn,
        "kept": {
            "frames": kept.frames,
            "layers": None if kept.layers is None else list(kept.layers),
            "dtype": kept.frames_dtype if kept.are_long else None,
            "frame_stride": kept.frame_stride if kept.are_long else None,
        },
    }


def _describe_owner(request: CacheRequest) -> dict[str, Any]:
    members = request.teacher.members
    return {
        "teachers": [member.record.run or member.name for member in members],
        "family": [[member.name, member.record.experiment] for member in members],
        "corpus": request.data.corpus.name,
        "fold": request.data.fold.fold,
    }


def _check_own_folder(folder: Path, identity: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    found = read_note(folder)
    if found is None:
        raise ConfigError(
            "The folder given for the cache holds other things.",
            expected="a teacher cache, an empty folder, or none yet",
            got=f"cache.folder={folder}: no index of a cache that can be read",
            remedy="choose another folder, or leave cache.folder out",
        )
    if found.identity.get("teacher") != identity["teacher"]:
        raise ConfigError(
            "The cache in this folder holds the answers of another teacher.",
            expected=_name_teachers(about, identity),
            got=f"{folder}: {_name_teachers(found.about, found.identity)}",
            remedy="leave cache.folder out (the cache is then found by content), or choose another folder",
        )
    other = [part for part in identity if hash_data(found.identity.get(part)) != hash_data(identity[part])]
    if other:
        raise ConfigError(
            "The cache in this folder was made otherwise.",
            expected="; ".join(f"{part} {identity[part]}" for part in other),
            got=f"{folder}: " + "; ".join(f"{part} {found.identity.get(part)}" for part in other),
            remedy="leave cache.folder out (the cache is then found by content), or choose another folder",
        )


def _name_teachers(about: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    runs = about.get("teachers", [])
    weights = [member.get("weights") for member in identity.get("teacher", [])]
    return ", ".join(f"{run} (weights {part})" for run, part in zip(runs, weights, strict=False)) or "nobody that is named"


def _complete(request: CacheRequest, shelf: TensorShelf, kept: KeptParts, places: Places) -> int | None:
    """Build what is missing; gives how many rows that was, or None where they would exceed the budget."""
    missing = _list_missing(shelf, places)
    if len(missing) < len(places) and _is_stale(request, shelf, kept, places):
        console.warn(f"the teacher no longer says what {shelf.folder} holds: all rows are made again")
        shelf.clear()
        missing = dict(places)
    if not missing:
        return 0
    needed = _estimate_bytes(request, kept, missing)
    console.note(f"teacher cache: {len(missing)} answers, about {needed / 1e6:,.1f} MB, go to {shelf.folder}")
    if not _make_room(request, shelf, needed):
        return None
    with shelf.building() as sign_of_life, console.progress("asking the teacher") as progress:
        missing = _list_missing(shelf, places)  # another process may have built it meanwhile

        def told(clips: int) -> None:
            sign_of_life()
            progress(clips, len(missing))

        fill_shelf(shelf, request.teacher, kept, _hear_batches(request, missing), told)
    return len(missing)


def _list_missing(shelf: TensorShelf, places: Places) -> Places:
    return {pair: place for pair, place in places.items() if place[0] not in shelf}


def _hear_batches(request: CacheRequest, places: Places) -> Iterator[tuple[list[str], ModelInput]]:
    """Give what the teacher hears of some clips, view by view, with the keys of the rows."""
    for epoch in sorted({epoch for _, epoch in places.values()}):
        keys = {name: key for (name, _), (key, drawn) in places.items() if drawn == epoch}
        for batch in request.data.drawn_dataloader(epoch, keys):
            yield [keys[name] for name in batch.ids], request.views.teacher_input(batch.to(request.device))


def _is_stale(request: CacheRequest, shelf: TensorShelf, kept: KeptParts, places: Places) -> bool:
    """Ask about a few stored clips again: weights and audio may be the same and a front-end's code another."""
    stored = {pair: place for pair, place in places.items() if place[0] in shelf}
    first = dict(islice(stored.items(), _PROBE_CLIPS))
    for keys, inputs in _hear_batches(request, first):
        for key, row in zip(keys, ask_rows(request.teacher, kept, inputs), strict=True):
            if differs(shelf.read(key), row):
                return True
    return False


def _estimate_bytes(request: CacheRequest, kept: KeptParts, places: Places) -> int:
    """Measure the rows of some clips and scale: what is as long as a clip by samples, the rest by clips."""
    sample = dict(islice(places.items(), _SAMPLE_CLIPS))
    lengths = {u.id: request.data.audio.length_of(u.id) for u in request.data.fold.train}
    rows: list[dict[str, Tensor]] = [row for _, inputs in _hear_batches(request, sample) for row in ask_rows(request.teacher, kept, inputs)]
    whole = sum(measure_row(row) for row in rows)
    long = sum(value.nbytes for row in rows for value in row.values() if value.dim() > 1)
    clips = len(places) / len(sample)
    samples = sum(lengths[name] for name, _ in places) / max(sum(lengths[name] for name, _ in sample), 1)
    longer = clips if request.data.padding != "masked" else samples
    return round((whole - long) * clips + long * longer)


def _make_room(request: CacheRequest, shelf: TensorShelf, needed: int) -> bool:
    """Tell whether a shelf may grow, after deleting those of other folds where that is wished."""
    budget = request.spec.budget_gb * _GB
    own = read_note(shelf.folder)
    held = list_shelves(request.root) if request.spec.folder is None else [own] if own is not None else []
    total = sum(note.size_bytes for note in held) + needed
    if request.spec.keep == "fold":
        for note in _list_other_folds(held, shelf):
            if total <= budget:
                break
            if remove_shelf(note.folder):
                console.note(f"made room: the cache of fold {note.about['fold']} is deleted ({note.size_bytes / 1e6:,.1f} MB)")
                total -= note.size_bytes
    return total <= budget


def _list_other_folds(held: Sequence[ShelfNote], shelf: TensorShelf) -> list[ShelfNote]:
    alike = ("family", "corpus")
    return [
        note
        for note in held
        if all(note.about.get(name) == shelf.about[name] for name in alike) and note.about.get("fold") != shelf.about["fold"]
    ]
