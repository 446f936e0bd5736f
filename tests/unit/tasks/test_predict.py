"""The verb finds recordings, writes rows to standard output and words to the error stream, and goes on past what it cannot use."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_kd.__main__ import main
from ser_kd.contracts.errors import ConfigError
from ser_kd.deploy.prediction import Prediction
from ser_kd.tasks.predict_output import Table
from ser_kd.tasks.predict_words import read_arguments
from tests.tiny_models import DIMENSIONAL, LABELS, RATE, classify, write_tiny_model


def noise(samples, level=0.1, seed=0):
    return np.random.default_rng(seed).normal(0, level, samples).astype(np.float32)


def write(path, samples, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, a file of one window and one of three, a deeper one, and a file that is no audio."""
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / "m.onnx")
    write(tmp_path / "clips/short.wav", noise(300, 0.3))
    write(tmp_path / "clips/long.wav", noise(800, 0.01))
    write(tmp_path / "clips/deep/er/quiet.wav", noise(400, 0.02))
    (tmp_path / "clips/notes.txt").write_text("not looked at")
    return tmp_path


@pytest.fixture
def predict(place, capsys):
    def call(*words):
        code = main(["predict", "m.onnx", *map(str, words)])
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return code, output.out, output.err

    return call


def test_a_folder_as_a_table(predict):
    code, out, err = predict("clips")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["file", "answer", "probability", *LABELS],
        ["clips/deep/er/quiet.wav", "middle", *shown(noise(400, 0.02))],
        ["clips/long.wav", "middle", *shown(noise(800, 0.01)[:400], noise(800, 0.01)[200:600], noise(800, 0.01)[400:])],
        ["clips/short.wav", "loud", *shown(noise(300, 0.3))],
    ]
    assert len(err.splitlines()) == 1
    assert err.startswith("3 files, 0 failed, 1.5 s of audio in ")
    assert "real-time factor" in err


def shown(*clips):
    values = np.mean([classify(clip) for clip in clips], axis=0)
    return [f"{value:.3f}" for value in [values.max(), *values]]


def test_json_lines_of_windows_with_embeddings(predict):
    code, out, _ = predict("clips/long.wav", "format=jsonl", "per=window", "window_s=0.5", "hop_s=0.2", "embedding=true")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(row["start_s"], row["end_s"]) for row in rows] == [(0.0, 0.5), (0.2, 0.7), (0.3, 0.8)]
    assert [*rows[0]] == ["file", "start_s", "end_s", "label", "abstained", "probabilities", "embedding", "notes"]
    clip = noise(800, 0.01)
    for row in rows:
        stretch = clip[round(row["start_s"] * RATE) : round(row["end_s"] * RATE)]
        np.testing.assert_allclose([*row["probabilities"].values()], classify(stretch), atol=1e-5)
        np.testing.assert_allclose(row["embedding"][1:], [stretch[0], stretch[-1]], atol=1e-5)


def test_csv_and_abstaining(predict):
    code, out, err = predict("clips/short.wav", "clips/deep", "format=csv", "abstain_below=0.9")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [(row["file"], row["answer"], row["abstained"]) for row in rows] == [
        ("clips/short.wav", "loud", "false"),
        ("clips/deep/er/quiet.wav", "", "true"),
    ]
    assert float(rows[1]["probability"]) == pytest.approx(max(classify(noise(400, 0.02))), abs=1e-5)
    assert "2 files, 0 failed, 1 without an answer" in err


def test_a_model_of_dimensions(predict, place):
    write_tiny_model(place / "d.onnx", DIMENSIONAL)
    for form, wanted in (
        ("table", "file             arousal  dominance  valence"),
        ("csv", "file,start_s,end_s,arousal,dominance,valence,notes"),
    ):
        assert main(["predict", "d.onnx", "clips/short.wav", f"format={form}", f"out={form}.txt"]) == 0
        assert (place / f"{form}.txt").read_text().splitlines()[0] == wanted
    assert main(["predict", "d.onnx", "clips/short.wav", "abstain_below=0.5"]) == 2


def test_each_file_once_however_it_is_named(predict, place):
    (place / "clips/again.wav").symlink_to(place / "clips/short.wav")
    code, out, err = predict("clips/short.wav", "./clips/short.wav", "clips", place / "clips/deep", "clips/short.wav", "format=jsonl")
    assert code == 0
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["clips/short.wav", "clips/deep/er/quiet.wav", "clips/long.wav"]
    assert err.startswith("3 files")


