"""Every learner has a plan for every task and action interface of the suite, from the tasks alone."""

import dataclasses

import pytest
from ohio_envs import plans, registry

from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS
from ohio_jax.training.plan import Plan

ELSEWHERE = ("routing-nyc", "routing-shenzhen")  # the synthetic city's interfaces; their files may not be at hand


@pytest.mark.parametrize("preset", ["quick", "cpu", "paper", "released"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_has_a_plan_for_every_space(learner, preset):
    """A family's own where it has one; else the default numbers on IQL's budget, with the task's discount and unit."""
    for family, of in plans.PRESETS.items():
        if preset == "released" and preset not in of:
            continue
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


@pytest.mark.parametrize("preset", ["quick", "cpu", "paper"])
@pytest.mark.parametrize("name", sorted(set(registry.TASKS) - set(ELSEWHERE)))
def test_discounts_are_equal_for_every_second(name, preset):
    """Of a low-level step, whatever a decision of an interface lasts; the original's are as released, equal for decisions."""
    if name in ("lift", "door", "reacher-mjx"):
        pytest.importorskip("mujoco")
    if name == "reacher-brax":
        pytest.importorskip("brax")
    interfaces = registry.make(name).interfaces
    discount = lambda interface, learner: plans.plan(name, learner, interface, preset).config.discount
    for learner in ("iql", "sac"):  # one of the tables', and one that gets its numbers from IQL's
        of_step = discount("ohio", learner) ** (1 / interfaces["ohio"].steps)
        for interface, of in interfaces.items():
            if "compat" in interface:
                assert discount(interface, learner) == discount("ohio", learner)
            else:
                assert discount(interface, learner) ** (1 / of.steps) == pytest.approx(of_step, rel=1e-12), interface


def test_lift_and_door_have_their_own_iql_as_published():
    for preset in ("paper", "released"):
        for interface in plans.INTERFACES["manipulation"]:
            of = lambda task, interface=interface, preset=preset: plans.plan(task, "iql", interface, preset)
            assert [(of(task).config.expectile, of(task).config.beta) for task in ("lift", "door")] == [(0.7, 3.0), (0.9, 0.1)]
            assert dataclasses.replace(of("lift"), config=of("door").config) == of("door")
            assert of("lift").config.discount == of("door").config.discount
    assert plans.plan("lift", "bc", "ohio", "paper") == plans.plan("door", "bc", "ohio", "paper")
    assert plans.plan("lift", "iql", "ohio", "cpu") == plans.plan("door", "iql", "ohio", "cpu")


# The released scripts' numbers (their defaults) of vehicle routing: rates of actor and critics, discount, share of a target that
# is kept, scale of rewards, weight of the penalty, actions a source, norm of a critic's gradient, temperature, updates, batch.
RELEASED_CQL = {
    "ohio_compat": (1e-4, 3e-4, 0.97, 0.995, 0.1, 1.0, 10, 200.0, 0.3, 200_000, 100),
    "end_to_end_compat_tens": (1e-4, 3e-4, 0.97, 0.995, 0.1, 5.0, 10, 200.0, 0.3, 200_000, 100),
}
# Rates, discount, share kept, scale of rewards, expectile, inverse temperature, largest weight, updates, batch.
RELEASED_IQL = {
    "routing-nyc": (1e-4, 3e-4, 0.97, 0.995, 0.01, 0.9, 3.0, 100.0, 200_500, 100),
    "supply-chain-1w3s": (1e-4, 3e-4, 0.99, 0.995, 0.1, 0.9, 3.0, 100.0, 500_000, 100),
    "lift": (1e-4, 3e-4, 0.99, 0.995, 1.0, 0.7, 3.0, 100.0, 1_000_000, 100),
    "door": (1e-4, 3e-4, 0.99, 0.995, 1.0, 0.9, 0.1, 100.0, 1_000_000, 100),
}


@pytest.mark.parametrize("interface", RELEASED_CQL)
def test_cql_as_released(interface):
    plan = plans.plan("routing-nyc", "cql", interface, "released")
    c = plan.config
    rates = (c.actor_lr, c.critic_lr, c.discount, 1 - c.tau, c.reward_scale, c.cql_alpha, c.n_actions, c.max_grad_norm)
    assert (*rates, c.temperature, plan.updates, plan.batch) == RELEASED_CQL[interface]
    assert (plan.hidden, plan.normalize, c.mixed_states, c.n_sampled_terms, c.importance) == (256, False, True, 0, True)
    assert (c.actor_lr_decay_steps, c.bc_warmup) == (0.0, 0.0)


@pytest.mark.parametrize("name", RELEASED_IQL)
def test_iql_as_released(name):
    """Where the value asks the target critics at the next state is a slip of all but the routing's code."""
    plan = plans.plan(name, "iql", "ohio", "released")
    c = plan.config
    rates = (c.actor_lr, c.critic_lr, c.discount, 1 - c.tau, c.reward_scale, c.expectile, c.beta, c.exp_adv_max)
    assert (*rates, plan.updates, plan.batch) == RELEASED_IQL[name]
    assert (plan.hidden, plan.normalize, c.value_update, plan.ahead) == (256, False, "old", 1)
    assert c.v_target == ("s" if name == "routing-nyc" else "s_next")
    assert c.max_grad_norm == (1.0 if name in ("lift", "door") else 0.0)


def test_routings_script_clones_before_iql_above_the_low_level_alone():
    """Its default `bc_steps`, 500 and 0; the 200,000 updates come after."""
    high, flat = (plans.plan("routing-nyc", "iql", of, "released") for of in ("ohio_compat", "end_to_end_compat"))
    assert (high.config.bc_warmup, high.updates, flat.config.bc_warmup, flat.updates) == (500, 200_500, 0, 200_000)


def test_end_to_end_the_rate_of_cloning_is_periodic_as_released():
    """CosineAnnealingLR of length 10,000 over 20,000 updates; above the low level there is none."""
    flat, high = (plans.plan("routing-nyc", "bc", of, "released") for of in ("end_to_end_compat", "ohio_compat"))
    assert (flat.config.actor_lr_decay_steps, flat.config.periodic_lr, flat.updates) == (10_000.0, True, 20_000)
    assert (high.config.actor_lr_decay_steps, high.config.periodic_lr, high.updates) == (0.0, False, 20_000)


def test_supply_chains_iql_is_clipped_end_to_end_alone_as_released():
    of = lambda interface: plans.plan("supply-chain-1w3s", "iql", interface, "released").config.max_grad_norm
    assert (of("end_to_end_compat"), of("ohio")) == (10.0, 0.0)


def test_the_supply_chains_cql_as_released_has_no_penalty():
    config = plans.plan("supply-chain-1w10s", "cql", "ohio", "released").config
    assert (config.cql_alpha, config.reward_scale, config.discount, config.max_grad_norm) == (0.0, 0.1, 0.99, 10.0)


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
