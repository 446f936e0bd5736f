"""Models made elsewhere as teachers: what must be said of them, what they have heard, and that they answer alike beside runs of ours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.emotions import LabelSet, NoClasses
from ser_kd.contracts.errors import ConfigError, DataError, LeakageError
from ser_kd.contracts.records import RunRecord, TeacherRecord
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.distill.answer_rows import KeptParts
from ser_kd.distill.cached_teacher import CachedTeacher, fill_shelf, identify_member
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.distill.teacher_spec import MemberSource, TeacherSpec
from ser_kd.frontends.log_mel import LogMel
from ser_kd.models.encoders.timnet import TimNet
from ser_kd.models.heads import LinearHead
from ser_kd.models.published_layouts import LAYOUTS
from ser_kd.models.speech_model import SpeechModel
from ser_kd.reports.teacher_rows import warn_of_teacher
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose
from ser_kd.runtime.recording import write_record
from ser_kd.storage.tensor_shelf import TensorShelf
from ser_kd.tasks.published_teachers import check_published, check_unheard, describe_published, load_published_member
from ser_kd.tasks.run_export import _list_licences
from ser_kd.tasks.teachers import identify_teacher, load_member, make_teacher
from tests.published_models import SMALL, save_odyssey, save_wav2vec2

SEEN = {"msp_podcast": ["train", "validation"]}


def fold_of(test: tuple[str, ...] = ("test1",), classes: LabelSet | None = None, selection: str = "validation") -> ProtocolFold:
    def clip(number: int, split: str) -> Utterance:
        return Utterance(f"u{number}", Path("u"), f"s{number}", arousal=0.5, groups={"split": split} if split else {})

    told = tuple(clip(number, split) for number, split in enumerate(test))
    return ProtocolFold(
        "p", "print", 0, 1, "official", classes or NoClasses(), (clip(8, "train"),), (), told, selection, targets="dimensions"
    )


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, MemberSource]:
    save_wav2vec2(tmp_path / "dawn", names=("valence", "arousal", "dominance"))
    save_odyssey(tmp_path / "odyssey")
    return {
        "dawn": {"path": str(tmp_path / "dawn"), "layout": "wav2vec2", "seen": SEEN, "licence": "CC BY-NC-SA 4.0"},
        "odyssey": {"path": str(tmp_path / "odyssey"), "layout": "odyssey_wavlm", "seen": SEEN, "licence": "MIT"},
    }


def clips() -> ModelInput:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([8_000, 5_000])
    return ModelInput(torch.randn(2, 8_000, generator=generator) * 0.1 * (torch.arange(8_000) < lengths[:, None]), lengths)


def test_every_layout_can_be_named() -> None:
    (choices, _) = get_args(get_type_hints(MemberSource)["layout"])
    assert set(get_args(choices)) == set(LAYOUTS)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layout": None}, "laid out is not said"),
        ({"seen": None}, "trained on is not said"),
        ({"seen": {"msp_podcast": []}}, "trained on is not said"),
        ({"seen": ["msp_podcast"]}, "trained on is not said"),
        ({"run": "folder"}, "named twice"),
        ({"path": None}, "named nowhere"),
        ({"seed": 1}, "a published model and has keys that say nothing about one"),
        ({"path": None, "run": "folder"}, "a finished run and has keys that say nothing about one"),
    ],
)
def test_what_cannot_be_guessed_of_a_published_model_must_be_said(sources: dict[str, Any], change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TeacherSpec(members={"dawn": {**sources["dawn"], **change}})


@pytest.mark.parametrize(
    ("seen", "corpus", "test", "heard"),
    [
        (SEEN, "msp_podcast", ("test1", "test2"), False),
        (SEEN, "msp_podcast", ("test1", "validation"), True),
        (SEEN, "msp_podcast", ("test1", ""), True),  # a clip of no known part may be any
        ({"msp_podcast": ["unknown"]}, "msp_podcast", ("test1",), True),
        (SEEN, "iemocap", ("",), False),
        ("unknown", "iemocap", ("",), False),
    ],
)
def test_a_model_that_may_have_heard_test_clips_is_refused(seen: Any, corpus: str, test: tuple[str, ...], heard: bool) -> None:
    if heard:
        with pytest.raises(LeakageError, match="may have heard test clips of this fold") as fault:
            check_unheard("dawn", seen, fold_of(test), corpus)
        assert f"1 of {len(test)} test clips" in fault.value.got
        assert check_unheard("dawn", seen, fold_of(test, selection="test"), corpus)  # as for runs of ours
    else:
        assert bool(check_unheard("dawn", seen, fold_of(test), corpus)) == (corpus in seen or seen == "unknown")


def test_the_answer_of_published_models_and_a_run_is_the_unclipped_mean_live_and_cached(sources: dict[str, Any], tmp_path: Path) -> None:
    loaded = [load_published_member(name, source, fold_of(), "demo", True) for name, source in sources.items()]
    torch.manual_seed(0)
    model = SpeechModel(TimNet(40, 8), LogMel(n_mels=40), head=LinearHead(8, 0, dimensions=True))
    own = TeacherMember(model, TeacherRecord("own", "a/b", "a/b/c", "print", ["s8"], 10))
    ensemble = TeacherEnsemble([*loaded, own], ())
    with torch.no_grad():
        said = [member.model(clips()).dimensions for member in ensemble.members]
    live = ensemble.answer(clips())
    assert torch.stack(said).min() < 0
    assert torch.stack(said).max() > 1
    assert live.combined.dimensions is not None
    assert live.combined.logits is None
    torch.testing.assert_close(live.combined.dimensions, torch.stack(said).mean(dim=0))
    shelf = TensorShelf(tmp_path / "shelf", {"teacher": "x"}, {"fold": 0}, lambda text: None)
    with shelf.building():
        fill_shelf(shelf, ensemble, KeptParts(), [(["a", "b"], clips())])
    cached = CachedTeacher(ensemble, KeptParts(), shelf, {("u0", None): "a", ("u1", None): "b"})
    stored = cached.answer(clips(), ids=["u0", "u1"])
    assert cached.clips_read == 2
    assert cached.clips_asked == 0
    assert stored.combined.dimensions is not None
    torch.testing.assert_close(stored.combined.dimensions, live.combined.dimensions)


def test_a_published_member_is_frozen_and_known_by_weights_and_layout(sources: dict[str, Any], tmp_path: Path) -> None:
    spec = TeacherSpec(members=sources)
    teacher = make_teacher(spec, fold_of(), "demo", 0, tmp_path)
    for member in teacher.members:
        assert not member.model.training
        assert not any(parameter.requires_grad for parameter in member.model.parameters())
    assert [member.record.trained_on for member in teacher.members] == [["msp_podcast/train", "msp_podcast/validation"]] * 2
    assert describe_published(teacher.members)[1].endswith("licence: MIT")
    moved = {**sources, "dawn": {**sources["dawn"], "path": str(tmp_path / "moved")}}
    (tmp_path / "dawn").rename(tmp_path / "moved")
    again = make_teacher(TeacherSpec(members=moved), fold_of(), "demo", 0, tmp_path)
    assert identify_teacher(again) == identify_teacher(teacher)
    save_wav2vec2(tmp_path / "moved", names=("valence", "arousal", "dominance"), seed=9)
    other = make_teacher(TeacherSpec(members=moved), fold_of(), "demo", 0, tmp_path)
    assert identify_teacher(other) != identify_teacher(teacher)
    assert identify_member(other.members[0])["weights"] != identify_member(teacher.members[0])["weights"]
    save_odyssey(tmp_path / "odyssey", mean=0.5)  # the same weights, another preparation of the audio
    prepared = make_teacher(TeacherSpec(members=moved), fold_of(), "demo", 0, tmp_path)
    assert prepared.members[1].record.identity != other.members[1].record.identity


def test_cross_fitted_answers_need_models_that_have_not_heard_the_corpus(sources: dict[str, Any], tmp_path: Path) -> None:
    spec = TeacherSpec(members=sources, answers="cross_fitted")
    with pytest.raises(ConfigError, match="of one nobody knows") as fault:
        make_teacher(spec, fold_of(), "msp_podcast", 0, tmp_path)
    assert fault.value.got == "dawn, odyssey"
    make_teacher(spec, fold_of(), "demo", 0, tmp_path)


def test_missing_weights_are_all_told_at_once_and_a_dry_run_does_without(capsys: pytest.CaptureFixture[str]) -> None:
    spec: TeacherSpec = build(compose("train", ["corpus=demo", "teacher=adv_ensemble"]).teacher)
    with pytest.raises(DataError, match="are not on this machine") as fault:
        check_published(spec, 16_000, needs_weights=True)
    assert "teacher.members.dawn.path=FOLDER and teacher.members.odyssey.path=FOLDER" in fault.value.remedy
    assert "hf download 3loi/SER-Odyssey-Baseline-WavLM-Multi-Attributes" in fault.value.remedy
    check_published(spec, 16_000, needs_weights=False)
    assert "the name of the run folder is not known" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="another sample rate"):
        check_published(spec, 8_000, needs_weights=False)


def test_what_a_model_has_heard_may_be_unknown_but_must_be_written(sources: dict[str, Any]) -> None:
    spec = TeacherSpec(members={"dawn": {**sources["dawn"], "seen": "unknown"}})
    (told,) = check_unheard("dawn", spec.members["dawn"]["seen"], fold_of(), "demo")
    assert told == "what the teacher dawn was trained on is unknown: it may have heard the test clips"


def test_tiny_random_members_need_no_weights_and_say_that_they_mean_nothing(tmp_path: Path) -> None:
    spec: TeacherSpec = build(compose("train", ["corpus=demo", "teacher=adv_ensemble", "scale=tiny"]).teacher)
    check_published(spec, 16_000, needs_weights=True)
    teachers = [make_teacher(spec, fold_of(), "demo", seed, tmp_path) for seed in (0, 1)]
    assert identify_teacher(teachers[0]) == identify_teacher(teachers[1])
    assert [warning for member in teachers[0].members for warning in member.record.warnings] == [
        "the teacher dawn has random weights: what it teaches means nothing",
        "the teacher odyssey has random weights: what it teaches means nothing",
    ]
    assert teachers[0].parameter_count < 200_000


def test_licences_and_warnings_travel_into_exported_models_and_reports() -> None:
    teacher = TeacherRecord("dawn", None, None, None, ["unknown"], 1, licence="CC BY-NC-SA 4.0", warnings=["heard it all"])
    record = RunRecord("a/b", "id", "finished", 0, "demo", fold_of().to_record(), teachers=[teacher])
    record = RunRecord.from_json(record.to_json())
    data = SimpleNamespace(corpus=SimpleNamespace(name="demo"), manifest=SimpleNamespace(licence="free"))
    notes = _list_licences(nn.Linear(1, 1), data, record, SimpleNamespace(licences=()))  # type: ignore[arg-type]
    assert notes == ["trained on demo: free", "taught by dawn: CC BY-NC-SA 4.0"]
    assert warn_of_teacher(record.teachers[0], record) == ["which speakers its teacher dawn was trained on is unknown"]
    record.teachers[0].trained_on = ["msp_podcast/train"]
    assert warn_of_teacher(record.teachers[0], record) == ["heard it all"]


def test_a_dry_run_counts_a_model_whose_weights_nobody_has() -> None:
    source: MemberSource = {"path": "someone/model", "layout": "wav2vec2", "seen": SEEN, "settings": {**SMALL, "conv_bias": True}}
    member = load_published_member("dawn", source, fold_of(), "demo", needs_weights=False)
    assert member.record.identity is None
    assert member.record.parameters == sum(parameter.numel() for parameter in member.model.parameters())
    assert member.hear(clips()).dimensions is not None
    with pytest.raises(DataError, match="'someone/model' are not on this machine"):
        load_published_member("dawn", source, fold_of(), "demo", needs_weights=True)


def test_a_run_of_ours_hands_on_the_licences_of_its_teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ser_kd.tasks.teachers.load_student", lambda folder: (nn.Linear(1, 1), None, OmegaConf.create({"student": {}})))
    taught = [TeacherRecord(name, None, None, None, ["x"], 1, licence=licence) for name, licence in (("a", "MIT"), ("b", ""), ("c", "MIT"))]
    folder = tmp_path / "a" / "b" / "id" / "fold=0" / "seed=0"
    write_record(folder, RunRecord("a/b", "id", "finished", 0, "elsewhere", fold_of().to_record(), teachers=taught))
    member = load_member(folder, fold_of(), "demo", "own")
    assert member.record.licence == "MIT"
    assert describe_published([member]) == ["teacher own: a/b/id/fold=0/seed=0; licence: MIT"]
