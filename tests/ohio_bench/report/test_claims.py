"""Claims: verdicts against SciPy and by hand, what is missing, and texts that follow from run files."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from ohio_bench.experiments import EXPERIMENTS, TABLES, of_table
from ohio_bench.report import claims, evidence, marked
from ohio_bench.report.claims import ALPHA, Claim, Measured, judge

from ohio_jax.errors import UserError
from ohio_jax.files import write_json
from tests.ohio_bench import boards

SENTENCE = "Ours scores {difference} theirs."
OURS, THEIRS = [52.0, 54.5, 53.0, 55.0, 53.5], [50.0, 51.0, 50.5, 52.0, 51.5]  # on average 2.6 apart


def cell(name: str, values, policy: str = "", seeds=None, **more) -> Measured:
    values = np.asarray(values, np.float64)
    seeds = tuple(range(len(values))) if seeds is None else seeds
    first = {"score": values, "success": 10 * values}
    data = "logs" if seeds else None
    return Measured(
        name, first, seeds, **{"tests": "t", "data": data, "policy": policy or name, "updates": 10, "stale": False, **more}
    )


def one_row(ours=OURS, theirs=THEIRS, **more):
    return {("A", "ours"): cell("a", ours), ("A", "theirs"): cell("b", theirs, **more)}


def claim(relation="above", margin=0.0, theirs="theirs", name="c", **more) -> Claim:
    return Claim(name, SENTENCE, "ours", theirs, relation, margin, **more)


def verdict(of: Claim, found, rows=("A",)) -> claims.Judged:
    (judged,) = judge([of], found, rows)
    return judged


@pytest.mark.parametrize(
    ("relation", "margin", "expected"),
    [
        ("above", 0.0, "holds"),
        ("above", 2.5, "undecided"),
        ("above", 4.0, "fails"),
        ("below", 0.0, "fails"),
        ("within", 4.0, "holds"),
        ("within", 2.5, "undecided"),
        ("within", 1.0, "fails"),
        ("equal", 0.0, "fails"),
    ],
)
def test_a_verdict_is_what_the_interval_allows(relation, margin, expected):
    """The 95 % interval of the difference is SciPy's, 1.8 to 3.4."""
    judged = verdict(claim(relation, margin), one_row())
    assert judged.verdict == expected and judged.effect == pytest.approx(2.6)
    if relation != "equal":
        interval = scipy.stats.ttest_rel(OURS, THEIRS).confidence_interval()
        assert (judged.low, judged.high) == pytest.approx((interval.low, interval.high))
        bound = 0.0 if margin == 0 else margin
        expected = scipy.stats.ttest_rel(np.array(OURS) - bound, THEIRS).pvalue
        assert judged.p == judged.adjusted == pytest.approx(expected)


def test_swapped_methods_have_the_opposite_verdict():
    there, back = one_row(), {("A", "ours"): cell("b", THEIRS), ("A", "theirs"): cell("a", OURS)}
    assert verdict(claim("above"), there).verdict == verdict(claim("below"), back).verdict == "holds"
    assert verdict(claim("above"), there).low == pytest.approx(-verdict(claim("below"), back).high)


def test_equal_means_the_same_returns():
    same = {("A", "ours"): cell("a", OURS, "p"), ("A", "theirs"): cell("b", OURS, "p")}
    judged = verdict(claim("equal"), same)
    assert (judged.verdict, judged.same, judged.p) == ("holds", 1, None)


def test_holm_corrects_for_the_number_of_claims():
    """p values of 0.02 and 0.04: alone both claims hold, together with a clear third one the weaker stays undecided."""
    spread = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    deviation = np.std(spread, ddof=1) / np.sqrt(5)
    at = lambda p: deviation * scipy.stats.t.isf(p / 2, 4) + spread  # five differences whose two-sided p value is p
    found = {("A", name): cell(name, at(p)) for name, p in (("sure", 1e-4), ("x", 0.02), ("y", 0.04))}
    family = [Claim(name, SENTENCE, name, 0.0) for name in ("sure", "x", "y")]
    assert [verdict(of, found).verdict for of in family] == ["holds"] * 3
    judged = judge(family, found, ["A"])
    assert [of.p for of in judged] == pytest.approx([1e-4, 0.02, 0.04])
    assert [of.adjusted for of in judged] == pytest.approx([3e-4, 0.04, 0.04])  # in steps: 3 p, 2 p, 1 p
    assert [of.confidence for of in judged] == pytest.approx([1 - 0.05 / 3, 1 - 0.05 / 2, 0.95])
    assert [of.verdict for of in judged] == ["holds"] * 3
    judged = judge([*family, Claim("z", SENTENCE, "y", 1e-9)], found, ["A"])  # now 4 p, 3 p: 0.06
    assert [of.verdict for of in judged] == ["holds", "undecided", "undecided", "undecided"]