def test_one_message_for_each_fault_and_the_others_go_on(predict, place):
    bad = place / "bad"
    write(bad / "empty.wav", noise(0))
    write(bad / "silent.wav", noise(900) * 0)
    write(bad / "short.wav", noise(20))
    write(bad / "nan.wav", np.where(np.arange(500) == 99, np.nan, noise(500)))
    (bad / "text.wav").write_text("hello " * 50)
    whole = write(bad / "cut.wav", noise(500)).read_bytes()
    (bad / "cut.wav").write_bytes(whole[:-900])
    (place / "hollow").mkdir()
    code, out, err = predict("bad", "nowhere.wav", "hollow", "clips/short.wav", "format=jsonl")
    assert code == 2
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["clips/short.wav"]
    for file, problem in {
        "bad/empty.wav": "Audio is empty.", "bad/silent.wav": "Audio is silent", "bad/short.wav": "too short", "bad/nan.wav": "NaN",
        "bad/text.wav": "cannot be decoded", "bad/cut.wav": "cut off", "nowhere.wav": "missing", "hollow": "holds no audio",
    }.items():  # fmt: skip
        message = next(part for part in err.split("to do:") if f"got:      {file}" in part)
        assert problem in message
    assert err.count("to do:") == 8
    assert "9 files, 8 failed, 0.3 s of audio" in err


def test_rows_of_windows_before_a_fault_are_written(predict, place):
    write(place / "late.wav", np.where(np.arange(40_000) == 39_999, np.nan, noise(40_000)))
    code, out, err = predict("late.wav", "per=window", "format=jsonl")
    assert code == 2
    assert len(out.splitlines()) > 100
    assert "the first at 40.00 s" in err


def test_remarks_are_told_once_for_all_files_that_share_them(predict, place):
    for number in range(5):
        write(place / f"narrow/{number}.wav", noise(200), 500)
    write(place / "six.wav", np.stack([noise(300, 0.3)] * 6, axis=1))
    code, _, err = predict("narrow", "six.wav")
    assert code == 0
    assert err.splitlines()[:3] == [
        "note: resampled from 500 Hz: narrow/0.wav, narrow/1.wav, narrow/2.wav and 2 more",
        "note: narrow-band: nothing above 250 Hz where the model heard up to 500: narrow/0.wav, narrow/1.wav, narrow/2.wav and 2 more",
        "note: 6 channels averaged: six.wav",
    ]


def test_standard_input(predict, place, monkeypatch):
    class Pipe(io.TextIOWrapper):
        def isatty(self):
            return False

    monkeypatch.setattr(sys, "stdin", Pipe(io.BytesIO((place / "clips/short.wav").read_bytes())))
    code, out, _ = predict("-", "-", "format=jsonl")
    assert code == 0
    (row,) = map(json.loads, out.splitlines())
    assert row["file"] == "standard input"
    np.testing.assert_allclose([*row["probabilities"].values()], classify(noise(300, 0.3)), atol=1e-5)
    monkeypatch.setattr(sys, "stdin", Pipe(io.BytesIO(b"")))
    code, _, err = predict("-")
    assert code == 2
    assert "standard input: 0 bytes" in err


def test_a_run_folders_own_names_are_no_keys(predict, place):
    file = write(place / "runs/fold=0/seed=0/a.wav", noise(300))
    code, out, _ = predict(file.relative_to(place), "format=jsonl")
    assert code == 0
    assert json.loads(out)["file"] == "runs/fold=0/seed=0/a.wav"


def test_a_model_fault_is_told_before_any_audio_is_read(place, capsys):
    (place / "text.onnx").write_text("no model")
    for model, told in (("nothing.onnx", "missing"), ("text.onnx", "no whole ONNX"), ("clips", "a folder")):
        assert main(["predict", model, "nowhere.wav"]) == 2
        err = capsys.readouterr().err
        assert told in err
        assert "nowhere.wav" not in err


