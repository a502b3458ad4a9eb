"""Gradients of whole episodes: they are the derivative of the return, resume as they should, and find an optimum."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import registry

from ohio_jax.agent import Preprocessor
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import LEARNERS, bc
from ohio_jax.training import hdpo
from ohio_jax.training.checkpoint import load_policy
from ohio_jax.training.plan import Plan, initial_agents, spec_of
from tests.ohio_jax.runs import assert_same, kill_after


@pytest.fixture(scope="module")
def task():
    return registry.make("supply-chain-1w3s", {"smooth": "1", "horizon": "6"})


def plan(**changes) -> Plan:
    base = Plan("bc", bc.Config(actor_lr=3e-3), hidden=8, updates=60, batch=16, block=20, seeds=2)
    return dataclasses.replace(base, **changes)


def test_the_gradient_is_the_derivative_of_the_return(task, x64):
    spec = spec_of(task, task.interfaces["ohio"], 8)
    see = Preprocessor.plain(task.env.observation_size, task.interfaces["ohio"].features, task.interfaces["ohio"].nodes)
    to64 = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, float) if x.dtype == jnp.float32 else x, tree)
    env = to64(task.high_level("ohio"))
    instances = to64(task.instances(0, 4))
    params = to64(bc.init(jax.random.key(0), spec, bc.Config()).actor.params)
    value = jax.jit(lambda params: hdpo.mean_return(params, spec, see, env, instances))
    slope = jax.jit(jax.grad(value))(params)
    random = np.random.default_rng(0)
    along = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape)), params)
    at = lambda t: float(value(jax.tree.map(lambda p, d: p + t * d, params, along)))
    wanted = (at(1e-6) - at(-1e-6)) / 2e-6
    assert sum(jax.tree.leaves(jax.tree.map(lambda g, d: float(jnp.sum(g * d)), slope, along))) == pytest.approx(wanted, rel=1e-4)


def test_resume_equals_uninterrupted(task, tmp_path, monkeypatch):
    whole = hdpo.hdpo(plan(), task, "ohio", tmp_path / "whole")
    run = lambda: hdpo.hdpo(plan(), task, "ohio", tmp_path / "cut")
    kill_after(monkeypatch, 40, run)
    resumed = run()
    assert_same(resumed.states, whole.states)
    np.testing.assert_array_equal(resumed.curve["return"], whole.curve["return"])
    # It is a policy like any other.
    _, interface, _, states = load_policy(tmp_path / "cut", registry.make)
    assert interface == "ohio"
    assert evaluate_learner(task, interface, LEARNERS["bc"], states, 3, 0).returns.shape == (2, 3)


def test_it_learns(task):
    """Far more than fresh policies earn, within few episodes, and in whole quantities as well."""
    asked = plan(updates=300, hidden=32)
    fresh, _ = initial_agents(asked, task, "ohio")
    trained = hdpo.hdpo(asked, task, "ohio").states
    exact = registry.make("supply-chain-1w3s", {"horizon": "6"})
    mean = lambda task, states: np.mean(evaluate_learner(task, "ohio", LEARNERS["bc"], states, 50, 1).returns, axis=1)
    before, after, whole = mean(task, fresh), mean(task, trained), mean(exact, trained)
    assert (after > before + 100).all() and after.mean() > before.mean() + 200  # some begin better than others
    np.testing.assert_allclose(whole, after, atol=40)


def test_what_cannot_be_trained_so():
    with pytest.raises(UserError, match=r"supply-chain-1w3s: expected a task with a derivative \(--set smooth=1\)"):
        hdpo.hdpo(plan(), registry.make("supply-chain-1w3s"), "ohio")
    with pytest.raises(UserError, match="hdpo: expected learner 'bc', whose actor is trained, found 'iql'"):
        hdpo.hdpo(plan(learner="iql"), registry.make("supply-chain-1w3s", {"smooth": "1"}), "ohio")
    with pytest.raises(UserError, match="hdpo: ahead: expected 1, since whole episodes are differentiated, found 3"):
        hdpo.hdpo(plan(ahead=3), registry.make("supply-chain-1w3s", {"smooth": "1"}), "ohio")