def test_intervals_agree_with_holm():
    """An interval excludes the bound exactly where the adjusted p value is at most ALPHA."""
    draw = np.random.default_rng(0)
    for _ in range(200):
        found = {("A", f"m{i}"): cell(f"m{i}", draw.normal(draw.uniform(0, 2), 1.0, 4)) for i in range(4)}
        for of in judge([Claim(f"m{i}", SENTENCE, f"m{i}", 0.0) for i in range(4)], found, ["A"]):
            assert of.low is not None and of.high is not None and of.adjusted is not None
            assert (of.adjusted <= ALPHA) == (of.low > 0 or of.high < 0)


def test_rows_on_which_the_same_policies_play_count_once():
    found = {
        (row, name): cell(f"{row} {name}", values, name) for row in "AB" for name, values in (("ours", OURS), ("theirs", THEIRS))
    }
    found |= {("C", "ours"): cell("c", [60.0] * 5), ("C", "theirs"): cell("d", [50.0] * 5)}
    judged = verdict(claim(), found, "ABC")
    assert (judged.rows, judged.runs) == (2, 5) and judged.effect == pytest.approx((2.6 + 10) / 2)


def test_one_policy_is_no_comparison():
    same = {("A", "ours"): cell("a", OURS, "p"), ("A", "theirs"): cell("b", OURS, "p")}
    for relation, margin in (("above", 0.0), ("below", 0.0), ("within", 5.0)):
        judged = verdict(claim(relation, margin), same)
        assert (judged.verdict, judged.effect, judged.p) == ("undecided", None, None)
        assert judged.why == "both methods play the same policy on A, which is no comparison"
    both = same | {("B", "ours"): cell("c", OURS), ("B", "theirs"): cell("d", THEIRS)}
    judged = verdict(claim(), both, "AB")
    assert (judged.verdict, judged.same) == ("holds", 1) and judged.effect == pytest.approx(1.3)


def test_runs_that_all_differ_by_the_same_show_no_small_deviation():
    """Five such runs decide nothing, however far they are apart; of six the sign test's p value is 1/32."""
    found = lambda runs: {("A", "ours"): cell("a", [90.0] * runs), ("A", "theirs"): cell("b", [50.0] * runs)}
    for relation, margin in (("above", 0.0), ("below", 0.0), ("within", 5.0)):
        judged = verdict(claim(relation, margin), found(5))
        assert (judged.verdict, judged.low, judged.p) == ("undecided", None, 1 / 16)
        assert judged.why == "all 5 runs differ by the same 40.0, which decides nothing before there are 6 of them"
        json.dumps(judged.as_json(), allow_nan=False)
    assert marked.lines([("toy", judged)]).endswith(f"Claimed: within 5; **undecided**: {judged.why}.")
    judged = verdict(claim(), found(6))
    assert (judged.verdict, judged.low, judged.high, judged.p) == ("holds", 40.0, 40.0, 1 / 32)
    assert verdict(claim("below"), found(6)).verdict == verdict(claim("within", 5.0), found(6)).verdict == "fails"
    ten = judge([claim(name=name) for name in "abcdefgh"], found(10), ["A"])  # of eight claims each: 8/512
    assert {of.verdict for of in ten} == {"holds"}
    seven = judge([claim(name=name) for name in "abcdefgh"], found(7), ["A"])
    assert seven[0].why.endswith("before there are 9 of them")


def test_a_scripted_policy_and_a_number_are_the_same_for_every_run():
    found = one_row() | {("A", "script"): cell("s", [50.0], seeds=())}
    for theirs in ("script", 50.0):
        judged = verdict(claim(theirs=theirs), found)
        expected = scipy.stats.ttest_1samp(OURS, 50.0).confidence_interval()
        assert (judged.low, judged.high) == pytest.approx((expected.low - 50.0, expected.high - 50.0))
    place = {("A-1", "ours"): cell("a", OURS), ("A", "script"): cell("s", [50.0], seeds=())}
    assert verdict(claim(theirs="script"), place, ["A-1"]).verdict == "holds"


