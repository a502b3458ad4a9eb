"""What columns say of their methods: how far they look, how they act, and which plan a row gives them."""

import pytest
from ohio_bench.experiments import TABLES, manipulation, reacher, routing, supply_chain
from ohio_bench.runner.table import plan_of, with_learner
from ohio_envs import registry

SECOND = 0.99 ** (1 / 5)  # the discount of a low-level step where a decision of five has 0.99


def test_the_reachers_methods_look_equally_far():
    """(low-level steps of a backup, discount of a low-level step) of each method of the preset `horizon`."""
    preset, task = TABLES["reacher"].preset("horizon"), registry.make("reacher")
    found = {}
    for column in preset.columns:
        plan, steps = plan_of(preset, column, preset.rows[1]), task.interfaces[column.interface].steps
        if column.learner == "iql":
            found[column.family] = steps * plan.ahead, plan.config.discount ** (1 / steps)
    expected = {
        "OHIO least squares": (5, SECOND),
        "OHIO least squares, 5 decisions": (25, SECOND),
        "Observed state": (5, SECOND),
        "Observed state, 5 decisions": (25, SECOND),
        "MPC: OHIO least squares": (5, SECOND),
        "End-to-end, discount 0.99": (1, 0.99),
        "End-to-end": (1, SECOND),
        "End-to-end, 5-step": (5, SECOND),
        "End-to-end, 25-step": (25, SECOND),
    }
    assert found == {name: (steps, pytest.approx(discount, rel=1e-12)) for name, (steps, discount) in expected.items()}
    assert round(SECOND, 3) == 0.998
    cloned = [column for column in preset.columns if column.learner == "bc"]
    assert {column.family for column in cloned} == set(reacher.CLONED) and all(column.ahead == 1 for column in cloned)
    assert len({column.name for column in preset.columns}) == len(preset.columns) == 13


def test_another_learner_keeps_how_far_its_columns_look():
    made = with_learner(TABLES["reacher"], "horizon", "td3_bc").preset("horizon")
    assert len(made.columns) == 9 and {column.learner for column in made.columns} == {"td3_bc"}
    plans = {column.family: plan_of(made, column, made.rows[0]) for column in made.columns}
    assert plans["End-to-end, discount 0.99"].config.discount == 0.99 and plans["End-to-end, 25-step"].ahead == 25
    of_bc = with_learner(TABLES["reacher"], "horizon", "bc").preset("horizon")  # which has no discount
    assert plan_of(of_bc, of_bc.columns[5], of_bc.rows[0]).learner == "bc"


def test_of_columns_that_another_learner_makes_alike_one_is_kept():
    """The one that has this learner already, with what is its own."""
    released = {column.name: column for column in TABLES["routing"].preset("released").columns}
    for learner in ("iql", "cql", "td3_bc"):
        made = with_learner(TABLES["routing"], "released", learner).preset("released")
        assert [column.name.split(" ")[0] for column in made.columns] == ["OHIO", "E2E"]
        assert all(released.get(column.name, column) == column for column in made.columns)


def test_rows_of_lift_and_door_have_their_own_iql_as_published():
    for name in ("paper", "released"):
        preset = manipulation.TABLE.preset(name)
        for row in preset.rows:
            for column in preset.columns or manipulation.COLUMNS:
                config = plan_of(preset, column, row).config
                if column.learner == "iql":
                    assert (config.expectile, config.beta) == {"lift": (0.7, 3.0), "door": (0.9, 0.1)}[row.task]


@pytest.mark.parametrize("table", [routing.TABLE, supply_chain.TABLE, manipulation.TABLE], ids=lambda table: table.name)
def test_how_policies_act_as_released(table):
    """In routing BC, IQL and whatever is end to end is sampled (its scripts' test branches); elsewhere means are played."""
    for column in table.preset("released").columns:
        by_mean = table is not routing.TABLE or (column.interface == "ohio_compat" and column.learner == "cql")
        assert column.acting == ("mean" if by_mean else "sample"), column.name
    assert all(column.acting == "mean" for column in table.columns)


def test_published_figures_stand_beside_what_is_as_released():
    of = {row.name: row.paper for row in routing.TABLE.preset("released").rows}
    assert of["NYC-INF"]["E2E (as released)", "cql"] == (48.1, 1.5) and of["NYC-INF"]["OHIO (as released)", "cql"] == (93.0, 1.7)
    of = {row.name: row.paper for row in manipulation.TABLE.preset("released").rows}
    assert set(of) == {
        f"{scene}-Replay-{change}" for scene in ("Lift", "Door") for change in ("Original", "Stiffness", "Damping")
    }
    assert of["Door-Replay-Damping"]["OHIO gradient (as released)", "iql"] == (76.7, 28.2)
    assert all(row.changes == {"dynamics": "released"} for row in supply_chain.TABLE.preset("released").rows)
