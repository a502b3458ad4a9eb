"""Logs of your own, a thermostat of your own, no simulator of ours: from NumPy arrays to a policy that gives set-points."""

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax import data
from ohio_jax.controllers import stateless
from ohio_jax.learners import iql
from ohio_jax.low_level import ActionModel, Problem
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.relabel import relabel
from ohio_jax.task import ActionInterface, of_logs
from ohio_jax.training import Plan, train

GAIN, FULL, STEPS = 0.3, np.ones(1, np.float32), 4  # power a degree; full power, also of cooling; steps a goal lasts


class Thermostat:  # your low level: goals and states in degrees from the wanted temperature, actions in shares of full power
    init, plan = staticmethod(stateless.init), staticmethod(stateless.plan)
    act = staticmethod(lambda params, memory, state, goal: (jnp.clip(GAIN * (goal - state), -FULL, FULL), memory))

    @staticmethod
    def problem(params) -> Problem:
        unclipped = lambda goal, segment: GAIN * (goal[None] - segment.state)
        action = ActionModel(unclipped, scale=lambda segment, _: 0.01 * FULL, bounds=lambda unclipped, _: (-FULL, FULL))
        project, start = lambda goal: jnp.clip(goal, -8.0, 8.0), lambda segment, _: segment.state[-1]
        return Problem(project, start, action=action)


BOX = Box((8.0,))
OHIO = ActionInterface(BOX, Thermostat, (), Thermostat.problem(()), lambda hidden: mlp_networks(BOX, hidden), STEPS)
ROOM = of_logs("room", observation_size=1, interfaces={"ohio": OHIO})


def play(ask, episodes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Stands for your plant: a room that loses heat. ask(obs: Float[B, 1]) -> Float[B, 1]. Rows episode by episode."""
    x, goal, rows = np.random.default_rng(seed).uniform(-6, 6, (episodes, 1)).astype(np.float32), 0.0, []
    for t in range(10 * STEPS):
        goal = ask(x) if t % STEPS == 0 else goal
        u = np.clip(GAIN * (goal - x), -FULL, FULL)
        before, x = x, (x + 0.1 * (-8.0 - x) + 2.0 * u).astype(np.float32)
        rows.append((before, u, -np.abs(x[:, 0]), x, np.full(episodes, t + 1 == 10 * STEPS)))
    names = ("obs", "action", "reward", "next_obs", "truncated")
    return {name: np.concatenate(np.swapaxes(of, 0, 1)) for name, of in zip(names, zip(*rows, strict=True), strict=True)}


if __name__ == "__main__":
    random = np.random.default_rng(1)
    operators = lambda x: random.uniform(-8, 5, x.shape).astype(np.float32)
    logs = data.from_arrays(**play(operators, episodes=300), card={"task": "room"})
    transitions = relabel(logs, ROOM, "ohio", "least_squares", weights="drop")
    plan = Plan("iql", iql.Config(actor_lr=1e-3, reward_scale=0.1), hidden=32, updates=2000, batch=128, block=2000)
    agent = train(plan, ROOM, "ohio", transitions).states.of_seed(0)
    learned = lambda obs: np.asarray(agent.act(iql, obs, jax.random.key(0), deterministic=True))
    theirs, ours = (float(-np.mean(play(ask, 100, seed=2)["reward"])) for ask in (operators, learned))
    print(f"degrees off: {theirs:.2f} under the operators who made the logs, {ours:.2f} under the learned policy")
    assert ours < 0.5 * theirs
