"""Plain words to pipes, colour and bars only to terminals."""

import io
import sys

from ser_kd.contracts.errors import ConfigError
from ser_kd.runtime import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch) -> Terminal:
    # Not a fixture: pytest puts its own streams back between set-up and call.
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def test_a_pipe_gets_plain_words(capsys):
    console.heading("Data")
    console.note("ok")
    console.table({"name": 1, "longer name": "x"})
    console.columns(["fold", "ua"], [["zero", "0.51"], ["one", "12.3"]])
    output = capsys.readouterr().out
    assert output == "\n== Data\nok\nname         1\nlonger name  x\nfold    ua\nzero  0.51\none   12.3\n"


def test_errors_and_warnings_go_to_the_error_stream(capsys):
    console.show_error(ConfigError("Wrong.", expected="a", got="b"))
    console.show_error(RuntimeError("broken"))
    console.warn("careful")
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "Wrong.\n  expected: a\n  got:      b\nRuntimeError: broken\nwarning: careful\n"


def test_a_terminal_gets_colour_unless_no_color(monkeypatch):
    terminal = use_terminal(monkeypatch)
    console.show_error(ConfigError("Wrong.", got="b"))
    assert terminal.getvalue().startswith("\x1b[31mWrong.\x1b[0m\n  got:")
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
        terminal.truncate(0)
        terminal.seek(0)
        console.show_error(ConfigError("Wrong."))
        assert terminal.getvalue() == "Wrong.\n"
        monkeypatch.delenv(name)


def test_an_empty_no_color_counts_as_unset(monkeypatch):
    terminal = use_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "")
    console.note("dim")
    assert "\x1b[2m" in terminal.getvalue()


def test_long_findings_wrap_under_their_column(capsys):
    console.states([("ok", "a", "short"), ("FAIL", "longer", "word " * 40)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok    a       short"
    assert lines[1].startswith("FAIL  longer  word")
    assert lines[2].startswith(" " * 14 + "word")


def test_tables_may_be_empty(capsys):
    console.table({})
    console.columns(["a"], [])
    assert capsys.readouterr().out == "a\n"


def test_progress_is_silent_outside_a_terminal(capsys):
    with console.progress("decoding") as advance:
        advance(1, 2)
        advance(2, 2)
    output = capsys.readouterr()
    assert output.out + output.err == ""


def test_progress_shows_a_bar_in_a_terminal_once_there_is_something_to_do(monkeypatch):
    terminal = use_terminal(monkeypatch)
    with console.progress("decoding"):
        pass
    assert terminal.getvalue() == ""
    with console.progress("decoding") as advance:
        advance(1, 2)
    assert "decoding" in terminal.getvalue()


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_log_hears_of_long_work_at_every_tenth(capsys):
    clock = Clock()
    with console.progress("predicting", clock) as advance:
        for done in range(1, 1001):
            advance(done, 1000, f"({done} s)")
            clock.seconds += 0.02  # five seconds are over at a quarter
    assert capsys.readouterr().err.splitlines() == ["predicting: 25 % (252 s)"] + [
        f"predicting: {tenth} % ({tenth}0 s)" for tenth in range(30, 101, 10)
    ]


def test_without_rich_a_terminal_gets_one_line_that_words_do_not_run_into(monkeypatch):
    terminal = use_terminal(monkeypatch)
    monkeypatch.setattr(console.importlib.util, "find_spec", lambda name: None)
    with console.progress("predicting") as advance:
        advance(1, 4, "(1 s)")
        console.show("a row")
        advance(2, 4, "(2 s)")
        console.tell("a message")
    assert terminal.getvalue() == (
        "\r\x1b[Kpredicting 25 % (1 s)" "\r\x1b[K" "a row\n" "\r\x1b[Kpredicting 50 % (2 s)" "\r\x1b[K" "a message\n"
    )  # fmt: skip


def test_data_in_a_pipe_stay_there_beside_a_bar_in_a_terminal(monkeypatch):
    terminal = use_terminal(monkeypatch)
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    with console.progress("predicting") as advance:
        advance(1, 4)
        console.show('{"a": 1}')
    assert pipe.getvalue() == '{"a": 1}\n'
    assert "predicting" in terminal.getvalue()
