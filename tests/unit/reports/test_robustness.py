from __future__ import annotations

import csv
import io
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from fake_robustness import RATIOS, make_curve, make_robustness
from fake_runs import FakeRun, write_run

from ser_kd.contracts.robustness_record import CLEAN
from ser_kd.reports.content import gather_content
from ser_kd.reports.ledger import find_runs
from ser_kd.reports.markdown import render_markdown_report
from ser_kd.reports.page import render_page
from ser_kd.reports.robustness_crossing import find_crossings, find_passing, measure_drops
from ser_kd.reports.robustness_differences import find_differences
from ser_kd.reports.robustness_files import write_robustness
from ser_kd.reports.robustness_section import tell_robustness
from ser_kd.reports.robustness_systems import gather_boards, measure_answers
from ser_kd.reports.robustness_tables import tabulate_passing, tabulate_ratios, tabulate_systems, write_long


@pytest.fixture(scope="module")
def records():
    """Two folds of a teacher, its student, and the teacher behind VAD and NMF, under two noises."""
    found = []
    for fold in (0, 1):
        for noise_split in ("time",):
            shared = {"fold": fold, "noise": {"corpus": "noisex92", "noise_split": noise_split}}
            teacher = {**make_curve("babble", 0.3, 0.9, 0.95), **make_curve("volvo", 0.5, 0.9)}
            student = {**make_curve("babble", 0.6, 0.7, 0.75), **make_curve("volvo", 0.65, 0.75)}
            enhanced = {**make_curve("babble", 0.4, 0.8, 0.9), **make_curve("volvo", 0.55, 0.85)}
            found.append(make_robustness(teacher, **shared))
            mine = {"experiment": "mlkd_noisy/mlkd", "identity": "s0", "teachers": ["t0"], "distilled": True}
            found.append(make_robustness(student, heard={"babble": "type", "volvo": "never"}, **mine, **shared))
            found.append(make_robustness(enhanced, enhancement="vad_nmf", enhancement_setting="e", **shared))
    return found


@pytest.fixture(scope="module")
def board(records):
    (board,) = gather_boards(records, resamples=300)
    return board


def read_signs(ratios, differences):
    """The second form: the broken line drawn finely, and where its sign turns."""
    fine = np.linspace(min(ratios), max(ratios), 200_001)
    line = np.interp(fine, ratios, differences)
    signs = np.sign(line[np.abs(line) > 1e-9])
    places = fine[np.abs(line) > 1e-9][1:][signs[1:] != signs[:-1]]
    return signs, places


def test_crossings_agree_with_a_finely_drawn_line():
    generator = np.random.default_rng(0)
    for _ in range(60):
        differences = generator.normal(size=6).round(1)
        verdict, crossings = find_crossings([-5, 0, 5, 10, 15, 20], differences.tolist())
        signs, places = read_signs([-5, 0, 5, 10, 15, 20], differences)
        if not (differences == 0).any():
            np.testing.assert_allclose(crossings, places, atol=1e-3)
        if len(crossings) == 1:
            assert verdict == ("below" if signs[0] > 0 else "above")
        elif not crossings:
            assert verdict == ("equal" if not len(signs) else "everywhere" if signs[0] > 0 else "never")
        else:
            assert verdict == "several"


def test_zeros_are_crossed_or_only_touched():
    assert find_crossings([0, 5, 10], [0.1, 0.0, -0.1]) == ("below", (5.0,))
    assert find_crossings([0, 5, 10], [0.1, 0.0, 0.1]) == ("everywhere", ())
    assert find_crossings([0, 5], [0.0, 0.0]) == ("equal", ())
    assert find_crossings([0, 5, 10], [0.1, math.nan, -0.1]) == ("below", (5.0,))


def test_teacher_student_and_enhanced_are_told_apart(board):
    assert [(system.name, system.role) for system in board.systems] == [
        ("mlkd_noisy/teacher", "teacher"),
        ("mlkd_noisy/teacher + vad_nmf", "enhanced"),
        ("mlkd_noisy/mlkd", "distilled"),
    ]
    assert board.teacher is board.systems[0]
    assert (board.noises, board.ratios, board.has_clean) == (("babble", "volvo"), (20.0, 15.0, 10.0, 5.0, 0.0), True)
    assert board.systems[2].tell_heard("babble") == "seen type"
    assert board.systems[2].tell_heard("volvo") == "unseen"


def test_folds_are_pooled_as_one_test_set(records, board):
    teacher = [record for record in records if record.identity == "t0" and not record.enhancement]
    truth = [t for record in teacher for t in record.truth]
    answers = [a for record in teacher for a in record.find("babble", 10.0).answers]
    recalls = [np.mean([a == t for a, t in zip(answers, truth, strict=True) if t == name]) for name in range(4)]
    assert board.systems[0].value(("babble", 10.0)) == pytest.approx(np.mean(recalls))
    told = board.systems[0].intervals["babble", 10.0]["ua"]
    assert (told.unit, told.units) == ("speakers", 12)
    assert told.low <= told.value <= told.high


