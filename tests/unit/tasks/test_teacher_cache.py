"""Cached answers are the live ones: whoever answers, in any order, for clean and drawn views; and nothing else is picked up."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.data.clip_bank import HeldClips
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.distill.answer_rows import KeptParts
from ser_kd.distill.cache_spec import CacheSpec
from ser_kd.distill.cached_teacher import CachedTeacher
from ser_kd.distill.distillation_module import DistillationModule
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.views import Views
from ser_kd.losses.attention_transfer import AttentionTransfer
from ser_kd.tasks.teacher_cache import OpenedCache, open_cache
from ser_kd.transforms.background_noise import BackgroundNoise
from ser_kd.transforms.chain import Chain
from ser_kd.transforms.gain import Gain
from ser_kd.transforms.mixup import MixUp

WORKER = Path(__file__).with_name("teacher_cache_worker.py")
_spec = importlib.util.spec_from_file_location("teacher_cache_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)
FRAMES, Tiny, augmentation, clips_heard = worker.FRAMES, worker.Tiny, worker.augmentation, worker.clips_heard
listening, make_data, make_request, make_teacher, write_corpus = (
    worker.listening, worker.make_data, worker.make_request, worker.make_teacher, worker.write_corpus,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def compare(mine: Outputs, theirs: Outputs, stride: int = 1, tolerance: float = 1e-5) -> None:
    def near(first: Tensor | None, second: Tensor | None) -> None:
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)

    for name in ("logits", "dimensions", "embedding"):
        near(getattr(mine, name), getattr(theirs, name))
    assert mine.embeddings.keys() == theirs.embeddings.keys()
    for name, value in mine.embeddings.items():
        near(value, theirs.embeddings[name])
    if mine.frames is not None:
        assert mine.frame_mask is not None
        assert theirs.frames is not None
        assert theirs.frame_mask is not None
        mask = theirs.frame_mask[:, ::stride]
        assert torch.equal(mine.frame_mask, mask[:, : mine.frame_mask.shape[1]])
        for one, other in ((mine.frames, theirs.frames), *((v, theirs.hidden_states[n]) for n, v in mine.hidden_states.items())):
            near(one[mine.frame_mask], other[:, ::stride][mask])


def compare_all(mine: TeacherAnswers, theirs: TeacherAnswers, **options: Any) -> None:
    assert mine.members.keys() == theirs.members.keys()
    for one, other in ((mine.combined, theirs.combined), *((mine.members[name], theirs.members[name]) for name in mine.members)):
        compare(one, other, **options)


ENSEMBLES: dict[str, Callable[[], TeacherEnsemble]] = {
    "single": make_teacher,
    "probabilities": lambda: make_teacher(2, weights={"m0": 1.0, "m1": 3.0}),
    "logits": lambda: make_teacher(2, combine="logits"),
    "cross-fitted": lambda: make_teacher(3, answers="cross_fitted"),
}


@pytest.mark.parametrize("name", ENSEMBLES)
@pytest.mark.parametrize(("stride", "dtype"), [(1, "float32"), (2, "float16")])
def test_cached_answers_equal_the_live_ones_in_any_order(corpus: Path, tmp_path: Path, name: str, stride: int, dtype: Any) -> None:
    spec = CacheSpec(dtype=dtype, frame_stride=stride)
    live, teacher = ENSEMBLES[name](), ENSEMBLES[name]()
    opened = open_cache(make_request(corpus, tmp_path, spec=spec, teacher=teacher, objective=listening(*FRAMES)))
    assert (opened.view, opened.clips, opened.built) == ("clean", 6, 6)
    asked = clips_heard(teacher)
    for batch in make_data(corpus, batch_size=5, seed=3, bucket_by_length=False).train_dataloader():  # another order, another company
        heard = batch.model_input()
        mine = opened.teacher.answer(heard, batch.speakers, batch.ids)
        compare_all(mine, live.answer(heard, batch.speakers), stride=stride, tolerance=2e-3 if dtype == "float16" else 1e-5)
        first = next(iter(mine.members.values()))
        assert first.hidden_states.keys() == {1}
        assert not any(value.requires_grad for value in (first.logits, first.frames))
    assert clips_heard(teacher) == asked  # it was never asked again
    assert opened.teacher.clips_asked == 0


def test_a_live_answer_is_thinned_and_rounded_as_a_stored_one(corpus: Path, tmp_path: Path) -> None:
    request = make_request(corpus, tmp_path, spec=CacheSpec(frame_stride=3), objective=listening(*FRAMES))
    opened = open_cache(request)
    batch = next(iter(request.data.train_dataloader()))
    heard = batch.model_input()
    stored = opened.teacher.answer(heard, batch.speakers, batch.ids)
    nobody = CachedTeacher(request.teacher, opened.teacher.kept).answer(heard, batch.speakers, batch.ids)
    mixed = opened.teacher.answer(heard, batch.speakers, ["unknown", *batch.ids[1:]])
    compare_all(stored, nobody, tolerance=1e-5)
    compare_all(mixed, nobody, tolerance=1e-5)
    assert (opened.teacher.clips_asked, opened.teacher.clips_read) == (1, 2 * len(batch) - 1)


class Student(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Tiny(9)

    def forward(self, inputs: ModelInput) -> Outputs:
        return self.model(inputs)


class Losses(lightning.Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.values.append(float(outputs["loss"]))


def train(data: SpeechDataModule, teacher: TeacherEnsemble, views: Views, asked: Any, epochs: int) -> list[float]:
    module = DistillationModule(
        Student(), listening(*FRAMES), ("angry", "sad"), teacher, views, optimizer=lambda p: torch.optim.SGD(p, lr=0.05)
    )
    module.ask_in_training(asked)
    losses = Losses()
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, callbacks=[losses], use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return losses.values


def test_drawn_views_train_as_live_ones_with_the_same_draws_do(corpus: Path, tmp_path: Path) -> None:
    spec = CacheSpec(views=2, dtype="float32")
    live = make_teacher()
    expected = train(make_data(corpus, key_epochs=2), live, augmentation(), live, epochs=3)
    request = make_request(
        corpus, tmp_path, spec=spec, objective=listening(*FRAMES), views=augmentation(), views_identity={"both": "chain"}
    )
    opened = open_cache(request)
    assert (opened.view, opened.built) == ("2 drawn", 12)
    asked = clips_heard(request.teacher)
    assert train(request.data, request.teacher, augmentation(), opened.teacher, epochs=3) == pytest.approx(expected, rel=1e-4)
    assert clips_heard(request.teacher) == asked
    assert opened.teacher.clips_read == 18
    fresh = train(make_data(corpus), live, augmentation(), live, epochs=3)
    assert fresh[:4] == pytest.approx(expected[:4], rel=1e-4)
    assert fresh[4:] != pytest.approx(expected[4:], rel=1e-4)  # without cache.views each epoch draws anew


def test_a_view_that_was_not_cached_is_never_answered_by_another(corpus: Path, tmp_path: Path) -> None:
    request = make_request(corpus, tmp_path, spec=CacheSpec(views=1), views=augmentation())
    opened = open_cache(request)
    data = make_data(corpus)
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(1)  # type: ignore[union-attr]
    batch = next(iter(loader))
    heard = request.views.teacher_input(batch)
    compare_all(opened.teacher.answer(heard, batch.speakers, batch.ids), make_teacher().answer(heard), tolerance=1e-5)
    assert opened.teacher.clips_read == 0


def test_cropped_clips_are_drawn_views_too(corpus: Path, tmp_path: Path) -> None:
    data = make_data(corpus, clip_samples=1000)
    assert data.crops_training_clips
    assert "cropped anew" in open_cache(make_request(corpus, tmp_path, data=data)).reason
    request = make_request(corpus, tmp_path, spec=CacheSpec(views=2), data=make_data(corpus, clip_samples=1000, key_epochs=2))
    opened = open_cache(request)
    loader = request.data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(5)  # type: ignore[union-attr]
    for batch in loader:
        heard = batch.model_input()
        compare_all(opened.teacher.answer(heard, batch.speakers, batch.ids), make_teacher().answer(heard), tolerance=1e-5)
    assert opened.teacher.clips_asked == 0


def test_noise_that_both_hear_is_asked_live_or_kept_view_by_view(corpus: Path, tmp_path: Path) -> None:
    noises = HeldClips(["hiss", "hum"], [torch.randn(900), torch.sin(0.1 * torch.arange(1200))], 16_000)
    views = Views(both=BackgroundNoise(noises, 0.0, 30.0, probability=1.0, slot="both"))
    tiled = {"clip_samples": 1500, "padding": "tile"}
    assert "augmented anew" in open_cache(make_request(corpus, tmp_path, views=views, data=make_data(corpus, **tiled))).reason
    request = make_request(
        corpus,
        tmp_path,
        spec=CacheSpec(views=2),
        views=views,
        views_identity={"both": "noise"},
        data=make_data(corpus, key_epochs=2, **tiled),
    )
    opened = open_cache(request)
    loader = request.data.train_dataloader()
    ratios = []
    for epoch in (2, 3):
        loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for batch in loader:
            _, student, heard = views.split(batch)
            assert torch.equal(student.waveforms, heard.waveforms)
            ratios += views.both.last_parameters["snr_db"].tolist()  # type: ignore[union-attr]
            compare_all(opened.teacher.answer(heard, batch.speakers, batch.ids), make_teacher().answer(heard), tolerance=1e-5)
    assert (opened.teacher.clips_asked, opened.teacher.clips_read) == (0, 12)
    assert len(set(ratios)) == 12
    assert 0 <= min(ratios) < 10 < 20 < max(ratios) <= 30


def test_what_cannot_be_cached_is_told_and_asked_live(corpus: Path, tmp_path: Path) -> None:
    mixed = open_cache(make_request(corpus, tmp_path, spec=CacheSpec(views=2), views=Views(both=Chain([Gain(), MixUp()]))))
    assert "mix-up" in mixed.reason
    assert "asked live" in mixed.describe()
    assert mixed.teacher.shelf is None
    assert "cache.views=K" in open_cache(make_request(corpus, tmp_path, views=Views(teacher=Gain()))).reason
    # what the student alone hears is nothing to the teacher
    assert open_cache(make_request(corpus, tmp_path, views=Views(student=MixUp()))).reason == ""


def test_a_second_opening_has_nothing_to_do_and_other_content_is_another_cache(corpus: Path, tmp_path: Path) -> None:
    first = open_cache(make_request(corpus, tmp_path))
    again = make_request(corpus, tmp_path)
    second = open_cache(again)
    assert second.built == 0
    assert second.shelf is not None
    assert first.shelf is not None
    assert second.shelf.folder == first.shelf.folder
    assert clips_heard(again.teacher) == 2  # the probe alone
    assert "view clean" in second.describe()
    calibrated = make_teacher()
    calibrated.members[0].record.calibration_temperature = 2.0
    others: dict[str, dict[str, Any]] = {
        "weights": {"teacher": make_teacher(seed=1)},
        "calibration": {"teacher": calibrated},
        "padding": {"data": make_data(corpus, clip_samples=4000, padding="right")},
        "views": {"views": augmentation(), "spec": CacheSpec(views=1)},
        "transforms": {"views": augmentation(), "spec": CacheSpec(views=1), "views_identity": {"both": "louder"}},
        "seed": {"views": augmentation(), "spec": CacheSpec(views=1), "data": make_data(corpus, seed=1)},
        "layers": {"spec": CacheSpec(layers=[2])},
        "dtype": {"spec": CacheSpec(layers=[2], dtype="float32")},
        "stride": {"spec": CacheSpec(layers=[2], frame_stride=2)},
    }
    folders = {name: open_cache(make_request(corpus, tmp_path, **change)).shelf.folder for name, change in others.items()}  # type: ignore[union-attr]
    assert len({first.shelf.folder, *folders.values()}) == len(others) + 1
    # how members are weighed is decided anew at each lookup
    pair = open_cache(make_request(corpus, tmp_path, teacher=make_teacher(2)))
    weighed = open_cache(make_request(corpus, tmp_path, teacher=make_teacher(2, weights={"m0": 1.0, "m1": 0.0}, combine="logits")))
    assert (pair.built, weighed.built) == (6, 0)


def test_changed_audio_is_asked_anew_and_the_rest_is_kept(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    data = make_data(corpus, fold=2)
    assert {u.speaker for u in data.fold.train} == {"s0", "s1"}
    assert open_cache(make_request(corpus, tmp_path / "caches", data=data)).built == 6
    write_corpus(tmp_path / "corpus", louder=0.5)
    assert open_cache(make_request(corpus, tmp_path / "caches", data=make_data(corpus, fold=2))).built == 1
    assert len(list((tmp_path / "caches").iterdir())) == 1


def harm(folder: Path, kind: str) -> None:
    (shard,) = folder.glob("shard-*")
    if kind == "index":
        (folder / "index.json").write_text("{}")
    elif kind == "short":
        shard.write_bytes(shard.read_bytes()[:50])
    else:
        data = bytearray(shard.read_bytes())
        data[-1] ^= 255
        shard.write_bytes(data)


@pytest.mark.parametrize(("kind", "reason"), [("index", "cannot be read"), ("short", "cut short"), ("byte", "damaged")])
def test_a_harmed_cache_is_told_and_built_again(
    corpus: Path, tmp_path: Path, kind: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_cache(make_request(corpus, tmp_path))
    assert opened.shelf is not None
    harm(opened.shelf.folder, kind)
    capsys.readouterr()
    again = open_cache(make_request(corpus, tmp_path))
    assert again.built == 6
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert reason in told[0]
    assert open_cache(make_request(corpus, tmp_path)).built == 0


def test_answers_that_the_teacher_no_longer_gives_are_told_and_made_again(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(make_request(corpus, tmp_path))
    hear = Tiny.forward
    monkeypatch.setattr(Tiny, "forward", lambda model, inputs: hear(model, inputs).map(lambda v: v * 1.2 if v.is_floating_point() else v))
    again = open_cache(make_request(corpus, tmp_path))
    assert again.built == 6
    assert "no longer says" in capsys.readouterr().err


def test_a_folder_given_by_hand_is_refused_where_it_holds_something_else(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    spec = CacheSpec(folder=str(folder))
    assert open_cache(make_request(corpus, tmp_path, spec=spec)).built == 6
    assert open_cache(make_request(corpus, tmp_path, spec=spec)).built == 0
    other = make_teacher(seed=1)
    other.members[0].record.run = "paper/other"
    with pytest.raises(ConfigError, match="answers of another teacher") as fault:
        open_cache(make_request(corpus, tmp_path, spec=spec, teacher=other))
    assert "paper/other (weights" in fault.value.expected
    assert "paper/teacher/0 (weights" in fault.value.got
    with pytest.raises(ConfigError, match="made otherwise") as fault:
        open_cache(make_request(corpus, tmp_path, spec=CacheSpec(folder=str(folder), layers=[2])))
    assert "kept" in fault.value.got
    assert "budget" in open_cache(make_request(corpus, tmp_path, spec=CacheSpec(folder=str(tmp_path / "small"), budget_gb=0.0))).reason
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ConfigError, match="holds other things"):
        open_cache(make_request(corpus, tmp_path, spec=CacheSpec(folder=str(tmp_path / "weights"))))


def test_above_the_budget_the_teacher_is_asked_live_unless_other_folds_make_room(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def open_fold(fold: int, **options: Any) -> OpenedCache:
        spec = CacheSpec(layers=[1], **options)
        return open_cache(make_request(corpus, tmp_path, spec=spec, teacher=make_teacher(seed=fold), data=make_data(corpus, fold=fold)))

    first = open_fold(0)
    assert first.shelf is not None
    size = sum(path.stat().st_size for path in first.shelf.folder.iterdir())
    os.utime(first.shelf.folder / "index.json", (1, 1))
    second = open_fold(1)
    told = capsys.readouterr().out
    assert "6 answers, about" in told
    full = open_fold(2, budget_gb=2.0 * size / 1e9)
    assert "budget_gb" in full.reason
    assert full.teacher.shelf is None
    assert open_fold(0, budget_gb=0.0).built == 0  # what lies there already costs nothing
    os.utime(first.shelf.folder / "index.json", (1, 1))
    third = open_fold(2, budget_gb=2.0 * size / 1e9, keep="fold")
    assert third.shelf is not None
    assert second.shelf is not None
    left = {path.parent for path in tmp_path.glob("*/index.json")}
    assert left == {second.shelf.folder, third.shelf.folder}  # the one used longest ago has gone
    assert "fold 0 is deleted" in capsys.readouterr().out
    assert "budget_gb" in open_fold(1, budget_gb=0.0, keep="fold", frame_stride=2).reason


def test_a_cache_that_cannot_be_written_is_one_message(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        open_cache(make_request(corpus, tmp_path / "file"))


def test_kept_parts_follow_the_objective(corpus: Path, tmp_path: Path) -> None:
    assert open_cache(make_request(corpus, tmp_path)).teacher.kept == KeptParts()
    with pytest.raises(ConfigError, match="no such layer"):
        open_cache(make_request(corpus, tmp_path, objective=listening(AttentionTransfer(4, teacher_layer=7))))


@pytest.mark.slow
def test_two_processes_build_one_cache_at_once(corpus: Path, tmp_path: Path) -> None:
    make_data(corpus)  # decoded beforehand
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    words = [sys.executable, str(WORKER), str(corpus), str(tmp_path)]
    pair = [subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in pair:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in pair:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=120)[0].splitlines()[-1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert sorted(json.loads(line)[0] for line in told) == [0, 24]
    assert open_cache(make_request(corpus, tmp_path, spec=CacheSpec(views=4), views=augmentation())).built == 0


def test_a_changed_transcript_changes_the_row_of_its_clip_alone(corpus: Path, tmp_path: Path) -> None:
    def write(changed: str = "clip 0") -> Path:
        lines = [f"clip{number:02d}.wav,{changed if number == 0 else f'clip {number}'}" for number in range(12)]
        (tmp_path / "texts.csv").write_text("\n".join(["id,text", *lines]))
        return tmp_path / "texts.csv"

    def build() -> OpenedCache:
        data = make_data(corpus, transcripts=tmp_path / "texts.csv", fold=1)
        assert "clip00.wav" in {u.id for u in data.fold.train}
        return open_cache(make_request(corpus, tmp_path / "cache", data=data))

    write()
    assert build().built == 6
    assert build().built == 0
    write("something else")
    assert build().built == 1
    write()
    assert build().built == 0
