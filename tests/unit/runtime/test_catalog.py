"""Groups, options and experiments are read from file names and first comments."""

import pytest

from ser_kd.runtime.catalog import Catalog, read_experiments, read_first_comment, read_key_comments


@pytest.fixture
def catalog(place):
    return Catalog(place / "conf", [place / "experiments"])


def test_groups_and_options(catalog):
    assert catalog.groups() == ["corpus", "frontend", "protocol", "scale", "student", "teacher", "experiments"]
    assert list(catalog.options("protocol")) == ["by_corpus/archive", "by_corpus/demo", "by_corpus/ravdess", "five", "six"]
    assert list(catalog.options("experiments")) == ["paper/one", "paper/two"]
    assert catalog.options("nothing") == {}
    assert catalog.is_group("experiments")
    assert catalog.is_group("student")
    assert not catalog.is_group("fold")
    assert not catalog.is_group("")


def test_what_another_choice_picks_is_not_offered(catalog, tmp_path):
    assert list(catalog.offers("protocol")) == ["five", "six"]
    catalog.own_files.append(tmp_path / "by_me" / "louder.yaml")
    assert list(catalog.offers("experiments")) == ["paper/one", "paper/two", "by_me/louder"]


def test_an_empty_folder_is_no_group_to_choose_from(catalog):
    (catalog.conf_dir / "encoder").mkdir()
    assert "encoder" not in catalog.groups()


def test_own_files_join_the_experiments(catalog, tmp_path):
    catalog.own_files.append(tmp_path / "noise" / "louder.yaml")
    assert list(catalog.options("experiments")) == ["paper/one", "paper/two", "noise/louder"]


def test_experiments_of_two_roots_and_without_a_paper_folder(place, tmp_path, write):
    other = write(tmp_path / "mine", {"flat.yaml": "", "paper/one.yaml": ""})
    found = read_experiments([place / "experiments", other])
    assert list(found) == ["paper/one", "paper/two", "flat"]
    assert found["paper/one"] == [place / "experiments/paper/one.yaml", other / "paper/one.yaml"]


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("# What it is.\n# More.\na: 1\n", "What it is."),
        ("# @package _global_\n\n# What it is.\n", "What it is."),
        ("a: 1\n# Too late.\n", ""),
        ("", ""),
    ],
)
def test_first_comment(tmp_path, text, comment):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert read_first_comment(path) == comment


def test_key_comments(place):
    comments = read_key_comments(place / "conf" / "train.yaml")
    assert comments["refit"] == "train twice"
    assert comments["experiment"] == "name of the run"
    assert comments["fold"] == ""
    assert "corpus" not in comments
