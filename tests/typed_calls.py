"""Calls of public functions under jaxtyping's import hook: arrays have the types and shapes that signatures announce.

A program of its own, `python -m tests.typed_calls`, since what is checked must not have been imported before. What need not be
computed is only traced: tracers have types and shapes as well.
"""

import functools
import importlib.util
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError, install_import_hook

from tests import shapes

with install_import_hook(["ohio_jax", "ohio_envs"], f"{shapes.__name__}.checked"):
    from ohio_envs import registry
    from ohio_envs.supply_chain import classical, demand, planning, scenario, search
    from ohio_envs.supply_chain.simulator import SupplyChain

    from ohio_jax import scores
    from ohio_jax.collect import collect
    from ohio_jax.controllers import order_up_to
    from ohio_jax.data import Batch, sampling
    from ohio_jax.evaluate import evaluate_policy
    from ohio_jax.learners import LEARNERS, Spec, cql, sac
    from ohio_jax.networks import edge_conv, graph, heads, mlp, recurrent
    from ohio_jax.relabel import relabel
    from ohio_jax.rollout import StepwiseHierarchy
    from ohio_jax.solvers import qp, riccati, small, transport
    from ohio_jax.task import HighLevelPolicy, Task
    from ohio_jax.training import hdpo, online
    from ohio_jax.training.plan import Plan, initial_agents
    from ohio_jax.training.sharding import SeedSharding

traced = jax.eval_shape
KEY = jax.random.key(0)


def solvers() -> None:
    n, m, H = 3, 2, 4
    eye, B = jnp.eye(n), jnp.ones((n, m))
    gains = functools.partial(riccati.gains, steps=H)
    found = traced(gains, eye, B, jnp.zeros(n), eye, jnp.eye(m), eye)
    assert found.K.shape == (H, m, n)
    stacked = (jnp.stack([eye] * H), jnp.stack([B] * H), jnp.zeros((H, n)))
    program = qp.BoxLQ(*stacked, eye, jnp.eye(m), eye, -jnp.ones(m), jnp.ones(m))
    assert traced(qp.solve, program, jnp.ones(n), jnp.zeros(n)).u.shape == (H, m)
    assert traced(small.least_squares, jnp.ones((5, n)), jnp.ones(5))[0].shape == (n,)
    cost = jnp.asarray(transport.perturb(np.array([[0, 3], [2, 0]])))
    assert traced(transport.solve, cost, jnp.array([2, 1]), jnp.array([1, 1])).status.shape == ()
    with pytest.raises(TypeCheckError):
        traced(gains, eye, B, jnp.zeros(n + 1), eye, jnp.eye(m), eye)  # else nothing is checked


def tables() -> None:
    table = np.arange(12.0).reshape(2, 3, 2)
    assert scores.means(table).shape == (2, 2) and scores.performance_profile(table, np.ones(5)).shape == (2, 5)
    assert scores.ranks(np.zeros((3, 2))).shape == (3, 2) and scores.holm(np.ones(4)).shape == (4,)
    assert scores.paired(np.ones(3), np.zeros(3)).effect == 1 and scores.collapsed(np.ones(3)).shape == (3,)


def actions() -> None:
    def every_method(spec: heads.ActionSpec, raw: jax.Array):
        action, log_prob = spec.sample(raw, KEY)
        like = spec.project(spec.mode(raw)), spec.at(spec.coordinates(action)), spec.random(KEY, (4,))[0]
        return (action, *like), (log_prob, spec.bc_dist(action, action), spec.log_prob(raw, like[0]), spec.random(KEY, (4,))[1])

    kinds = (heads.Simplex(3), heads.Simplices(2, 3), heads.Box((1.0, 2.0)), heads.Counts(3, 1.0, 5.0))
    for spec in (*kinds, heads.UnitBox(3), heads.Product(kinds)):
        found, numbers = traced(functools.partial(every_method, spec), jnp.ones((4, *spec.raw_shape)))
        assert all(action.shape == (4, *spec.shape) for action in found) and all(x.shape == (4,) for x in numbers)


# Five observed numbers a node, of three nodes.
NETWORKS = {
    "flat": (heads.Box((1.0, 2.0)), mlp.mlp_networks(heads.Box((1.0, 2.0)), 8)),
    "nodes": (heads.Simplex(3), graph.node_networks(np.eye(3, k=1, dtype=bool), 5, 8)),
    "edges": (heads.Simplices(3, 3), graph.edge_networks(np.eye(3, k=1, dtype=bool), 5, 8)),
    "requests": (heads.Counts(9, 1.0, 5.0), graph.edge_networks(np.eye(3, k=1, dtype=bool), 5, 8, "requests")),
    "stores": (heads.Product((heads.Simplex(3), heads.UnitBox(1))), edge_conv.node_networks(edge_conv.Graph((1.0, 2.0)), 8)),
    "orders": (heads.UnitBox(3), edge_conv.edge_networks(edge_conv.Graph((1.0, 2.0)), 8)),
}


def networks() -> None:
    for action, made in NETWORKS.values():
        obs, taken, time = jnp.ones((4, 15)), jnp.ones((4, *action.shape)), jnp.ones(4)
        given = {"actor": (obs,), "critic": (obs, taken), "value": (obs,), "flow": (obs, taken, time)}
        sizes = {"actor": action.raw_shape, "critic": (), "value": (), "flow": action.shape}
        for name, arrays in given.items():
            found, _ = traced(getattr(made, name).init_with_output, KEY, *arrays)
            assert found.shape == (4, *sizes[name]), name
    memory = recurrent.Recurrent(8, 2)
    (carry, found), _ = traced(memory.init_with_output, KEY, memory.rest(4), jnp.ones((4, 3)))
    assert found.shape == (4, 2) and carry[0][0].shape == (4, 8)


