"""The agents kept as behavior: what the files hold, how well those of Lift and Door play, and how such a file is made."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import agents, registry

from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.learners import LEARNERS
from ohio_jax.streams import ReferenceStream
from ohio_jax.training import online
from ohio_jax.training.plan import Plan
from scripts.agents import AGENTS, pack

INTERFACES = {"reacher": "end_to_end", "lift": "logged", "door": "logged"}


@pytest.mark.parametrize("task", AGENTS)
def test_a_file_holds_finite_agents_of_one_training(task):
    card, stages, stacked = agents.load(AGENTS[task].file)
    assert stages == len(card["runs"]) == len(jax.tree.leaves(stacked)[0]) and 0 < agents.MEDIUM < stages - 1
    updates = [run["plan"]["updates"] for run in card["runs"]]
    assert updates == sorted(set(updates))
    assert all((run["task"], run["interface"]) == (task, INTERFACES[task]) for run in card["runs"])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(stacked))
    kernels = [stacked["params"]["Perceptron_0"][name]["kernel"] for name in card["layers"]]
    assert [kernel.shape[2] for kernel in kernels] == [card["hidden"]] * 2 + [2 * len(AGENTS[task].box.limits)]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["lift", "door"])
def test_agents_are_ranked(task):
    """Whole episodes of the same instances. The expert scores what 100 stands for."""
    pytest.importorskip("mujoco")
    made = registry.make(task)
    played = {name: evaluate_policy(made, name, 20, ReferenceStream().seed) for name in ("expert", "medium", "replay", "random")}
    expert, medium, replay, random = (made.score(each.returns).mean() for each in played.values())
    assert 95 < expert < 105 and expert / 4 < medium < 3 * expert / 4
    assert random < medium / 3 and random < replay < expert
    assert played["expert"].metrics["success"].mean() >= 0.9


# --- How the file is made


@pytest.mark.parametrize("name", ["bc", pytest.param("sac", marks=pytest.mark.slow)])
def test_pack_writes_what_load_reads(name, tmp_path):
    """A tiny training online, twice: the agents of the file act as the trained learners do, whose actors are alike."""
    learner = LEARNERS[name]
    task = registry.make("reacher", {"horizon": "10"})
    runs, states = [], []
    for updates in (4, 8):
        plan = Plan(name, learner.Config(), hidden=8, updates=updates, batch=8, block=4, seeds=1)
        directory = tmp_path / f"run{updates}"
        trained = online.online(
            online.OnlinePlan(plan, envs=2, updates_per_step=2, learning_starts=0, buffer_size=32), task, "end_to_end", directory
        )
        runs.append(str(directory))
        states.append(trained.states.of_seed(0))
    pack(runs, tmp_path / "agents.npz")
    card, stages, _ = agents.load(tmp_path / "agents.npz")
    assert stages == 2 and card["hidden"] == 8 and [run["plan"]["updates"] for run in card["runs"]] == [4, 8]
    state, key = task.env.reset_to(task.instances(1, 1)[0]), jax.random.key(2)
    actions = []
    for stage, trained in enumerate(states):
        packed = dataclasses.replace(AGENTS["reacher"], file=tmp_path / "agents.npz")
        policy = packed.play(lambda stages, state, stage=stage: jnp.int32(stage))
        actions.append(policy(task.env, key, state))
        np.testing.assert_allclose(actions[-1], trained.act(learner, state.obs, key, False), rtol=1e-2, atol=1e-3)
    assert not np.allclose(*actions)


def test_pack_refuses_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"run\.json"):
        pack([str(tmp_path)], tmp_path / "agents.npz")
    assert not (tmp_path / "agents.npz").exists()
