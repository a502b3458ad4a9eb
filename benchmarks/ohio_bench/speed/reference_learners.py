"""IQL and CQL in plain PyTorch, as one writes them there: modules, optimizers and a loop; the same equations as ours.

Made of parameters and rows of ours, so that both can be seen to do the same work.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

from ohio_jax.learners import cql, iql

Rows = tuple[
    Any, ...
]  # of a batch: obs Float[B, n], action Float[B, k], reward Float[B], next_obs Float[B, n], discount Float[B]


class Peer(NamedTuple):
    """update(rows) -> losses by name, after which the networks are others; networks by name."""

    update: Callable[[Rows], dict[str, Any]]
    networks: dict[str, Any]


def perceptron(params: Any) -> nn.Sequential:
    """The network of ours that has these parameters: {"params": {"Perceptron_0": {"Linear_k": {"kernel", "bias"}}}}."""
    (layers,) = params["params"].values()
    built: list[nn.Module] = []
    for _, layer in sorted(layers.items()):
        kernel, bias = (np.asarray(layer[name]) for name in ("kernel", "bias"))
        linear = nn.Linear(*kernel.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(kernel.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias.copy()))
        built += [linear, nn.ReLU()]
    return nn.Sequential(*built[:-1])


class Actor(nn.Module):
    """A Gaussian squashed by tanh into [-1, 1]; outputs are (mean, log deviation) of each number."""

    def __init__(self, params: Any):
        super().__init__()
        self.network = perceptron(params)

    def normal(self, obs):
        raw = self.network(obs).unflatten(-1, (-1, 2))
        return torch.distributions.Normal(raw[..., 0], raw[..., 1].clamp(-5.0, 2.0).exp())

    @staticmethod
    def density(normal, before):
        squash = 2.0 * (np.log(2.0) - before - functional.softplus(-2.0 * before))
        return (normal.log_prob(before) - squash).sum(-1)

    def log_prob(self, obs, action):
        return self.density(self.normal(obs), torch.atanh(action))

    def sample(self, obs):
        normal = self.normal(obs)
        before = normal.rsample()
        return torch.tanh(before), self.density(normal, before)


class Critics(nn.Module):
    """Two critics of (obs, action), parameters stacked on the leading axis."""

    def __init__(self, params: Any):
        super().__init__()
        pick = lambda tree, i: {key: pick(value, i) if isinstance(value, dict) else value[i] for key, value in tree.items()}
        self.networks = nn.ModuleList([perceptron(pick(params, i)) for i in range(2)])

    def forward(self, obs, action):
        given = torch.cat([obs, action], dim=-1)
        return [network(given).squeeze(-1) for network in self.networks]


def step(optimizer, loss, clipped=(), largest: float = 0.0) -> None:
    """A gradient step; the gradient of each of the networks in `clipped` is cut to norm `largest` first."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for network in clipped:
        nn.utils.clip_grad_norm_(network.parameters(), largest)
    optimizer.step()


def follow(target: nn.Module, network: nn.Module, tau: float) -> None:
    with torch.no_grad():
        for old, new in zip(target.parameters(), network.parameters(), strict=True):
            old.lerp_(new, tau)