def batch_of(spec: Spec, rows: int) -> Batch:
    obs, number, action = jnp.ones((rows, spec.observation_size)), jnp.ones(rows), jnp.ones((rows, *spec.action.shape))
    action = spec.action.project(action)
    return Batch(obs, action, number, obs, number, number, number, action)


def learners() -> None:
    spec = Spec(15, *NETWORKS["flat"])
    for name, learner in LEARNERS.items():
        state = traced(lambda key, learner=learner: learner.init(key, spec, learner.Config()), KEY)
        after, metrics = traced(learner.update, state, batch_of(spec, 4))
        assert all(metric.shape == () for metric in metrics.values()), name
        for deterministic in (True, False):
            act = functools.partial(learner.act, deterministic=deterministic)
            assert traced(act, after, jnp.ones((4, 15)), KEY).shape == (4, 2)
    # Programs that no default takes.
    for config in (cql.Config(n_sampled_terms=2, chunk=2), cql.Config(mixed_states=True, importance=False, chunk=2)):
        state = traced(lambda key, config=config: cql.init(key, spec, config), KEY)
        traced(cql.update, state, batch_of(spec, 4))
        assert traced(lambda state, key: sac.adopt(state, key, sac.Config()), state, KEY).key.shape == (2,)


def training() -> None:
    task, learner = registry.make("supply-chain-1w3s", smooth=1), LEARNERS["sac"]
    learn = Plan("sac", learner.Config(), hidden=8, updates=2, block=2, batch=3)
    plan = online.OnlinePlan(learn, envs=2, updates_per_step=2, buffer_size=8, mixing=((0, 0.5),))
    env = task.high_level("ohio")

    def gathered(key: jax.Array):
        agents, keys = initial_agents(learn, task, "ohio")
        agent = agents.of_seed(0)
        carry = online.begin(agent, key, env, plan.envs, plan.buffer_size, None)
        given = batch_of(agent.state.spec, 5)._replace(mc_return=None, next_action=None)
        block = online.make_block(learner, plan.program, 1, False, SeedSharding(1))
        return block(jax.tree.map(lambda x: x[None], carry), keys, jnp.int32(0), jnp.bool_(False), env, given)[1]

    def played(key: jax.Array):
        agent = initial_agents(learn, task, "ohio")[0].of_seed(0)
        instances = jax.vmap(env.sample_instance)(jax.random.split(key))
        return hdpo.mean_return(agent.state.actor.params, agent.state.spec, agent.preprocess, env, instances)

    assert traced(gathered, KEY)["return"].shape == (1,) and traced(played, KEY).shape == ()


def stores() -> None:
    paper = task_of("supply-chain-1w3s").env.scenario
    assert planning.bound(paper, np.abs(demand.sample_instances(paper, 0, 2))).shape == (2,)

    chain = scenario.serial(1, 9.0, 10)
    env, levels = SupplyChain(chain, smooth=True), jnp.asarray(scenario.lead_time_demand(chain)[0], jnp.float32)
    instances = traced(search.draw, env, jax.random.split(KEY))
    assert traced(search.mean_costs, env, instances, jnp.stack([levels] * 3)).shape == (3,)
    low = order_up_to.Params(levels)
    assert traced(functools.partial(classical.random, low, env), KEY, traced(env.reset, KEY)).shape == levels.shape


TASKS = {
    "reacher": {"horizon": 20},
    "routing-synthetic": {"regions": 4, "horizon": 4},
    "supply-chain-1w3s": {},
    "lift": {},
    "door": {},
}


@functools.cache
def task_of(name: str) -> Task:
    return registry.make(name, **TASKS[name])


def decisions() -> None:
    """One of every policy and under every interface."""
    for name in TASKS:
        if name in ("lift", "door") and importlib.util.find_spec("mujoco") is None:
            continue
        task = task_of(name)
        state, instance = traced(task.env.reset, KEY), traced(task.env.sample_instance, KEY)
        for policy in task.policies.values():
            acts, size = policy, task.env.action_size
            if isinstance(policy, HighLevelPolicy):
                acts, size = policy.policy, math.prod(policy.interface.spec.shape)
            assert traced(functools.partial(acts, task.env), KEY, state).size == size, name
        for interface in task.interfaces.values():
            env = StepwiseHierarchy(task.under(interface), interface.spec.shape)
            decide = lambda instance, raw, env=env, of=interface: env.step(env.reset_to(instance), of.spec.mode(raw))
            after = traced(decide, instance, jnp.ones(interface.spec.raw_shape))
            assert after.obs.shape == (task.env.observation_size,) and after.reward.shape == ()
            assert traced(interface.features, after.obs).size % interface.nodes == 0


def tasks() -> None:
    for name, policy, interface in (
        ("reacher", "pd", "ohio_true"),
        ("routing-synthetic", "dtv", "ohio"),
        ("supply-chain-1w3s", "s_policy", "ohio"),
    ):
        task = task_of(name)
        logs = collect(task, policy, 2, 0)
        assert logs.returns.shape == (2,) and logs.obs_index.shape == logs.episode.shape
        data = relabel(logs, task, interface, "analytic")
        sampling.sample_indices(jax.random.key(0), jnp.asarray(sampling.cumulative(sampling.uniform(data, 1.0))), 3)
        assert data.mc_returns(0.9).shape == data.reward.shape == data.next_actions().shape[:1]
        assert np.all(np.isfinite(task.score(evaluate_policy(task, policy, 2, 0).returns)))


if __name__ == "__main__":
    for part in (solvers, tables, actions, networks, learners, training, stores, decisions, tasks):
        part()
    print("checked")
