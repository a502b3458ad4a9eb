"""Every learner has a plan for every task and action interface of the suite, from the tasks alone."""

import dataclasses

import pytest
from ohio_envs import plans, registry

from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS
from ohio_jax.training.plan import Plan

ELSEWHERE = ("routing-nyc", "routing-shenzhen")  # the synthetic city's interfaces; their files may not be at hand


@pytest.mark.parametrize("preset", ["quick", "cpu", "paper"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_has_a_plan_for_every_space(learner, preset):
    """A family's own where it has one; else the default numbers on IQL's budget, with the task's discount and unit."""
    for family, of in plans.PRESETS.items():
        made = of[preset]()
        for interface in plans.INTERFACES[family]:
            found, like = plans.find(made, interface, learner), made[interface, "iql"]
            if (interface, learner) in made:
                assert found == made[interface, learner]
                continue
            of_task = {"discount": like.config.discount, "reward_scale": like.config.reward_scale}
            assert found == dataclasses.replace(like, learner=learner, config=LEARNERS[learner].Config(**of_task))


@pytest.mark.parametrize("name", sorted(set(registry.TASKS) - set(ELSEWHERE)))
def test_every_task_is_of_a_family_that_knows_its_spaces(name):
    if name in ("lift", "door", "reacher-mjx"):
        pytest.importorskip("mujoco")
    if name == "reacher-brax":
        pytest.importorskip("brax")
    for interface in registry.make(name).interfaces:
        assert plans.plan(name, "sac", interface).updates == plans.plan(name, "iql", interface).updates


def test_a_task_from_elsewhere_is_trained_by_the_defaults():
    assert plans.plan("sailing", "iql", "deck") == Plan("iql", LEARNERS["iql"].Config())


@pytest.mark.parametrize(
    "given, message",
    [
        (("reacher", "sarsa", "ohio"), "unknown learner 'sarsa'"),
        (("reacher", "bc", "ohio", "huge"), "unknown preset of reacher 'huge': expected one of cpu, paper, quick"),
    ],
)
def test_mistakes(given, message):
    with pytest.raises(UserError, match=message):
        plans.plan(*given)


def test_a_new_interface_has_plans():
    """Also of a task whose name begins as a family's does: nothing but itself has to name it."""
    assert plans.plan("reacher-cart", "td3_bc", "push") == plans.plan("reacher", "td3_bc", "ohio")
    assert not plans.plan("reacher", "bc", "push_compat").normalize
    with pytest.raises(UserError, match="expected a plan for bc on push, found none"):
        plans.find(plans.PRESETS["reacher"]["quick"](), "push", "bc")
