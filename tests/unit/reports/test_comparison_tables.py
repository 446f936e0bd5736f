from __future__ import annotations

import csv
import math
import re
from dataclasses import replace

import pytest
from fake_runs import TRIO, write_run

from ser_kd.reports.comparison import compare_systems
from ser_kd.reports.comparison_files import write_comparison
from ser_kd.reports.comparison_tables import (
    comparison_numbers,
    list_notes,
    metric_table,
    name_sides,
    overview_table,
    paired_test_table,
    render_comparison,
    tell_comparison,
)
from ser_kd.reports.ledger import find_runs
from ser_kd.reports.paired_tests import EffectSize, McNemarTest
from ser_kd.reports.tables import render_csv, render_latex

NAMES = ("student", "ce_kl")


def compare(root, **options):
    by_name = {}
    for entry in find_runs(root).runs:
        by_name.setdefault(entry.record.experiment, []).append(entry)
    reference = by_name.pop(TRIO[1].experiment)
    return compare_systems(reference, list(by_name.values()), resamples=200, **options)


def cells(table, row):
    return dict(zip([column.name for column in table.columns], table.rows[row], strict=True))


@pytest.fixture(scope="module")
def item(tmp_path_factory):
    root = tmp_path_factory.mktemp("grid")
    for run in TRIO[1:]:
        for fold in range(3):
            for seed in range(2):
                write_run(root, replace(run, fold=fold, seed=seed, test_speakers=(f"f0{fold}", f"m0{fold}")))
    (made,) = compare(root)
    return made


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    root = tmp_path_factory.mktemp("single")
    for run in TRIO[1:]:
        write_run(root, replace(run, selection="test", warnings=("beware",)))
    (made,) = compare(root)
    return made


def test_metrics_as_mean_and_pooled(item):
    table = metric_table(item, NAMES)
    row = cells(table, 0)
    told = item.candidate.estimate("ua")
    assert list(row)[:5] == ["metric", "student", "ce_kl", "student, pooled", "ce_kl, pooled"]
    assert row["ce_kl"] == f"{told.mean:.3f} ± {told.std:.3f}"
    assert row["ce_kl, pooled"] == f"{told.interval.value:.3f} [{told.interval.low:.3f}, {told.interval.high:.3f}]"
    assert row["difference, points"] == f"+{100 * item.differences['ua'].value:.1f}"
    assert [line[0] for line in table.rows] == ["UA", "WA", "F1 macro", "F1 weighted"]
    assert table.notes[0].startswith("Runs: 3 folds, 2 seeds; 252 clips of 6 speakers. Difference: ce_kl − student (identities ")
    assert "6 speakers; with so few" in table.notes[2]


def test_a_single_run_has_no_deviation(single):
    table = metric_table(single, NAMES)
    assert re.fullmatch(r"0\.\d{3}", cells(table, 0)["student"])
    assert not any("±" in note for note in table.notes)
    assert any("say nothing about other speakers" in note for note in table.notes)


def test_tests_stand_with_their_smallest_p(item):
    table = paired_test_table(item, NAMES)
    row = cells(table, 0)
    assert (row["over"], row["smallest p possible"]) == ("6 speakers", "0.0312")
    assert row["p"] == f"{item.permutation.p_value:.4f}"
    assert row["effect size"] == f"d_z {item.effect.value:+.2f}"
    assert any(note.endswith("With 6 speakers no p below 0.0312 is possible.") for note in table.notes)
    one = cells(table, 2)
    told = item.mcnemar[1]
    assert one["test"] == "McNemar, exact, seed 1"
    assert one["found"] == f"right only: ce_kl {told.only_first}, student {told.only_second}"
    assert one["over"] == f"{told.only_first + told.only_second} discordant clips"
    assert "p, Holm" not in row


def test_what_is_undefined_is_a_dash_with_its_reason(item):
    mcnemar = {3: McNemarTest(0, 0, 1.0, math.nan, "no clip"), 4: McNemarTest(2, 0, 0.5, math.inf), 5: McNemarTest(3000, 1500, 0.0, 2.0)}
    broken = replace(item, effect=EffectSize(math.nan, 1, "one speaker"), mcnemar=mcnemar)
    table = paired_test_table(broken, NAMES)
    assert [row[3] for row in table.rows] == ["—", "—", "odds ratio ∞", "odds ratio 2.00"]
    assert [row[-1] for row in table.rows[1:]] == ["1.0000", "0.5000", "< 0.0001"]
    assert "d_z is undefined: one speaker." in table.notes
    assert "Odds ratio of seed 3 is undefined: no clip." in table.notes
    assert "odds ratio $\\infty$" in render_latex(table)