def test_out_writes_json_lines_as_they_come_and_the_rest_whole_or_not_at_all(predict, place, monkeypatch):
    code, out, _ = predict("clips", "format=jsonl", "out=new/rows.jsonl")
    assert (code, out) == (0, "")
    assert len((place / "new/rows.jsonl").read_text().splitlines()) == 3
    (place / "rows.csv").write_text("old")
    calls = iter([None, KeyboardInterrupt])
    on_disk = []

    def stop_at_the_second(self, answer):
        on_disk.append((place / "rows.jsonl").read_text().count("\n") if (place / "rows.jsonl").exists() else 0)
        if (fault := next(calls)) is not None:
            raise fault

    monkeypatch.setattr("ser_kd.tasks.predict.Tally.count", stop_at_the_second)
    assert main(["predict", "m.onnx", "clips", "format=csv", "out=rows.csv"]) == 130
    assert (place / "rows.csv").read_text() == "old"
    calls = iter([None, KeyboardInterrupt])
    assert main(["predict", "m.onnx", "clips", "format=jsonl", "out=rows.jsonl"]) == 130
    assert on_disk == [0, 0, 1, 2]
    assert len((place / "rows.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("out", ["clips", "m.onnx", "clips/short.wav"])
def test_out_never_overwrites_an_input(predict, place, out):
    before = (place / "m.onnx").read_bytes(), (place / "clips/short.wav").read_bytes()
    code, _, err = predict("clips", f"out={out}", "format=jsonl")
    assert code == 2
    assert "'out' is" in err
    assert before == ((place / "m.onnx").read_bytes(), (place / "clips/short.wav").read_bytes())


def test_names_that_are_no_text_are_written_escaped(predict, place):
    name = os.fsdecode(b"clips/caf\xe9.wav")
    try:
        (place / "clips/short.wav").rename(place / name)
    except OSError:
        pytest.skip("this file system takes no such names")
    code, out, _ = predict(name, "format=jsonl")
    assert code == 0
    assert json.loads(out)["file"] == name
    assert predict(name)[0] == 0


def test_all_wrong_words_are_told_together():
    words = [
        "m.onnx",
        "fromat=csv",
        "per=windows",
        "window_s=-1",
        "hop_s=x",
        "abstain_below=2",
        "threads=0",
        "embedding=true",
        "provider=gpu",
    ]
    with pytest.raises(ConfigError) as caught:
        read_arguments(words)
    text = str(caught.value)
    for told in (
        "did you mean 'format'?", "did you mean 'window'?", "'window_s' cannot be", "'hop_s' cannot be", "'abstain_below' cannot be",
        "'threads' cannot be", "Embeddings need JSON lines", "Unknown provider", "Nothing is named",
    ):  # fmt: skip
        assert told in text
    assert "9 faults" in text


def test_words_as_they_are_meant():
    asked = read_arguments(
        ["m.onnx", "a.wav", "b", "window_s=whole", "abstain_below=0.5", "threads=2", "provider=cpu", "out=x/y.csv", "format=csv"]
    )
    assert (asked.model, asked.sources, asked.window_s, asked.hop_s) == ("m.onnx", ("a.wav", "b"), "whole", None)
    assert (asked.abstain_below, asked.threads, asked.provider, asked.out) == (0.5, 2, "cpu", Path("x/y.csv"))
    assert read_arguments(["m.onnx", "-"]).sources == ("-",)


@pytest.mark.parametrize("width", [30, 50, 70, 90, 200])
def test_a_narrow_terminal_keeps_the_table_readable(width):
    files = ["a/very/long/way/to/a/recording/of/somebody.wav", "b.wav"]
    table = Table(LABELS, True, True, files, width)
    rows = [Prediction(file, 0.0, 1.5, "quiet", dict(zip(LABELS, (0.1, 0.2, 0.7), strict=True))) for file in files]
    lines = [table.header(), *map(table.row, rows)]
    assert max(map(len, lines)) <= max(width, 56)
    for line, answer in zip(lines, ("answer", "quiet", "quiet"), strict=True):
        assert answer in line
    assert lines[1].split()[0].endswith("mebody.wav")
    assert ("quiet" in lines[0].split()) == (width >= 90)
    assert ("…" in lines[0]) == (width < 90)
    assert ("…" in lines[1]) == (width < 200)


def test_an_empty_folder_alone_is_told_and_nothing_else(place, capsys):
    (place / "hollow").mkdir()
    assert main(["predict", "m.onnx", "hollow", f"out={place / 'rows.csv'}"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("The folder holds no audio.")
    assert "failed" not in output.err
    assert not output.out
    assert not (place / "rows.csv").exists()
