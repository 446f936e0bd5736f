"""The command line hands over, explains itself and turns every ending into an exit code."""

import os
import subprocess
import sys
import types

import pytest

from ser_kd import __main__ as command
from ser_kd import __version__
from ser_kd.contracts.errors import DataError


@pytest.fixture
def task(monkeypatch):
    """Stands in for the task of a verb: ``task(verb, function)``."""

    def plant(verb, function):
        module = types.ModuleType(f"ser_kd.tasks.{verb}")
        module.run = function
        monkeypatch.setitem(sys.modules, f"ser_kd.tasks.{verb}", module)

    return plant


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_help_names_every_verb(words, capsys):
    assert command.main(words) == 0
    output = capsys.readouterr().out
    for name, verb in command.VERBS.items():
        assert f"  {name} " in output
        assert verb.line in output


def test_version(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ser-kd {__version__}\n"


def test_the_words_behind_the_verb_go_to_its_task(task):
    seen = []
    task("doctor", lambda arguments: seen.append(arguments) or 0)
    assert command.main(["doctor", "a=1", "b"]) == 0
    assert seen == [["a=1", "b"]]


def test_the_exit_code_of_a_task_is_handed_on(task):
    task("doctor", lambda arguments: 2)
    assert command.main(["doctor"]) == 2


def test_a_wrong_verb_is_told_with_the_nearest(capsys):
    assert command.main(["trian"]) == 2
    output = capsys.readouterr()
    assert "did you mean 'train'?" in output.err
    assert output.out == ""


def test_a_users_fault_is_one_message_without_traceback(task, capsys, monkeypatch):
    def run(arguments):
        raise DataError("No audio.", expected="a file", got="nothing", remedy="add one")

    task("doctor", run)
    assert command.main(["doctor"]) == 2
    assert capsys.readouterr().err == "No audio.\n  expected: a file\n  got:      nothing\n  to do:    add one\n"
    monkeypatch.setenv("SER_KD_TRACEBACK", "1")
    assert command.main(["doctor"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_our_fault_shows_the_traceback_and_asks_for_a_report(task, capsys):
    task("doctor", lambda arguments: 1 / 0)
    assert command.main(["doctor"]) == 1
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "our fault" in error
    assert __version__ in error


def test_ctrl_c_is_no_traceback(task, capsys):
    def run(arguments):
        raise KeyboardInterrupt

    task("doctor", run)
    assert command.main(["doctor"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_verb_whose_extra_is_missing_says_which_to_install(task, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    task("train", lambda arguments: 0)
    assert command.main(["train"]) == 2
    assert 'pip install "ser-kd[train]"' in capsys.readouterr().err


@pytest.mark.parametrize("words", [["train", "--help"], ["help", "train"], ["train", "corpus=demo", "-h"]])
def test_the_help_of_a_verb_names_groups_options_keys_and_an_example(words, capsys):
    assert command.main(words) == 0
    output = capsys.readouterr().out
    assert command.VERBS["train"].example in output
    assert "one must be chosen" in output
    assert "default*" in output
    assert "ravdess_actors5" in output
    assert "by_corpus" not in output
    assert "fold=0" in output
    assert "dry_run=false" in output


def test_the_help_of_evaluate_says_whose_corpus_is_taken(capsys):
    assert command.main(["evaluate", "--help"]) == 0
    output = capsys.readouterr().out
    assert "audio_folder, crema_d, demo, emodb, iemocap, manifest_csv, msp_podcast, ravdess; follows the run" in output
    assert "by_run" not in output
    assert "restrict=false" in output


def test_the_help_of_a_verb_that_is_not_composed(capsys):
    assert command.main(["doctor", "--help"]) == 0
    output = capsys.readouterr().out
    assert "ser-kd doctor" in output
    assert "groups" not in output


def test_every_verb_has_its_task_and_every_root_file_is_there():
    from importlib.util import find_spec

    from ser_kd.runtime.paths import find_conf_dir

    for name, verb in command.VERBS.items():
        assert find_spec(f"ser_kd.tasks.{name.replace('-', '_')}") is not None, name
        if verb.root:
            assert (find_conf_dir() / f"{verb.root}.yaml").is_file(), name


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--help"], 0, "usage: ser-kd VERB"),
        (["trian"], 2, "did you mean 'train'?"),
        (["train", "experimants=x"], 2, "did you mean 'experiments'?"),
        (["train", "corpus=ravdes"], 2, "did you mean 'ravdess'?"),
        (["train", "corpus=demo", "optimizer.leraning_rate=3"], 2, "Unknown key 'optimizer.leraning_rate'"),
    ],
)
def test_help_and_wrong_words_answer_in_under_a_second(words, code, told):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    seconds = []
    for _ in range(2):  # the first may read from a cold disk
        before = os.times()
        answer = subprocess.run([sys.executable, "-m", "ser_kd", *words], env=environment, capture_output=True, text=True, check=False)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert answer.returncode == code, answer.stderr
        assert told in answer.stdout + answer.stderr
        if seconds[-1] < 1:
            break
    # Computing time, so that a busy machine does not fail it; importing torch alone costs more.
    assert min(seconds) < 1


def test_a_reader_that_leaves_early_is_no_fault():
    process = subprocess.Popen([sys.executable, "-m", "ser_kd", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