def test_another_statistic_than_the_score():
    assert verdict(claim(statistic="success"), one_row()).effect == pytest.approx(26.0)
    absent = verdict(claim(statistic="speed"), one_row())
    assert (absent.why, absent.missing) == ("no 'speed' in the run files of ours on A, theirs on A", ())
    assert marked.verdict(absent) == "undecided"


def test_what_cannot_be_compared_is_undecided_and_says_why():
    found = one_row()
    judged = judge([claim(), claim(name="d", theirs="nobody")], found, ["A", "B"])
    assert [of.verdict for of in judged] == ["undecided"] * 2
    assert judged[0].missing == ("B ours", "B theirs") and judged[0].why == "no run file of B ours, B theirs"
    assert "A nobody, B ours, B nobody" in judged[1].why
    assert marked.sentence(judged[0]) == "ours compared with theirs."
    named = claim(name="e", statistic="success", rows=("B",))
    assert marked.sentence(verdict(named, found)) == "ours, success compared with theirs on B."
    assert marked.verdict(judged[0]) == "not run"
    assert marked.lines([("toy", judged[0])]).endswith("more; **not run**: no run file of B ours, B theirs.")
    assert "| more | not run |" in marked.as_table([("toy", judged[0])])
    assert verdict(claim(), {}, "ABC").why.endswith("of A ours, A theirs, B ours, B theirs and 2 more")
    other = verdict(claim(), one_row(tests="others"))
    assert (other.verdict, other.effect) == ("undecided", None) and other.why.endswith("the two methods differ on A")
    assert marked.verdict(other) == "undecided"
    assert verdict(claim(), one_row(data="others")).verdict == "undecided"
    alone = {key: dataclasses.replace(of, seeds=(0, *range(i, i + 4))) for i, (key, of) in enumerate(found.items(), 5)}
    assert verdict(claim(), alone).runs == 4  # those that both have
    single = verdict(claim(), one_row([50.0], [40.0]))
    assert single.verdict == "undecided" and "expected at least two runs" in single.why
    judged = judge([claim(), claim(name="d", theirs="nobody")], found, ["A"])
    assert judged[0].confidence == pytest.approx(1 - 0.05 / 2)  # what cannot be tested yet counts as a claim


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"sentence": "Ours is better."}, "field sentence: expected a line of text with {difference}"),
        ({"sentence": "Ours scores {difference} {more} theirs."}, "no other field than difference, runs"),
        ({"relation": "within"}, "field margin: expected a number above 0, found 0"),
        ({"relation": "equal", "margin": 1.0}, "field margin: expected 0, found 1"),
        ({"margin": -1.0}, "expected a number not below 0"),
        ({"margin": math.inf}, "field margin: expected a finite number, found inf"),
        ({"margin": math.nan, "relation": "within"}, "field margin: expected a finite number, found nan"),
        ({"margin": "3"}, "field margin: expected a finite number, found '3'"),
        ({"relation": "more"}, "field relation: expected one of above, below, within, equal, found 'more'"),
        ({"relation": ["above"]}, "field relation: expected one of above"),
        ({"theirs": math.nan}, "field theirs: expected a method or a number, found nan"),
        ({"theirs": -math.inf}, "field theirs: expected a method or a number, found -inf"),
        ({"theirs": None}, "field theirs: expected a method or a number, found None"),
        ({"ours": 5.0}, "field ours: expected a method, found 5.0"),
        ({"rows": "A"}, "field rows: expected a tuple of names, found 'A'"),
        ({"rows": (1,)}, "field rows: expected a tuple of names, found (1,)"),
        *(
            ({"sentence": sentence}, "field sentence: expected a line of text with {difference} and no other field")
            for sentence in (
                "{difference:.1f} {difference}",
                "{difference!r}",
                "{difference.low}",
                "{difference} {}",
                "{difference} {0}",
                "{difference",
                "difference}",
                "{difference} {",
                "{difference:{runs}}",
                "",
                None,
                "{difference} <!-- claims: toy --> it",
                "{difference}\n<!-- /claims -->\n",
                "{difference}\nit",
            )
        ),
    ],
)
def test_a_bad_declaration_is_one_line(declared, words):
    with pytest.raises(UserError, match=re.escape(words)):
        Claim(**{"name": "c", "sentence": SENTENCE, "ours": "a", "theirs": "b", **declared})


