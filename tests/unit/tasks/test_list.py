"""What can be chosen is listed with the first comment of each file."""

import pytest

from ser_kd.contracts.errors import ConfigError
from ser_kd.tasks import list as list_task


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    files = {
        "conf/student/large.yaml": "# The large one.\nwidth: 60\n",
        "conf/student/small.yaml": "width: 39\n",
        "conf/protocol/five.yaml": "# Five folds.\n",
        "conf/protocol/by_corpus/demo.yaml": "# Never typed.\n",
        "experiments/paper/one.yaml": "# @package _global_\n# The first.\n",
        "experiments/paper/sweeps/x.yaml": "# No experiment.\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(list_task, "find_conf_dir", lambda: tmp_path / "conf")
    monkeypatch.setattr(list_task, "find_experiment_roots", lambda: [tmp_path / "experiments"])
    return tmp_path


def test_everything_experiments_first(shelf, capsys):
    assert list_task.run([]) == 0
    output = capsys.readouterr().out
    assert output.index("experiments") < output.index("protocol") < output.index("student")
    assert "paper/one  The first." in output
    assert "large  The large one." in output
    assert "Never typed" not in output
    assert "sweeps" not in output


def test_one_option_is_shown_with_its_keys(shelf, capsys):
    assert list_task.run(["student", "large"]) == 0
    assert capsys.readouterr().out == "# The large one.\nwidth: 60\n"


def test_one_group(shelf, capsys):
    assert list_task.run(["student"]) == 0
    assert capsys.readouterr().out == "large  The large one.\nsmall\n"


def test_experiments_say_where_they_were_searched(shelf, capsys):
    assert list_task.run(["experiments"]) == 0
    assert str(shelf / "experiments") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["studnt"], "did you mean 'student'"),
        (["student", "large", "small"], "takes one group"),
        (["student", "larg"], "did you mean 'large'"),
    ],
)
def test_wrong_words(shelf, words, told):
    with pytest.raises(ConfigError, match=told):
        list_task.run(words)