def test_few_speakers_cannot_decide(single):
    headline, detail = tell_comparison(single, NAMES)
    assert headline.startswith("Whether ce_kl is better than student stays open: UA 0.")
    assert "p = " in headline
    assert detail.endswith("With 2 speakers to swap no p below 0.5000 is possible: the test cannot decide.")


def test_a_certain_difference_is_told(item):
    def tell(p_value, difference):
        told = replace(item.differences["ua"], value=difference)
        test = replace(item.permutation, p_value=p_value)
        return tell_comparison(replace(item, differences={"ua": told}, permutation=test), NAMES)[0]

    assert tell(0.03, 0.1).startswith("ce_kl is better than student: UA 0.")
    assert tell(0.03, -0.1).startswith("ce_kl is worse than student")
    assert tell(0.05, 0.1).startswith("Whether")
    assert "p < 0.0001 (paired permutation over 6 speakers)" in tell(1e-6, 0.1)
    assert "p = 0.0600 (paired permutation over 6 speakers, corrected for 3 comparisons)" in tell_comparison(
        replace(item, holm=0.06, family=3), NAMES
    )[0]  # fmt: skip


def test_notes_begin_with_selection_on_test(single, item):
    notes = list_notes(single, NAMES)
    assert notes[0].startswith("SELECTED ON TEST")
    assert notes[-1] == "beware"
    assert list_notes(item, NAMES) == []


def test_several_are_an_overview_with_corrected_p(tmp_path):
    runs = [*TRIO[1:], replace(TRIO[1], experiment="other/100%_x", skill=0.5)]
    for run in runs:
        for fold in range(2):
            write_run(tmp_path, replace(run, fold=fold, test_speakers=(f"f0{fold}", f"m0{fold}")))
    write_run(tmp_path, replace(TRIO[2], fold=2))
    write_run(tmp_path, replace(TRIO[1], fold=2))
    made = compare(tmp_path, folds=(0, 1))
    names = name_sides(made)
    assert names == [("wav_to_mfcc/student", "other/100%_x"), ("wav_to_mfcc/student", "wav_to_mfcc/ce_kl")]
    table = overview_table(made, names)
    assert [row[0] for row in table.rows] == ["other/100%_x", "wav_to_mfcc/ce_kl"]
    assert cells(table, 0)["p, Holm"] == f"{made[0].holm:.4f}"
    assert len(table.notes) == 1
    files = write_comparison(made, tmp_path / "out")
    latex = files.latex.read_text()
    assert r"other/100\%\_x & 2 folds, 1 seed & " in latex
    assert r"d\_z" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 5
    markdown = files.markdown.read_text()
    assert markdown == render_comparison(made)
    assert markdown.startswith("# other/100%_x, wav_to_mfcc/ce_kl against wav_to_mfcc/student\n")
    assert "left out: 1 more pair of runs by folds=0,1." in markdown
    assert files.numbers.read_text() == render_csv(comparison_numbers(made))


def test_columns_of_the_markdown_stand_below_their_heads(item):
    text = render_comparison([item])
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 2
    for block in blocks:
        assert len({re.sub(r"\\\|", "", line).count("|") for line in block}) == 1
    assert "To know" not in text


def test_numbers_are_exact_and_only_where_they_were_tested(item):
    rows = list(csv.DictReader(render_csv(comparison_numbers([item])).splitlines()))
    assert [row["metric"] for row in rows] == ["ua", "wa", "f1_macro", "f1_weighted"]
    assert float(rows[0]["permutation_p"]) == item.permutation.p_value
    assert float(rows[2]["difference"]) == item.differences["f1_macro"].value
    assert float(rows[0]["candidate_std"]) == item.candidate.estimate("ua").std
    assert (rows[0]["folds"], rows[0]["mcnemar_seeds"], rows[0]["permutation_p_holm"]) == ("0 1 2", "0 1", "")
    assert [float(value) for value in rows[0]["mcnemar_p"].split()] == [part.p_value for part in item.mcnemar.values()]
    assert {row["permutation_p"] for row in rows[1:]} == {""}


def test_of_errors_lower_is_better(item):
    lower = replace(item.differences["ua"], value=-0.1)
    made = replace(
        item, differences={"ua": lower, "rmse_arousal": lower}, metric="rmse_arousal", permutation=replace(item.permutation, p_value=0.01)
    )
    assert tell_comparison(made, NAMES)[0].startswith("ce_kl is better than student: RMSE arousal")
    table = metric_table(made, NAMES)
    assert [row[0] for row in table.rows] == ["UA", "RMSE arousal (lower is better)"]
    assert any(note.startswith("RMSE is an error: a difference below 0 speaks for ce_kl.") for note in table.notes)
    assert not any("RMSE" in note for note in metric_table(item, NAMES).notes)
