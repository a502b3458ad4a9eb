"""Declarations of tables: what is wrong with one is said in one line, before anything is run."""

import dataclasses
from typing import Any

import pytest
from ohio_bench.experiments import of_table
from ohio_bench.runner import table
from ohio_bench.runner.run import run

from ohio_jax.errors import UserError
from tests.ohio_bench.tiny import COLUMNS, TINY, tiny

PRESET: dict[str, Any] = {"rows": tiny().rows, "plans": tiny().plans, "runs": 1, "test_episodes": 1}
OHIO_BC: dict[str, Any] = {"family": "OHIO", "interface": "ohio", "inverse": "analytic", "learner": "bc"}


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (table.Preset, {**PRESET, "runs": 0}, "preset: field runs: expected an integer from 1 to 1000, found 0"),
        (table.Preset, {**PRESET, "test_episodes": 0}, "preset: field test_episodes: expected an integer from 1 to .*, found 0"),
        (table.Preset, {**PRESET, "data_episodes": 0}, "preset: field data_episodes: expected an integer from 1 to .*, found 0"),
        (table.Preset, {**PRESET, "rows": tiny().rows[0]}, r"preset: field rows: expected a tuple of Row, found Row\("),
        (table.Preset, {**PRESET, "policies": "none"}, "preset: field policies: expected a tuple of str, found 'none'"),
        (table.Preset, {**PRESET, "columns": [*COLUMNS]}, r"preset: field columns: expected a tuple of Column, found \[Column"),
        (
            table.Column,
            {**OHIO_BC, "acting": "samples"},
            "unknown acting of column 'OHIO BC' 'samples': expected one of mean,",
        ),
        (table.Column, {**OHIO_BC, "config": ("beta", 1.0)}, "column 'OHIO BC': field config: expected a tuple of tuple, found "),
        (
            table.Table,
            {**vars(TINY), "columns": "OHIO"},
            "table 'routing': field columns: expected a tuple of Column, found 'OHIO'",
        ),
        (
            table.Row,
            {"name": "=A1", "data_set": "a-v1"},
            "row: expected a text of one line that begins with no space .*, found '=A1'",
        ),
        (table.Column, {**OHIO_BC, "family": "two\nlines"}, r"column: expected a text of one line .*, found 'two\\nlines BC'"),
        (table.Preset, {**PRESET, "plans": ()}, r"preset: field plans: expected a dict, found \(\)"),
        (
            table.Preset,
            {**PRESET, "plans": {("ohio", "iql"): tiny().plans["ohio", "bc"]}},
            r"preset: field plans: expected a Plan of its learner at \('ohio', 'iql'\), found bc",
        ),
        (
            table.Preset,
            {**PRESET, "plans": {("ohio", "iql"): {}}},
            r"preset: field plans: expected a Plan of its learner at \('ohio', 'iql'\), found dict",
        ),
        (
            table.Table,
            {**vars(TINY), "presets": {"tiny": tiny()}},
            "table 'routing': field presets: expected functions by name, found ",
        ),
        (table.Table, {**vars(TINY), "trials": {}}, r"table 'routing': field trials: expected Trials, found \{\}"),
        (
            table.Table,
            {**vars(TINY), "metrics": (("served", "served"),)},
            "table 'routing': field metrics: expected a metric, its label and a factor, found ",
        ),
        (table.Table, {**vars(TINY), "name": "../../esc"}, "table '../../esc': expected a name of .*, found '../../esc'"),
        (table.Table, {**vars(TINY), "name": ".."}, "table '..': expected a name of .*, found '..'"),
        (table.Table, {**vars(TINY), "presets": {"../tiny": tiny}}, "table 'routing': expected a name of .*, found '../tiny'"),
    ],
)
def test_wrong_declarations_are_refused_where_they_are_made(kind, given, message):
    with pytest.raises(UserError, match=f"^{message}"):
        kind(**given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ahead": 0}, "column 'OHIO IQL': plan: field ahead: expected an integer from 1 to 1000000, found 0"),
        (
            {"config": (("discont", 0.9),)},
            "unknown field of iql's Config in column 'OHIO IQL' 'discont': expected one of actor_lr, ",
        ),
        ({"learner": "bcc"}, "unknown learner of column 'OHIO BCC' 'bcc': expected one of awac, |unknown learner"),
        ({"inverse": "analitic"}, "unknown inverse of column 'OHIO IQL' 'analitic': expected one of analytic, "),
        ({"weights": "kept"}, "unknown weights of column 'OHIO IQL' 'kept': expected one of drop, keep, "),
        ({"config": (("discount", 2.0),)}, "column 'OHIO IQL': config: field discount: expected a number from 0 to 1, found 2.0"),
    ],
)
def test_a_column_without_a_plan_is_refused_before_anything_is_run(tmp_path, changes, message):
    column = table.Column(**{"family": "OHIO", "interface": "ohio", "inverse": "analytic", "learner": "iql", **changes})
    declared = dataclasses.replace(TINY, columns=(column,))
    with pytest.raises(UserError, match=f"^{message}"):
        run(of_table(declared), "tiny", results=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_policy_is_refused_before_anything_is_run(tmp_path):
    declared = table.changed(TINY, "tiny", dataclasses.replace(tiny(), policies=("none", "nobody")))
    with pytest.raises(UserError, match=r"^unknown policy of routing-synthetic 'nobody': expected one of disp, "):
        run(of_table(declared), "tiny", results=tmp_path)
    assert list(tmp_path.iterdir()) == []
