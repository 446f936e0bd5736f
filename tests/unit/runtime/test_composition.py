"""One configuration from files and words, and one clear message for whatever is wrong."""

from functools import partial

import pytest
from omegaconf import OmegaConf

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import composition


@pytest.fixture
def compose(place):
    return partial(composition.compose, "train", conf_dir=place / "conf", experiment_roots=[place / "experiments"])


def message_of(compose, *words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(words)
    text = str(caught.value)
    assert "Available options" not in text
    assert "search path" not in text.lower()
    return text


# What is composed


def test_protocol_follows_the_corpus_and_can_be_chosen(compose):
    assert compose(["corpus=demo"]).protocol == compose(["corpus=demo", "protocol=six"]).protocol
    assert "by_corpus" not in OmegaConf.to_yaml(compose(["corpus=demo"]))
    assert compose(["corpus=demo", "protocol=five"]).protocol._target_ == "pathlib.PurePath"


def test_an_experiment_chooses_groups_values_and_its_name(compose):
    config = compose(["experiments=paper/one"])
    assert config.corpus.name == "demo"
    assert config.teacher.layers == 18
    assert config.student == {"frontend": {"filters": 64}, "width": 9}
    assert config.experiment == "paper/one"
    assert "hydra" not in config


def test_words_win_over_scale_and_scale_over_the_experiment(compose):
    assert compose(["experiments=paper/one", "scale=tiny"]).teacher.layers == 2
    assert compose(["experiments=paper/one", "scale=tiny", "teacher=resnet"]).teacher.layers == 18
    assert compose(["experiments=paper/one", "scale=tiny", "rate=0.7"]).rate == 0.7


def test_an_experiment_on_top_of_another_without_a_package_header(compose):
    config = compose(["experiments=paper/two", "experiment=mine"])
    assert (config.fold, config.student.width, config.experiment) == (3, 9, "mine")


def test_null_empties_a_group(compose):
    assert compose(["experiments=paper/one", "teacher=null"]).teacher is None
    assert compose(["corpus=demo", "teacher=null"]).teacher is None


def test_without_an_experiment_its_name_stays_null(compose):
    assert compose(["corpus=demo"]).experiment is None


def test_a_root_of_any_name_and_a_file_by_path(place, tmp_path, write, monkeypatch):
    root = write(tmp_path / "my studies' notes, old", {"noise/loud.yaml": "defaults:\n  - override /corpus: demo\nfold: 4\n"})
    config = composition.compose("train", ["experiments=noise/loud"], conf_dir=place / "conf", experiment_roots=[root])
    assert (config.fold, config.experiment) == (4, "noise/loud")
    monkeypatch.chdir(root / "noise")
    for path in ("loud.yaml", "./loud.yaml", "../noise/loud.yaml"):
        config = composition.compose("train", [f"experiments={path}"], conf_dir=place / "conf", experiment_roots=[])
        assert (config.fold, config.experiment) == (4, "noise/loud")


def test_the_file_chosen_by_path_wins_over_an_experiment_of_its_name(place, tmp_path, write):
    path = write(tmp_path / "mine", {"paper/one.yaml": "defaults:\n  - override /corpus: demo\nfold: 7\n"}) / "paper/one.yaml"
    roots = [place / "experiments"]
    assert composition.compose("train", [f"experiments={path}"], conf_dir=place / "conf", experiment_roots=roots).fold == 7


def test_free_keys_below_an_empty_dict_and_below_a_target(compose):
    assert compose(["corpus=demo", "+tags.who=me"]).tags == {"who": "me"}
    assert compose(["corpus=demo", "+protocol.folds=3"]).protocol.folds == 3


def test_an_added_option_may_spread_over_the_root_or_fill_a_place(compose, place, write):
    write(place, {"conf/debug/quick.yaml": "# @package _global_\nrate: 0.9\n"})
    assert compose(["corpus=demo", "+debug=quick"]).rate == 0.9
    assert compose(["corpus=demo", "+frontend@student.second=mel"]).student.second.filters == 64


def test_missing_values_pass_where_they_may(compose):
    assert OmegaConf.is_missing(compose(["corpus=ravdess"], allow_missing=True).corpus, "root")


def test_composing_leaves_the_users_own_hydra_alone(compose, place):
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(place / "conf"), version_base="1.3"):
        compose(["corpus=demo"])
        assert hydra_compose("corpus/demo").corpus.name == "demo"


