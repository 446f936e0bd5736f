"""The root file, as the words and the help see it."""

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime.catalog import Catalog
from ser_kd.runtime.command_line import find_missing_plural, parse_words, quote_value, read_root_file
from ser_kd.runtime.composition import compose


def test_the_root_file_gives_keys_and_groups(place):
    root = read_root_file("train", Catalog(place / "conf", []))
    assert root.groups["corpus"] == "???"
    assert root.groups["protocol"] == "by_corpus/${corpus}"
    assert root.groups["teacher"] is None
    assert root.values["paths"] == {"runs": "runs", "cache": "${paths.runs}/cache"}
    assert {"fold", "corpus", "experiments", "tags"} <= set(root.names())


def test_packages_and_slashes_of_the_defaults_list(place, write):
    text = "defaults:\n  - /frontend@student.frontend: mel\n  - optional student: large\n  - override hydra/job_logging: none\n"
    write(place, {"conf/odd.yaml": text})
    root = read_root_file("odd", Catalog(place / "conf", []))
    assert root.groups == {"frontend@student.frontend": "mel", "student": "large", "hydra/job_logging": "none"}
    assert root.values == {}


def test_a_run_folder_needs_no_quotes(place):
    (override,) = parse_words(["run=runs/paper/one/3f2a/fold=0/seed=1"], Catalog(place / "conf", []))
    assert override.value() == "runs/paper/one/3f2a/fold=0/seed=1"


def test_a_key_that_is_given_twice_is_told_unless_both_say_the_same(place):
    catalog = Catalog(place / "conf", [])
    for words in (["fold=0", "fold=1"], ["corpus=a", "corpus=b"], ["+x.y=1", "x.y=2"], ["fold=0", "seed=1", "~fold"]):
        with pytest.raises(ConfigError, match="is given twice") as fault:
            parse_words(words, catalog)
        assert fault.value.got == f"{words[0]} and {words[-1]}"
    assert len(parse_words(["fold=0", "seed=0", "fold=0"], catalog)) == 3


def test_an_experiment_that_was_only_named(place, write):
    write(place, {"experiments/paper/one.yaml": "# @package _global_\n"})
    catalog = Catalog(place / "conf", [place / "experiments"])
    (fault,) = find_missing_plural(parse_words(["experiment=paper/one"], catalog), catalog)
    assert "did you mean experiments=paper/one?" in str(fault)
    assert not find_missing_plural(parse_words(["experiment=own/name"], catalog), catalog)
    assert not find_missing_plural(parse_words(["experiment=paper/one", "experiments=paper/one"], catalog), catalog)


@pytest.mark.parametrize("text", ["T, alpha", "a (b)", "a's", "${x}", "null", "2024", "[x]", "a\\'s", "a\\", "é=f", "  x ", "true", "a:b"])
def test_a_quoted_value_means_its_text(text):
    assert compose("train", ["experiments=demo/student", f"sweep={quote_value(text)}"]).sweep == text
