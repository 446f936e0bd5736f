from __future__ import annotations

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.tasks.cross_validation_words import read_words

STUDENT = "experiments=wav_to_mfcc/student"


def test_own_keys_are_read_and_the_others_go_to_the_trainings() -> None:
    both = "experiments=[wav_to_mfcc/student,wav_to_mfcc/ce_kl]"
    asked = read_words([both, "folds=[0,2]", "seeds=[0,1]", "workers=3", "dry_run=true", "corpus=demo", "optimizer.lr=0.1"])
    assert asked.experiments == ["wav_to_mfcc/student", "wav_to_mfcc/ce_kl"]
    assert (asked.folds, asked.seeds, asked.workers, asked.dry_run) == ([0, 2], [0, 1], 3, True)
    assert asked.words == ["corpus=demo", "optimizer.lr=0.1"]
    plain = read_words([STUDENT, "seeds=4"])
    assert (plain.folds, plain.seeds, plain.workers, plain.dry_run) == ("all", [4], None, False)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fold=1", "fold= is for one training"),
        ("seed=1", "seed= is for one training"),
        ("fodls=all", "did you mean 'folds'"),
        ("folds=foo", "Unknown folds"),
        ("folds=[0,0]", "A fold is named twice"),
        ("folds=[]", "No fold is named"),
        ("seeds=[a]", "seeds cannot be used"),
        ("seeds=-1", "seeds cannot be used"),
        ("seeds=[1,1]", "A seed is named twice"),
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