@pytest.mark.parametrize("declared", [[claim()], claim(), (claim(), "better"), ("better",), None])
def test_what_is_no_tuple_of_claims_is_refused(declared):
    with pytest.raises(UserError, match="table reacher: claims: expected a tuple of Claim, found "):
        of_table(TABLES["reacher"], declared)


def test_two_claims_of_one_name_are_refused():
    with pytest.raises(UserError, match="found 'c' more than once"):
        judge([claim(), claim()], one_row(), ["A"])


# --- Texts ------------------------------------------------------------------------------------------------------------


def found_of(*judged: claims.Judged):
    return {"toy": {"cpu": list(judged)}}


def test_words_follow_from_the_interval_whatever_was_claimed():
    more = verdict(claim("above"), one_row())
    less = verdict(claim("above"), {("A", "ours"): cell("b", THEIRS), ("A", "theirs"): cell("a", OURS)})
    between = verdict(claim("above"), one_row(OURS, OURS[::-1]))
    assert marked.sentence(more) == "Ours scores 2.6 (1.8 to 3.4) more than theirs."
    assert marked.sentence(less) == "Ours scores 2.6 (1.8 to 3.4) less than theirs."
    assert marked.sentence(between).startswith("Ours scores between ") and " less and " in marked.sentence(between)
    text = marked.lines([("toy", less)])
    assert text.endswith("Claimed: more; **fails**; 5 runs, 1 data set.")


def test_counts_stand_in_a_sentence():
    """A scripted policy has no updates."""
    of = Claim("c", "It, in {runs} runs, scores {difference} it, after {updates} and {their_updates} updates.", "ours", "theirs")
    ours = "It, in 5 runs, scores 2.6 (1.8 to 3.4) more than it, after 10 and 2,000 updates."
    assert marked.sentence(verdict(of, one_row(updates=2000))) == ours
    scripted = verdict(of, one_row(theirs=[50.0], updates=None, seeds=()))
    assert marked.sentence(scripted) == "It, in 5 runs, scores 3.6 (2.1 to 5.1) more than it, after 10 and 0 updates."


TEXT = "# T\n\n<!-- claims: toy -->\n<!-- /claims -->\n\nBetween.\n\n<!-- table: toy/c -->\nold\n<!-- /table -->\n"


def test_a_text_is_rewritten_between_its_markers_alone():
    found = found_of(verdict(claim(), one_row()))
    text = marked.rewritten(TEXT, found)
    assert "- Ours scores 2.6" in text and "| +2.6 (+1.8 to +3.4) | more | holds |" in text
    assert "\nold\n" not in text and "\n\nBetween.\n\n" in text and "Stale" not in text
    assert marked.rewritten(text, found) == text
    doctored = text.replace("2.6 (1.8 to 3.4) more than", "6.2 (5.1 to 7.3) more than")
    assert doctored != text and marked.rewritten(doctored, found) == text
    stale = {key: dataclasses.replace(of, stale=True) for key, of in one_row().items()}
    text = marked.rewritten(TEXT, found_of(verdict(claim(), stale)))
    assert "**holds, stale**" in text and "\n\nStale: " in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<!-- claims: toy -->\n", "README.md: expected <!-- /claims --> after <!-- claims: toy -->, found none"),
        ("<!-- claims: toy -->\n<!-- table: toy -->\n<!-- /table -->\n<!-- /claims -->\n", "expected <!-- /claims -->"),
        ("<!-- table: toy/d -->\n<!-- /table -->\n", "README.md: expected claims out of toy/c, found 'toy/d'"),
        ("<!-- table: other -->\n<!-- /table -->\n", "found 'other'"),
    ],
)
def test_a_bad_marker_is_one_line(text, words):
    with pytest.raises(UserError, match=re.escape(words)):
        marked.rewritten(text, found_of(verdict(claim(), one_row())), "README.md")


# --- Run files --------------------------------------------------------------------------------------------------------


MINE = (
    Claim("better", "OHIO scores {difference} end to end.", "OHIO analytical BC", "End-to-end BC", rows=("Reacher-Expert",)),
    Claim("expert", "OHIO scores {difference} the expert.", "OHIO analytical IQL", "expert", rows=("Reacher-Expert",)),
    Claim("close", "OHIO scores {difference} 100.", "OHIO analytical BC", 100.0, "within", 1.0, rows=("Reacher-Expert",)),
    Claim("gone", "OHIO scores {difference} under MPC.", "OHIO analytical BC", "MPC: observed state BC"),
)