def test_the_student_passes_the_teacher_below_the_crossing_of_the_curves(board):
    teacher, _, student = board.systems
    found = find_passing(student, teacher, ["babble"], board.ratios, resamples=300)
    curves = [[system.value(("babble", x)) for x in RATIOS] for system in (student, teacher)]
    _, places = read_signs(RATIOS, np.subtract(*curves))
    assert found.verdict == "below"
    np.testing.assert_allclose(found.crossings, places, atol=1e-3)
    assert found.low <= found.crossings[0] <= found.high
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.unit == "speakers"
    assert f"below {found.crossings[0]:.1f} dB" in found.describe()
    both = find_passing(student, teacher, board.noises, board.ratios, resamples=300)
    means = [[np.mean([s.value((noise, x)) for noise in board.noises]) for x in RATIOS] for s in (student, teacher)]
    np.testing.assert_allclose(both.crossings, read_signs(RATIOS, np.subtract(*means))[1], atol=1e-3)


def test_never_and_everywhere_are_told(board):
    teacher = board.systems[0]
    assert find_passing(teacher, teacher, ["babble"], board.ratios, resamples=200).verdict == "equal"
    low = make_robustness(make_curve("babble", 0.1, 0.2), identity="low", experiment="x/low")
    high = make_robustness(make_curve("babble", 0.8, 0.9), identity="high", experiment="x/high")
    (other,) = gather_boards([low, high], teacher="high", resamples=200)
    text = "\n".join(" ".join(row) for row in tabulate_passing(other).rows)
    assert "never (so in 100% of resamples" in text
    (other,) = gather_boards([low, high], teacher="low", resamples=200)
    assert "everywhere" in tabulate_passing(other).rows[0][2]


def test_only_the_folds_that_both_have_are_compared(records):
    (board,) = gather_boards([r for r in records if not (r.identity == "s0" and r.fold == 1)], resamples=200)
    student = board.systems[-1]
    assert (student.folds, board.teacher.folds) == ([0], [0, 1])
    found = find_passing(student, board.teacher, ["babble"], board.ratios, resamples=200)
    assert found.units == 6
    assert any("comparisons use the folds that both have" in note for note in board.notes)


def test_differences_are_those_of_the_table_with_every_pair_once(board):
    found = find_differences(board)
    assert len(found) == 3
    for pair in found:
        cells = [(noise, ratio) for noise in board.noises for ratio in board.ratios]
        named = {system.name: system for system in board.systems}
        plain = np.mean([named[pair.first.name].value(cell) - named[pair.second.name].value(cell) for cell in cells])
        assert pair.in_noise.value == pytest.approx(plain, abs=1e-12)
        assert pair.in_noise.low <= pair.in_noise.value <= pair.in_noise.high
        assert pair.in_noise.value >= 0
        assert pair.conditions == len(cells)
        assert pair.p_value <= pair.p_corrected <= 1


def test_swapping_every_voice_under_all_noises_at_once_is_the_test(records):
    """The second form: all ways of swapping speakers, each UA counted anew."""
    (board,) = gather_boards([record for record in records if record.fold == 0], resamples=100)
    pair = find_differences(board)[0]
    cells = [(noise, ratio) for noise in board.noises for ratio in board.ratios]
    sides = [[np.array(system.answers[cell][0].prediction) for cell in cells] for system in (pair.first, pair.second)]
    example = pair.first.answers[cells[0]][0]
    truth, speakers = np.array(example.truth), np.array(example.speakers)

    def measure(swapped):
        moved = np.isin(speakers, swapped)
        scores = [
            np.mean(
                [np.mean([np.mean(np.where(moved, b, a)[truth == c] == c) for c in np.unique(truth)]) for a, b in zip(x, y, strict=True)]
            )
            for x, y in (sides, sides[::-1])
        ]
        return scores[0] - scores[1]

    names = np.unique(speakers)
    ways = [[name for name, bit in zip(names, bits, strict=True) if bit] for bits in itertools.product((0, 1), repeat=len(names))]
    differences = np.array([measure(way) for way in ways])
    assert pair.p_value == pytest.approx(np.mean(np.abs(differences) >= abs(measure([])) - 1e-12))


def test_drops_are_differences_of_the_table(board):
    teacher = board.systems[0]
    steps = measure_drops(teacher, "volvo", board.ratios, (CLEAN, None), resamples=200)
    assert [(upper, lower) for upper, lower, _ in steps] == [(None, 20.0), (20.0, 15.0), (15.0, 10.0), (10.0, 5.0), (5.0, 0.0)]
    values = [teacher.value((CLEAN, None)), *(teacher.value(("volvo", x)) for x in board.ratios)]
    np.testing.assert_allclose([change.value for _, _, change in steps], np.diff(values))