def make_iql(state: iql.State, config: iql.Config) -> Peer:
    """Implicit Q-learning (Kostrikov et al. 2022, equations 5 to 7) from the state's networks, as `ohio_jax.learners.iql`."""
    actor, critics, value = Actor(state.actor.params), Critics(state.critic.params), perceptron(state.value.params)
    target = copy.deepcopy(critics).requires_grad_(False)
    adam = lambda network, rate: torch.optim.Adam(network.parameters(), rate)
    for_actor, for_critics = adam(actor, config.actor_lr), adam(critics, config.critic_lr)
    for_value = adam(value, config.critic_lr)

    def update(rows: Rows) -> dict[str, Any]:
        obs, action, reward, next_obs, discount = rows
        q_target = torch.minimum(*target(obs, action))

        gap = q_target - value(obs).squeeze(-1)
        value_loss = (torch.where(gap > 0.0, config.expectile, 1.0 - config.expectile) * gap.square()).mean()
        with torch.no_grad():
            before = gap, value(next_obs).squeeze(-1)
        step(for_value, value_loss)

        with torch.no_grad():
            after = lambda: (q_target - value(obs).squeeze(-1), value(next_obs).squeeze(-1))
            advantage, next_value = before if config.value_update == "old" else after()
            weight = (config.beta * advantage).exp().clamp(max=config.exp_adv_max)
            backup = config.reward_scale * reward + config.discount * discount * next_value
        actor_loss = -(weight * actor.log_prob(obs, action)).mean()
        step(for_actor, actor_loss)

        critic_loss = sum((q - backup).square().mean() for q in critics(obs, action))
        step(for_critics, critic_loss)
        follow(target, critics, config.tau)
        return {"value_loss": value_loss, "actor_loss": actor_loss, "critic_loss": critic_loss}

    return Peer(update, {"actor": actor, "critics": critics, "value": value})


def make_cql(state: cql.State, config: cql.Config) -> Peer:
    """Conservative Q-learning (Kumar et al. 2020, equation 4) from the state's networks, as `ohio_jax.learners.cql`."""
    actor, critics = Actor(state.actor.params), Critics(state.critic.params)
    target = copy.deepcopy(critics).requires_grad_(False)
    for_actor = torch.optim.Adam(actor.parameters(), config.actor_lr)
    for_critics = torch.optim.Adam(critics.parameters(), config.critic_lr)
    K = config.n_actions

    def update(rows: Rows) -> dict[str, Any]:
        obs, action, reward, next_obs, discount = rows
        repeated = obs.repeat_interleave(K, dim=0)
        with torch.no_grad():
            next_q = torch.minimum(*target(next_obs, actor.sample(next_obs)[0]))
            backup = config.reward_scale * reward + config.discount * discount * next_q
            here, there = actor.sample(repeated), actor.sample(next_obs.repeat_interleave(K, dim=0))
            even = torch.empty_like(here[0]).uniform_(-1.0, 1.0)
            apart = lambda x: x.unflatten(0, (len(obs), K))
            proposed = torch.cat([apart(actions) for actions in (even, here[0], there[0])], dim=1)
            evenly = torch.full_like(here[1], -action.shape[-1] * float(np.log(2.0)))
            log_density = torch.cat([apart(density) for density in (evenly, here[1], there[1])], dim=1)

        asked = obs[:, None].expand(-1, 3 * K, -1)
        critic_loss = torch.zeros(())
        for q, proposals in zip(critics(obs, action), critics(asked, proposed), strict=True):
            penalty = torch.logsumexp(proposals - log_density, dim=1) - q
            critic_loss = critic_loss + ((q - backup).square() + config.cql_alpha * penalty).mean()
        step(for_critics, critic_loss, critics.networks, config.max_grad_norm)

        actions, log_prob = actor.sample(obs)
        actor_loss = (config.temperature * log_prob - torch.minimum(*critics(obs, actions))).mean()
        step(for_actor, actor_loss)
        follow(target, critics, config.tau)
        return {"actor_loss": actor_loss, "critic_loss": critic_loss}

    return Peer(update, {"actor": actor, "critics": critics})


MAKE = {"iql": make_iql, "cql": make_cql}


def rows_of(batch: Any) -> Rows:
    """A Batch of ours as the peer wants it."""
    named = (batch.obs, batch.action, batch.reward, batch.next_obs, batch.discount)
    return tuple(torch.from_numpy(np.array(x, np.float32)) for x in named)


def block(peer: Peer, rows: Rows, batch: int, updates: int, threads: int) -> Callable[[], Any]:
    """A call that does so many updates on batches drawn anew."""

    def call():
        torch.set_num_threads(threads)
        for _ in range(updates):
            picked = torch.randint(len(rows[0]), (batch,))
            peer.update(tuple(x[picked] for x in rows))

    return call
