"""Every YAML there is composes and passes the checks; the counts guard against a glob that misses folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.build import build
from ser_kd.runtime.composition import compose
from ser_kd.runtime.validation import check_config
from ser_kd.storage.audio_files import write_wav
from tests.conftest import speech_like

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(str(path.relative_to(ROOT / "experiments").with_suffix("")) for path in (ROOT / "experiments").glob("*/*.yaml"))
GROUPS = {
    "cache": 1,
    "averaging": 3,
    "corpus": 8,
    "corpus/by_run": 1,
    "datamodule": 2,
    "encoder": 24,
    "enhancement": 1,
    "features": 2,
    "frontend": 9,
    "learning_rate_schedule": 2,
    "logger": 2,
    "objective": 14,
    "optimizer": 2,
    "paths": 1,
    "protocol": 12,
    "protocol/by_corpus": 8,
    "scale": 3,
    "student": 36,
    "teacher": 5,
    "trainer": 6,
    "upstream": 1,
    "noise": 3,
    "views": 8,
}
TASKS = {"check", "evaluate", "export", "prepare", "robustness", "train"}
FILL = {
    "audio_folder": ["corpus.root=recordings"],
    "background_both": ["noise=synthetic"],
    "background_noise": ["views.student.bank.root=noises"],
    "ensemble": ["teacher.members={a: {experiment: demo/teacher}}"],
    "folder": ["noise.root=noises", "views=noisy_student"],
    "noisex92": ["noise.root=noises", "views=noisy_student"],
    "synthetic": ["views=noisy_student"],
    "listed_speakers": ["protocol.test_folds=[[1],[2],[3]]"],
    "manifest_csv": ["corpus.path=my.csv"],
    "superb5": ["protocol.superb_metadata=meta_data"],
}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def test_nothing_is_missed() -> None:
    folders = [path for path in (ROOT / "conf").rglob("*") if path.is_dir()]
    found = {str(folder.relative_to(ROOT / "conf")): len(list(folder.glob("*.yaml"))) for folder in folders}
    assert found == GROUPS
    assert {path.stem for path in (ROOT / "conf").glob("*.yaml")} == TASKS
    assert len(EXPERIMENTS) == 79


@pytest.mark.parametrize("scale", ["paper", "base", "tiny"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_compose_at_every_scale(name: str, scale: str) -> None:
    for words in ([], ["corpus=demo", "datamodule.clip_samples=32000"]):
        config = compose("train", [f"experiments={name}", f"scale={scale}", *words])
        check_config(config)
        assert config.experiment == name


DISTILLED = [name for name in EXPERIMENTS if compose("train", [f"experiments={name}"]).teacher is not None]


@pytest.mark.parametrize("name", [name for name in DISTILLED if name.startswith("wav_to_mfcc/")])
def test_another_teacher_takes_the_place_of_an_experiments_own(name: str) -> None:
    teacher = compose("train", [f"experiments={name}", "teacher=scratch_ensemble", "teacher.answers=cross_fitted"]).teacher
    assert list(build(teacher).members) == ["resnet_0", "resnet_1", "resnet_2"]


PARTS = {"corpus/by_run", "protocol/by_corpus", "encoder", "enhancement", "features", "frontend", "scale", "upstream"}
"""Groups whose options are parts of others."""


@pytest.mark.parametrize("group", sorted(set(GROUPS) - PARTS))
def test_options_compose(group: str) -> None:
    for option in options(group):
        corpus = [] if group == "corpus" else ["corpus=demo"]
        teacher = ["teacher=finished_run"] if "kl" in option or option == "dkd" else []
        config = compose("train", [*corpus, f"{group}={option}", *FILL.get(option, []), *teacher])
        check_config(config)


def test_a_run_is_evaluated_on_its_own_or_any_other_corpus() -> None:
    own = compose("evaluate", ["run=somewhere", "corpus.root=elsewhere"])
    assert own.corpus == {"root": "elsewhere", "path": None}
    for option in options("corpus"):
        config = compose("evaluate", ["run=somewhere", f"corpus={option}", *FILL.get(option, [])])
        check_config(config)
        assert "_target_" in config.corpus


def test_a_run_is_judged_in_noise() -> None:
    config = compose("robustness", ["runs=[a/fold=0/seed=0,b]", "corpus.root=elsewhere"])
    check_config(config)
    assert (list(config.runs), config.enhancement) == (["a/fold=0/seed=0", "b"], None)
    for group in ("enhancement", "noise"):
        for option in options(group):
            filled = [word for word in FILL.get(option, []) if word.startswith(f"{group}.")]
            check_config(compose("robustness", ["run=somewhere", f"{group}={option}", *filled]))


def test_a_run_is_exported() -> None:
    config = compose("export", ["run=somewhere", "corpus.root=elsewhere", "precision=[fp32,int8]"])
    check_config(config)
    assert config.corpus == {"root": "elsewhere", "path": None}
    assert set(config.gates) == {"fp32", "int8", "fp16"}


@pytest.mark.parametrize("group", ["encoder", "frontend"])
def test_parts_of_a_student_compose(group: str) -> None:
    for option in options(group):
        check_config(compose("train", ["corpus=demo", f"{group}@student.{group}={option}"]))


def test_features_compose_and_come_with_the_student_that_hears_them() -> None:
    for option in options("features"):
        config = compose("train", ["corpus=demo", f"features@datamodule.features={option}"])
        check_config(config)
        assert list(config.datamodule.features) == [option]
    for words in ([], ["datamodule=fixed_84351"], ["scale=tiny"]):
        assert list(compose("train", ["corpus=demo", "student=prosodic_resnet", *words]).datamodule.features) == ["egemaps_lld"]
    both = compose("train", ["corpus=demo", "features@datamodule.features=[egemaps_lld,egemaps_functionals]"])
    assert list(both.datamodule.features) == ["egemaps_lld", "egemaps_functionals"]
    assert compose("train", ["corpus=demo"]).datamodule.features is None


@pytest.mark.parametrize("group", ["averaging", "objective", "views", "optimizer", "learning_rate_schedule", "protocol"])
def test_options_build(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noises").mkdir()
    for number in range(5):
        write_wav(tmp_path / "noises" / f"{number}.wav", speech_like(number), 16_000)
    monkeypatch.chdir(tmp_path)
    for option in options(group):
        config = compose("train", ["corpus=demo", f"{group}={option}", *FILL.get(option, [])])
        assert build(config[group]) is not None


@pytest.mark.parametrize(
    ("option", "classes", "trainable", "total"),
    [("timnet_60", 7, 241_395, 245_235), ("timnet_39", 7, 104_496, 106_992), ("timnet_39", 8, 104_536, 107_032)],
)
def test_students_have_the_published_size(option: str, classes: int, trainable: int, total: int) -> None:
    from ser_kd.models.freezing import count_parameters

    student = build(compose("train", ["corpus=demo", f"student={option}"]).student, classes=classes)
    assert count_parameters(student) == {"trainable": trainable, "total": total}


def test_the_wav2vec2_teacher_has_the_published_size() -> None:
    import torch

    with torch.device("meta"):
        teacher = build(compose("train", ["corpus=demo", "student=wav2vec2_base"]).student, classes=7)
    assert sum(parameter.numel() for parameter in teacher.parameters()) == 94_967_687


@pytest.mark.parametrize(("option", "total"), [("wav2vec2_linear", 94_374_788), ("distil_wav2vec2", 51_847_556)])
@pytest.mark.parametrize("encoder", ["wav2vec2_base", "hubert_base"])
def test_system_001_has_the_published_size(option: str, total: int, encoder: str) -> None:
    import torch

    with torch.device("meta"):
        model = build(compose("train", ["corpus=demo", f"student={option}", f"encoder@student.encoder={encoder}"]).student, classes=4)
    assert sum(parameter.numel() for parameter in model.parameters()) == total


@pytest.mark.parametrize(("encoder", "total"), [("ecapa_tdnn", 6_194_048 + 192 * 4 + 4), ("ecapa_tdnn_light", 5_505_632 + 96 * 4 + 4)])
def test_ecapa_tdnn_on_mel_bins_has_the_published_size(encoder: str, total: int) -> None:
    words = ["corpus=demo", "student=ecapa_fbank", f"encoder@student.encoder={encoder}"]
    model = build(compose("train", words).student, classes=4)
    assert sum(parameter.numel() for parameter in model.parameters()) == total


@pytest.mark.parametrize(("option", "learned", "reads"), [
    ("ecapa_wav2vec2", 8_610_688 + 192 * 4 + 4, False), ("ecapa_early_fusion", 11_232_128 + 192 * 4 + 4, False),
    ("ecapa_late_fusion", 2 * 8_610_688 + 384 * 4 + 4, False), ("ecapa_bert", 7_955_328 + 192 * 4 + 4, True),
])  # fmt: skip
def test_system_002_learns_the_published_size_on_frozen_upstreams(option: str, learned: int, reads: bool) -> None:
    import torch

    with torch.device("meta"):
        model = build(compose("train", ["corpus=demo", f"student={option}"]).student, classes=4)
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == learned
    assert model.reads_text == reads


def test_speech_and_text_are_fused_late() -> None:
    model = build(compose("train", ["corpus=demo", "student=ecapa_fbank_bert"]).student, classes=4)
    learned = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert (learned, model.reads_text) == (6_194_048 + 7_955_328 + 384 * 4 + 4, True)


def test_the_overrides_of_the_multi_level_objective_give_the_stated_weights() -> None:
    def weigh(*words: str) -> dict[str, float]:
        objective = build(compose("train", ["corpus=demo", "objective=mlkd", "objective.beta=0.5", *words]).objective)
        return {name: round(objective.weight_of(name, 0.0), 9) for name in objective.losses}

    assert weigh() == {"cross_entropy": 0.3, "soft_targets": 0.7, "multi_level": 0.35}
    assert weigh("objective.terms.multi_level.placement=outside")["multi_level"] == 0.5
    assert weigh("objective.terms.multi_level=null") == {"cross_entropy": 0.3, "soft_targets": 0.7}
    assert weigh("objective.terms.soft_targets=null") == {"cross_entropy": 0.3, "multi_level": 0.35}


def test_the_overrides_of_system_004_give_the_stated_weights_and_temperatures() -> None:
    def weigh(*words: str) -> dict[str, float]:
        objective = build(compose("train", ["corpus=demo", "objective=emodistill", *words]).objective)
        return {name: objective.weight_of(name, 0.0) for name in objective.losses}

    words, prosody = ("soft_targets_linguistic", "embedding_linguistic"), ("soft_targets_prosodic", "embedding_prosodic")
    assert weigh() == dict.fromkeys(("cross_entropy", *words, *prosody), 1.0)
    numbers = ("objective.alpha=0.5", "objective.beta=2", "objective.gamma=0")
    assert weigh(*numbers) == dict(zip(("cross_entropy", words[0], prosody[0], words[1], prosody[1]), (0, 0.5, 0.5, 2, 2), strict=True))
    assert prosody[1] not in weigh("objective.terms.embedding_prosodic=null")
    losses = build(compose("train", ["corpus=demo", "objective=emodistill"]).objective).losses
    told = {name: (losses[name].temperature, losses[name].direction, losses[name].teacher) for name in (words[0], prosody[0])}
    assert told == {words[0]: (4.0, "teacher_first", "linguistic"), prosody[0]: (1.0, "teacher_first", "prosodic")}


@pytest.mark.parametrize("word", ["~teacher.members.odyssey", "teacher.members.odyssey=null"])
def test_a_member_is_dropped_by_one_word_and_known_to_be_dropped(word: str) -> None:
    config = compose("train", ["corpus=demo", "teacher=adv_ensemble", word])
    check_config(config)
    spec = build(config.teacher)
    assert (list(spec.sources), spec.dropped) == (["dawn"], ["odyssey"])
    with pytest.raises(ConfigError, match=r"(?s)Unknown key.*did you mean 'teacher.members.odyssey'"):
        compose("train", ["corpus=demo", "teacher=adv_ensemble", word.replace("odyssey", "odysey")])


@pytest.mark.parametrize(("option", "widths", "total"), [
    ("emodistill_hubert_base", (768, 256), 94_371_712 + 768 * 768 + 768 + 768 * 256 + 256 + 1024 * 4 + 4),
    ("emodistill_hubert_large", (768, 256), 315_438_720 + 1024 * 768 + 768 + 1024 * 256 + 256 + 1024 * 4 + 4),
])  # fmt: skip
def test_students_of_system_004_count_their_projections(option: str, widths: tuple[int, int], total: int) -> None:
    import torch

    words = [f"student.head.projections.{name}={width}" for name, width in zip(("linguistic", "prosodic"), widths, strict=True)]
    with torch.device("meta"):
        model = build(compose("train", ["corpus=demo", f"student={option}", *words]).student, classes=4)
    assert sum(parameter.numel() for parameter in model.parameters()) == total


@pytest.mark.parametrize("scale", ["base", "tiny"])
@pytest.mark.parametrize("name", options("encoder"))
def test_every_encoder_needs_no_download_at_a_small_scale(name: str, scale: str) -> None:
    import torch

    files = {
        "scale": OmegaConf.load(ROOT / "conf" / "scale" / f"{scale}.yaml"),
        "encoder": OmegaConf.load(ROOT / "conf" / "encoder" / f"{name}.yaml"),
    }
    config = OmegaConf.create({**files, "scale": files["scale"].get("scale", files["scale"])})
    width = 80 if "whisper" in name else 64 if "architecture" not in config.encoder else 1
    with torch.device("meta"):
        encoder = build(config.encoder)(**({} if name == "text_bert" else {"input_width": width}))  # it reads
    assert (
        sum(parameter.numel() for parameter in encoder.parameters()) < {"base": 12_000_000, "tiny": 600_000}[scale]
    )  # MobileNets have no smaller published widths
    assert not getattr(encoder, "awaits_weights", False)


def test_the_corpus_chooses_its_protocol_and_the_line_overrides_it() -> None:
    assert compose("train", ["corpus=demo"]).protocol._target_.endswith("SessionFolds")
    assert compose("train", ["corpus=emodb"]).protocol._target_.endswith("LeaveOneSpeakerOut")
    assert compose("train", ["corpus=crema_d"]).protocol.number == 5
    assert compose("train", ["corpus=iemocap"]).protocol._target_.endswith("IemocapLoso10")
    assert compose("train", ["experiments=wav_to_mfcc/student"]).protocol._target_.endswith("RavdessActors5")
    assert compose("train", ["experiments=wav_to_mfcc/student", "corpus=demo"]).protocol._target_.endswith("SessionFolds")
    chosen = compose("train", ["experiments=wav_to_mfcc/student", "protocol=ravdess_emobox6"])
    assert chosen.protocol._target_.endswith("RavdessEmobox6")


def test_every_runnable_file_tells_its_command() -> None:
    for path in [*(ROOT / "experiments").glob("*/*.yaml"), *(ROOT / "conf").glob("*.yaml")]:
        comments = [line for line in path.read_text().splitlines() if line.startswith("# ") and not line.startswith("# @")]
        (told,) = (line.partition("ser-kd ")[2].split() for line in comments if "ser-kd " in line)
        verb, words = told[0], [word.replace("$", "my_") for word in told[1:]]
        if path.parent == ROOT / "conf":
            assert verb == path.stem
        else:
            assert verb == "train"
            assert words[0] == f"experiments={path.parent.name}/{path.stem}"
        if verb == "train":
            check_config(compose(verb, words))
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert path.read_text().startswith("# "), path


def test_no_machine_path_stands_in_a_configuration() -> None:
    for path in [*(ROOT / "experiments").rglob("*.yaml"), *(ROOT / "conf").rglob("*.yaml")]:
        plain = OmegaConf.to_yaml(OmegaConf.load(path))
        assert "/home" not in plain
        assert "/work" not in plain