# What is refused


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("experimants=x", "did you mean 'experiments'?"),
        ("experiments=papr/one", "did you mean 'paper/one'?"),
        ("experiments=nothing", "one of paper/one, paper/two"),
        ("experiments=./nothing.yaml", "The experiment file does not exist."),
        ("student=lage", "did you mean 'large'?"),
        ("student=none", "write student=null for none"),
        ("student.widht=3", "did you mean 'student.width'?"),
        ("widht=3", "did you mean 'student.width'?"),
        ("tudent.width=3", "did you mean 'student'?"),
        ("fold.x=3", "Unknown key 'fold.x'."),
        ("~fld", "did you mean 'fold'?"),
        ("+new.key=1", "Unknown key 'new.key'."),
        ("++new=1", "Unknown key 'new'."),
        ("+student.new=1", "Unknown key 'student.new'."),
        ("+fold=1", "write fold=1"),
        ("+teacher=resnet", "write teacher=resnet"),
        ("+frontend=mel", "Unknown key 'frontend'."),
        ("+frontend@other=mel", "Unknown key 'other'."),
        ("teacher.layers=3", "'teacher' is empty"),
        ("student.frontend=mel", "write frontend@student.frontend=mel"),
        ("paths=here", "write paths.runs=…"),
        ("frontend=mel", "write frontend@student.frontend=…"),
        ("fold", "write fold=VALUE"),
        ("--fold=1", "write fold=1, without dashes"),
        ("fold=1,2", "'fold=[1,2]'"),
        ("hydra.run.dir=x", "Hydra's own keys are not used here."),
        ("fold=x", "a whole number, such as 0"),
        ("fold=0.5", "a whole number, such as 0"),
        ("refit=1", "true or false, such as false"),
        ("rate=fast", "a number, such as 0.5"),
        ("experiment=${fodl}", "did you mean 'fold'?"),
        ("paths.runs=${oc.env:SER_KD_TEST_NOWHERE}", "export SER_KD_TEST_NOWHERE=…"),
        ("experiment=???", "'experiment' has no value yet."),
    ],
)
def test_a_wrong_word_is_told_in_one_message(compose, word, told):
    text = message_of(compose, "corpus=demo", word)
    assert told in text
    assert "2 faults" not in text


def test_dashed_words_with_a_value_behind_them_are_one_fault(compose):
    assert "write fold=3, without dashes" in message_of(compose, "--fold", "3")


def test_values_of_the_right_kind_pass(compose):
    config = compose(["corpus=demo", "rate=1", "refit=true", "experiment=7", "paths.cache=x"])
    assert (config.rate, config.refit, config.experiment) == (1, True, 7)


def test_a_corpus_must_be_chosen_and_all_faults_are_told_together(compose):
    text = message_of(compose)
    assert "one of archive, demo, ravdess" in text
    assert "corpus.root" not in text  # a key of the stand-in, not of the user's choice
    text = message_of(compose, "student.widht=1", "fold=2", "student.frontend.m=3", "corpus.root=x")
    assert "3 faults" in text
    for told in ("No corpus is chosen.", "'student.widht'", "'student.frontend.m'"):
        assert told in text
    assert "corpus.root" not in text


def test_missing_values_are_told_together_with_unknown_keys(compose):
    assert "add corpus.root=VALUE" in message_of(compose, "corpus=ravdess")
    text = message_of(compose, "corpus=ravdess", "student.widht=1")
    assert "2 faults" in text
    assert "add corpus.root=VALUE" in text


