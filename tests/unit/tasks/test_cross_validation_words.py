from __future__ import annotations

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.tasks.cross_validation_words import ChosenExperiment, ChosenSeeds, read_words

STUDENT = "experiments=wav_to_mfcc/student"


def test_own_keys_are_read_and_the_others_go_to_the_trainings() -> None:
    both = "experiments=[wav_to_mfcc/student,wav_to_mfcc/ce_kl]"
    asked = read_words([both, "folds=[0,2]", "seeds=[0,1]", "workers=3", "dry_run=true", "corpus=demo", "optimizer.lr=0.1"])
    assert asked.experiments == [ChosenExperiment("wav_to_mfcc/student"), ChosenExperiment("wav_to_mfcc/ce_kl")]
    assert (asked.folds, asked.seeds, asked.workers, asked.dry_run) == ([0, 2], ChosenSeeds((0, 1)), 3, True)
    assert asked.words == ["corpus=demo", "optimizer.lr=0.1"]
    assert asked.out is None
    plain = read_words([STUDENT, "seeds=4", "out=elsewhere"])
    assert plain.out == "elsewhere"
    assert (plain.folds, plain.seeds, plain.workers, plain.dry_run) == ("all", ChosenSeeds((4,)), None, False)


def test_an_experiment_can_have_words_of_its_own() -> None:
    own = "'wav_to_mfcc/ce_kl teacher=scratch_ensemble objective.alpha=0.3'"
    asked = read_words([f"experiments=[wav_to_mfcc/ce_kl,{own}]", "corpus=demo"])
    assert asked.experiments[1] == ChosenExperiment("wav_to_mfcc/ce_kl", ("teacher=scratch_ensemble", "objective.alpha=0.3"))
    with pytest.raises(ConfigError, match="The same experiment is named twice"):
        read_words([f"experiments=[{own},{own}]", "corpus=demo"])
    with pytest.raises(ConfigError, match=r"did you mean 'objective\.alpha'"):
        read_words(["experiments='wav_to_mfcc/ce_kl objective.alfa=0.3'", "corpus=demo"])
    bad_entries = (
        "wav_to_mfcc/ce_kl fold=1",
        "wav_to_mfcc/ce_kl ++seed=1",
        'wav_to_mfcc/ce_kl a="b',
        "wav_to_mfcc/ce_kl scale",
        "scale=tiny",
    )
    for bad in bad_entries:
        with pytest.raises(ConfigError, match="An experiment cannot be read"):
            read_words([f"experiments='{bad}'", "corpus=demo"])


@pytest.mark.parametrize("word", ["scale=tiny", "corpus=demo", "protocol.validation=two_actors", "paths.runs=elsewhere"])
def test_what_a_table_shares_is_told_for_all(word: str) -> None:
    with pytest.raises(ConfigError, match="cannot differ between experiments"):
        read_words([f"experiments='wav_to_mfcc/ce_kl {word}'", "corpus=demo"])


def test_seeds_can_differ_by_fold() -> None:
    seeds = read_words([STUDENT, "corpus=demo", "seeds={0:[0,1,2],others:[0]}"]).seeds
    assert [seeds.of_fold(fold) for fold in (0, 1)] == [(0, 1, 2), (0,)]
    assert str(seeds) == "0, 1, 2 on fold 0; 0 on the others"
    with pytest.raises(ConfigError, match="No seed is told for fold 1"):
        read_words([STUDENT, "corpus=demo", "seeds={0:[0,1]}"]).seeds.of_fold(1)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fold=1", "fold= is for one training"),
        ("seed=1", "seed= is for one training"),
        ("fodls=all", "did you mean 'folds'"),
        ("folds=foo", "Unknown folds"),
        ("folds=[0,0]", "The same fold is named twice"),
        ("folds=[]", "No fold is named"),
        ("seeds=[a]", "seeds cannot be used"),
        ("seeds=-1", "seeds cannot be used"),
        ("seeds=[1,1]", "The same seed is named twice"),
        ("seeds={0:[1,1]}", "The same seed is named twice"),
        ("seeds={rest:[0]}", "seeds cannot be used"),
        ("seeds={0:[a]}", "seeds cannot be used"),
        ("workers=0", "workers cannot be used"),
        ("jobs=2", "Unknown key 'jobs'"),
        ("trainer.max_epoch=1", "did you mean 'trainer.max_epochs'"),
    ],
)
def test_what_cannot_be_is_told_at_once(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_words([STUDENT, "corpus=demo", word])


def test_an_experiment_is_needed_and_must_exist() -> None:
    with pytest.raises(ConfigError, match="No experiment is chosen"):
        read_words(["corpus=demo"])
    with pytest.raises(ConfigError, match="did you mean"):
        read_words(["experiments=wav_to_mfcc/studnt"])
