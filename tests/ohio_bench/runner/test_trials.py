"""Declarations of trials: eight that differ, of names that there are, in hyperparameters alone."""

import dataclasses
import itertools

import pytest
from ohio_bench.experiments import TABLES, trials_of
from ohio_bench.runner import trials, tune
from ohio_bench.runner.run import run
from ohio_bench.runner.table import with_learner
from ohio_envs import plans

from ohio_jax.errors import UserError
from tests.ohio_bench.tiny import GRID, TINY, TUNED


@pytest.mark.parametrize("declared", [of for of in TABLES.values() if of.trials], ids=lambda of: of.name)
def test_declared_trials(declared):
    """Every learner and kind of a table has eight valid trials that differ from another, on a row and columns that exist."""
    made = declared.preset(declared.preset("cpu").tuned_as or "cpu")
    assert declared.trials.row in {row.name for row in made.rows}
    assert set(declared.trials.families.values()) <= {column.family for column in declared.columns}
    groups = tune.groups(declared, made)
    kinds = {(column.learner, trials.kind_of(column.interface)) for column in made.columns or declared.columns}
    assert {(group.learner, group.kind) for group in groups} == kinds
    for group in groups:
        plan = plans.find(made.plans, group.column.interface, group.learner, group.row.task)
        tried = [trials.applied(plan, of) for of in declared.trials.grid[group.learner]]
        assert len(tried) == 8 and all(a != b for a, b in itertools.combinations(tried, 2)), group.name


def test_tables_without_trials_are_tuned_by_another():
    assert [name for name, of in TABLES.items() if not of.trials] == ["gains"]
    assert TABLES["gains"].tuned_by is TABLES["manipulation"]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (trials.CLONING[:7], "expected 8 that differ, of which the first is {}, found 7 of 7"),
        ((*trials.CLONING[:7], {"actor_lr": 1e-4}), "found 7 of 8"),
        ((*trials.CLONING[1:], {}), "found 8 of 8, first"),
    ],
)
def test_trials_are_eight_that_differ(grid, words):
    with pytest.raises(UserError, match=words):
        trials.Trials("Tiny-DTV", {}, {"bc": grid})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": 7}, "unknown field of bc's Config or hyperparameter of Plan 'seeds': expected one of actor_lr, .*, updates"),
        ({"block": 5}, "hyperparameter of Plan 'block'"),
        ({"learner": "bc"}, "hyperparameter of Plan 'learner'"),
        ({"config": None}, "hyperparameter of Plan 'config'"),
        ({"replace": 1}, "hyperparameter of Plan 'replace'"),
        ({"batch": [512]}, r"plan: field batch: expected an integer from 1 to 1000000, found \[512\]"),
        ({"updates": "10"}, "plan: field updates: expected an integer from 1 to 1000000000, found '10'"),
    ],
)
def test_a_trial_changes_hyperparameters_alone(tmp_path, changes, words):
    wrong = trials.Trials("Tiny-DTV", {}, {"bc": (*trials.CLONING[:7], changes)})
    with pytest.raises(UserError, match=words):
        run(trials_of(dataclasses.replace(TUNED, trials=wrong)), "tiny", results=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"row": "Tiny-DTW"}, "unknown row of the trials of routing 'Tiny-DTW': expected one of Tiny-DTV"),
        ({"families": {"hierarchy": "OHO"}}, "unknown family of the trials of routing 'OHO': expected one of E2E .*, OHIO"),
        ({"grid": {"bcc": trials.CLONING}}, "unknown learner of the trials of routing 'bcc': expected one of awac, bc"),
        ({"families": {"hierarchie": "OHIO"}}, "unknown kind of the families of trials 'hierarchie': expected one of end-to-end"),
    ],
)
def test_trials_name_what_there_is(tmp_path, given, words):
    with pytest.raises(UserError, match=words):
        run(trials_of(dataclasses.replace(TUNED, trials=dataclasses.replace(GRID, **given))), "tiny", results=tmp_path)


def test_trials_of_a_learner_from_elsewhere_keep_no_other_from_its_own():
    declared = dataclasses.replace(TUNED, trials=dataclasses.replace(GRID, grid={**GRID.grid, "absent": trials.CLONING}))
    alone = with_learner(declared, "tiny", "bc")
    assert tune.names(alone, alone.preset("tiny")) == ["bc.end-to-end", "bc.hierarchy"]
    with pytest.raises(UserError, match="unknown learner of the trials of routing 'absent'"):
        tune.names(declared, declared.preset("tiny"))


def test_a_preset_without_the_row_of_the_trials_has_them_on_its_own():
    other = dataclasses.replace(TUNED.preset("tiny"), rows=TINY.preset("tiny").rows[1:])
    both = dataclasses.replace(TUNED, presets={**TUNED.presets, "other": lambda: other})
    assert {group.row.name for group in tune.groups(both, other)} == {"Tiny-INF"}


def test_trials_that_come_to_the_same_plan_are_refused():
    same = trials.Trials("Tiny-DTV", {}, {"bc": (*trials.CLONING[:7], {"actor_lr": 1e-3})})
    with pytest.raises(
        UserError, match=r"trials of bc\.hierarchy: expected plans that differ, found the same in {} and {'actor_lr': 0.001}"
    ):
        list(tune.cells(dataclasses.replace(TUNED, trials=same), TUNED.preset("tiny"), ["bc.hierarchy"]))


def test_a_trial_changes_what_there_is():
    plan = plans.plan("routing-synthetic", "iql", "ohio", "quick")
    found = trials.applied(plan, {"beta": 2.0, "updates": 100, "hidden": 16})
    assert (found.config.beta, found.updates, found.hidden, found.config.actor_lr_decay_steps) == (2.0, 100, 16, 100.0)
    with pytest.raises(UserError, match="unknown field of iql's Config or hyperparameter of Plan 'betta'"):
        trials.applied(plan, {"betta": 2.0})
    with pytest.raises(UserError, match="expectile"):
        trials.applied(plan, {"expectile": 2.0})