def test_wrong_options_are_told_together(compose):
    text = message_of(compose, "corpus=dmo", "student=lage")
    assert "did you mean 'demo'?" in text
    assert "did you mean 'large'?" in text


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sudent:\n  width: 3\n", "did you mean 'student'?"),
        ("student:\n  widht: 3\n", "did you mean 'student.width'?"),
        ("student:\n  frontend: mel\n", "frontend@student.frontend=mel"),
        ("fold: first\n", "a whole number"),
        ("teacher:\n  layers: 3\n", "'teacher' is empty"),
    ],
)
def test_a_wrong_key_inside_an_experiment_is_told_with_its_name(place, write, body, told):
    write(place / "experiments", {"paper/three.yaml": "defaults:\n  - override /corpus: demo\n" + body})
    with pytest.raises(ConfigError) as caught:
        composition.compose("train", ["experiments=paper/three"], conf_dir=place / "conf", experiment_roots=[place / "experiments"])
    assert told in str(caught.value)
    assert "in the experiment paper/three" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("defaults:\n  - override /corpus: dmo\n", "did you mean 'demo'?"),
        ("defaults:\n  - override /corpus: demo\n  - override /studnt: large\n", "did you mean 'student'?"),
        ("defaults:\n  - one\n", "experiments/paper/three.yaml asks for an option that does not exist."),
        ("a: [1\n", "no readable YAML"),
        ("- a\n", "its top level is a list"),
    ],
)
def test_a_broken_experiment_file_is_named(place, write, text, told):
    write(place / "experiments", {"paper/three.yaml": text})
    with pytest.raises(ConfigError) as caught:
        composition.compose("train", ["experiments=paper/three"], conf_dir=place / "conf", experiment_roots=[place / "experiments"])
    assert told in str(caught.value)
    assert "paper/three" in str(caught.value)


def test_two_experiments_of_one_name_are_not_chosen_between(place, tmp_path, write):
    other = write(tmp_path / "mine", {"paper/one.yaml": "defaults:\n  - override /corpus: demo\n"})
    with pytest.raises(ConfigError, match="Two experiments are called 'paper/one'") as caught:
        composition.compose("train", ["experiments=paper/one"], conf_dir=place / "conf", experiment_roots=[place / "experiments", other])
    assert f"experiments={other}/paper/one.yaml" in caught.value.remedy


def test_unreadable_files_of_our_own_are_named(place, write):
    write(place, {"conf/student/large.yaml": "a: [1\n"})
    with pytest.raises(ConfigError, match=r"large\.yaml"):
        composition.compose("train", ["corpus=demo"], conf_dir=place / "conf", experiment_roots=[])


def test_a_task_without_a_root_file(place):
    with pytest.raises(ConfigError, match="'tran' has no configuration"):
        composition.compose("tran", [], conf_dir=place / "conf", experiment_roots=[])


def test_what_is_never_typed_is_not_proposed_either(place, write):
    write(place, {"conf/corpus/by_run/moved.yaml": "root: null\n"})
    with pytest.raises(ConfigError, match="No corpus is chosen") as caught:
        composition.compose("train", [], conf_dir=place / "conf", experiment_roots=[])
    assert "by_run" not in str(caught.value)
    with pytest.raises(ConfigError, match="'corpus' has no option 'dmo'") as caught:
        composition.compose("train", ["corpus=dmo"], conf_dir=place / "conf", experiment_roots=[])
    assert "by_run" not in str(caught.value)
    assert "did you mean 'demo'?" in str(caught.value)


def test_a_group_that_this_task_does_not_have(place, write):
    write(place, {"conf/evaluate.yaml": "defaults:\n  - _self_\n  - corpus: demo\nsplit: test\n"})
    with pytest.raises(ConfigError, match="'evaluate' has no group 'student' to choose"):
        composition.compose("evaluate", ["student=small"], conf_dir=place / "conf", experiment_roots=[])
