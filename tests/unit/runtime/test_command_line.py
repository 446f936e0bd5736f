"""The root file, as the words and the help see it."""

from ser_kd.runtime.catalog import Catalog
from ser_kd.runtime.command_line import parse_words, read_root_file


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