def test_the_mean_row_is_the_mean_of_its_column(board):
    table = tabulate_ratios(board, board.systems[1], board.systems[2])
    assert [column.name for column in table.columns] == ["SNR", "babble baseline", "babble model", "volvo baseline", "volvo model"]
    assert [row[0] for row in table.rows] == ["0 dB", "5 dB", "10 dB", "15 dB", "20 dB", "mean"]
    for place in range(1, 5):
        assert float(table.rows[-1][place]) == pytest.approx(np.mean([float(row[place]) for row in table.rows[:-1]]), abs=1e-3)


def test_a_missing_condition_is_no_number(records):
    cut = [replace(r, conditions=[c for c in r.conditions if c.key != ("babble", 5.0)]) if r.fold == 1 else r for r in records]
    (board,) = gather_boards(cut, resamples=200)
    table = tabulate_systems(board, "babble")
    assert table.rows[0][3] == "—"
    assert table.rows[0][2] != "—"
    assert any("not every fold has yet" in note for note in board.notes)


def test_systems_stand_beside_the_papers_figures(board, tmp_path):
    paper = tmp_path / "mlkd_noisy"
    paper.mkdir()
    (paper / "published.csv").write_text(
        "model,variant,metric,value,unit,source,note,corpus,noise,snr_db\n"
        "Teacher,teacher,robustness/ua_noise=babble_snr=0,45.12,%,T1,,iemocap,babble,0\n"
        "Teacher,teacher,test/ua,77.78,%,T1,,iemocap,clean,\n"
        "Other,teacher,robustness/ua_noise=babble_snr=0,1,%,T1,,ravdess,babble,0\n"
    )
    records = [record for system in board.systems for record in system.records]
    boards, files = write_robustness(records, tmp_path / "out", [tmp_path], resamples=200)
    text = files["Markdown"].read_text()
    assert "| published: Teacher | — | 0.451 | — | — | — | — | 0.778 |" in text
    assert "Other" not in text
    assert files["figure"].is_file()
    assert sorted(path.suffix for path in files["tables"].iterdir()) == [".csv"] * len(list(files["tables"].iterdir()))
    rows = list(csv.DictReader(io.StringIO(files["numbers"].read_text())))
    pooled = [row for row in rows if row["fold"] == "all"]
    assert len(pooled) == 3 * 11
    assert len(rows) == len(pooled) + 6 * 11
    row = next(row for row in pooled if row["system"] == "mlkd_noisy/mlkd" and row["noise"] == "volvo" and row["snr_db"] == "15")
    assert float(row["ua"]) == pytest.approx(boards[0].systems[2].value(("volvo", 15.0)), abs=1e-6)
    assert (row["clips"], row["interval_unit"], row["heard_in_training"]) == ("96", "speakers", "unseen")


def test_other_protocols_and_other_noise_settings_are_never_pooled(records):
    strangers = [replace(records[0], fingerprint="f2"), replace(records[0], setting="s2")]
    assert len(gather_boards([*records, *strangers], resamples=200)) == 3


def test_clips_without_a_class_count_for_nothing():
    assert measure_answers([0, 1, -1], [0, 0, 1], 2) == measure_answers([0, 1], [0, 0], 2)


def test_files_and_identities_have_names_of_their_own():
    curve = make_curve("babble", 0.4, 0.8)
    runs = [make_robustness(curve, identity=name) for name in ("aaaa1", "bbbb2")]
    file = make_robustness(curve, identity="aaaa1", kind="file", precision="int8")
    (board,) = gather_boards([*runs, file], resamples=200)
    assert sorted(system.name for system in board.systems) == [
        "mlkd_noisy/teacher @aaaa",
        "mlkd_noisy/teacher @bbbb",
        "mlkd_noisy/teacher int8 file",
    ]


def test_clean_speech_alone_is_a_board_too():
    (board,) = gather_boards([make_robustness({(CLEAN, None): 0.5})], resamples=200)
    assert "On clean speech" in tell_robustness(board)
    assert "clean" in write_long([board])


def test_the_report_shows_what_lies_beside_the_runs(tmp_path, records):
    folder = write_run(tmp_path / "runs", FakeRun())
    place = folder / "robustness"
    place.mkdir()
    for number, record in enumerate(records):
        (place / f"{number}.json").write_text(record.to_json())
    (place / "broken.json").write_text("{")
    ledger = find_runs(tmp_path / "runs")
    assert len(ledger.robustness) == len(records)
    assert any("broken.json" in fault.path for fault in ledger.faults)
    content = gather_content(ledger, resamples=200)
    assert len(content.robustness) == 1
    for text in (render_markdown_report(content), render_page(content)):
        assert "Noise of noisex92 on iemocap" in text
        assert "Drop per step" in text
    assert not gather_content(ledger.select(["wav_to_mfcc/*"]), resamples=200).robustness