def test_claims_of_a_table_from_its_run_files(tmp_path):
    boards.fill(tmp_path)
    experiment = of_table(TABLES["reacher"], MINE)
    better, expert, close, gone = claims.of_experiment(experiment, tmp_path)["cpu"]
    assert (better.verdict, better.effect) == ("holds", pytest.approx(99.0 - 49.8))
    assert (expert.verdict, expert.effect, expert.updates) == ("fails", pytest.approx(50.0 - 99.5), (100, None))
    assert close.verdict == "undecided" and close.why == ""  # two runs, at 98.5 and 99.5
    assert gone.why == "no run file of Reacher-Expert MPC: observed state BC"
    assert better.stale and better.cells == ("Reacher-Expert OHIO analytical BC", "Reacher-Expert End-to-end BC")


def test_other_logs_of_the_same_name_are_other_data(tmp_path):
    for column, logs in (("OHIO analytical BC", "a" * 64), ("End-to-end BC", "b" * 64)):
        cell = boards.cell("Reacher-Expert", column, 50.0)
        cell["data"] = [card | {"source_sha256": logs} for card in cell["data"]]
        boards.write(tmp_path, cell)
    (better,) = claims.of_experiment(of_table(TABLES["reacher"], MINE[:1]), tmp_path)["cpu"]
    assert (better.verdict, better.effect) == ("undecided", None)
    assert better.why == "logs or test episodes of the two methods differ on Reacher-Expert"


def test_submitted_run_files_are_nobodys_claims(tmp_path):
    boards.fill(tmp_path)
    theirs = tmp_path / "runs/submitted/reacher/cpu/reacher-expert.ohio-least-squares-iql.json"
    write_json(theirs, boards.submission("OHIO least squares IQL"))
    assert ("Reacher-Expert", "OHIO least squares IQL") not in evidence.of_table(TABLES["reacher"], tmp_path, "cpu")


def test_claims_of_fine_tuning(tmp_path):
    boards.fill_finetuning(tmp_path)
    found = EXPERIMENTS["finetune"].measured(tmp_path, "cpu")
    gains = [
        Claim("gain", "It scores {difference} before.", f"{name} IQL", 0.0, statistic="gain") for name in ("OHIO", "E2E (fair)")
    ]
    ours, theirs = (verdict(of, found, ["1W3S-HEUR"]) for of in gains)
    assert (ours.verdict, ours.effect) == ("holds", pytest.approx(20.0))
    assert (theirs.verdict, theirs.effect) == ("fails", pytest.approx(-20.0))


def test_the_command_prints_and_writes(command, tmp_path):
    boards.fill(tmp_path / "results")
    Path("README.md").write_text("<!-- claims: reacher/observed -->\n<!-- /claims -->\n")
    code, out, err = command("claims reacher")
    assert code == 0 and not err and "not run" in out and "no run file of Reacher-Expert OHIO least squares" in out
    code, out, _ = command("claims --json --write")
    said = json.loads(out)
    assert code == 0 and {of["verdict"] for of in said["claims"]} == {"undecided"} and said["written"][-1] == "README.md"
    assert json.loads(Path("results/claims/reacher-horizon.json").read_text())["claims"] == [
        of for of in said["claims"] if of["experiment"] == "reacher" and of["claim"]["preset"] == "horizon"
    ]
    assert "**not run**: no run file of" in Path("README.md").read_text()
    code, _, err = command("claims gains")
    assert code == 2 and "unknown experiment with claims 'gains'" in err and err.count("\n") == 1
    assert command("claims reacher --write")[0] == 2


@pytest.mark.parametrize("texts", ["nowhere", "empty", "README.md"])
def test_texts_that_are_not_there_write_nothing(command, tmp_path, texts):
    boards.fill(tmp_path / "results")
    (tmp_path / "empty").mkdir()
    Path("README.md").write_text("<!-- claims: reacher/observed -->\n<!-- /claims -->\n")
    code, out, err = command(f"claims --write --texts {texts}")
    said = f"--texts: expected a folder with a README.md, found none in '{texts}'"
    assert (code, out, err) == (2, "", f"ohio-jax claims: {said}\n") and not Path("results/claims").exists()
