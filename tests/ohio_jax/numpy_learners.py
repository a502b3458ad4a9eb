"""One update of some learners in NumPy float64 with hand-written gradients, for perceptrons of one hidden layer."""

import jax
import numpy as np
from scipy.special import digamma, expit, gammaln, logsumexp

from ohio_jax.learners import cql


class Layers:
    """A perceptron of one hidden layer, normalized where it has a scale for that; `backward` returns the gradients of its
    parameters and of its input."""

    def __init__(self, params):
        self.tree = params["params"]["Perceptron_0"]
        first, second = ({k: np.asarray(v, np.float64) for k, v in self.tree[f"Linear_{i}"].items()} for i in (0, 1))
        self.w, self.b, self.v, self.c = first["kernel"], first["bias"], second["kernel"], second["bias"]
        self.norm = {k: np.asarray(v, np.float64) for k, v in self.tree.get("LayerNorm_0", {}).items()}

    def forward(self, x):
        self.x, self.before = x, x @ self.w + self.b[None]
        if self.norm:
            self.deviation = np.sqrt(self.before.var(axis=1, keepdims=True) + 1e-6)
            self.standard = (self.before - self.before.mean(axis=1, keepdims=True)) / self.deviation
            self.before = self.norm["scale"][None] * self.standard + self.norm["bias"][None]
        return np.maximum(self.before, 0.0) @ self.v + self.c[None]

    def backward(self, slope):
        hidden, layers = (slope @ self.v.T) * (self.before > 0.0), {}
        if self.norm:
            layers["LayerNorm_0"] = {"scale": (hidden * self.standard).sum(axis=0), "bias": hidden.sum(axis=0)}
            scaled = self.norm["scale"][None] * hidden
            along = (scaled * self.standard).mean(axis=1, keepdims=True)
            hidden = (scaled - scaled.mean(axis=1, keepdims=True) - self.standard * along) / self.deviation
        layers["Linear_0"] = {"kernel": self.x.T @ hidden, "bias": hidden.sum(axis=0)}
        layers["Linear_1"] = {"kernel": np.maximum(self.before, 0.0).T @ slope, "bias": slope.sum(axis=0)}
        return {"params": {"Perceptron_0": layers}}, hidden @ self.w.T


def first_adam_step(params, gradient, rate):
    """From zero moments: with bias correction both averages are the gradient itself."""
    step = lambda p, g: np.asarray(p, np.float64) - rate * g / (np.sqrt(g * g) + 1e-8)
    return jax.tree.map(step, params, gradient)


def add(*gradients):
    return jax.tree.map(lambda *g: sum(g), *gradients)


def pick(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def stack(trees):
    return jax.tree.map(lambda *x: np.stack(x), *trees)


def clipped(gradient, most):
    norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(gradient)))
    assert norm > most, "the test means to clip"
    return jax.tree.map(lambda g: g * most / norm, gradient)


def average(target, params, keep):
    return jax.tree.map(lambda t, p: keep * np.asarray(t, np.float64) + (1.0 - keep) * p, target, params)


def critic_input(obs, goal):
    return np.concatenate([obs, goal], axis=-1)


def float64(batch):
    return type(batch)(*(np.asarray(x, np.float64) for x in batch))


def twin_regression(params, batch, backup, share):
    """(gradients, loss) of both critics' weighted squared errors."""
    gradients, loss = [], 0.0
    for i in (0, 1):
        critic = Layers(pick(params, i))
        error = critic.forward(critic_input(batch.obs, batch.action))[:, 0] - backup
        loss += np.sum(share * error**2)
        gradients.append(critic.backward((2.0 * share * error)[:, None])[0])
    return stack(gradients), loss


def iql_update(state, batch):
    """Actor over a simplex (Dirichlet), critics and value perceptrons."""
    c, b = state.config, float64(batch)
    size = len(b.reward)
    share = b.weight / size

    asked = b.obs if c.v_target == "s" else b.next_obs
    q_bar = np.min([Layers(pick(state.target, i)).forward(critic_input(asked, b.action))[:, 0] for i in (0, 1)], axis=0)
    value = Layers(state.value.params)
    gap = q_bar - value.forward(b.obs)[:, 0]
    steep = np.where(gap > 0, c.expectile, 1.0 - c.expectile)
    of_value, _ = value.backward((-2.0 * share * steep * gap)[:, None])
    new_value = first_adam_step(state.value.params, of_value, c.critic_lr)

    heard = Layers(state.value.params if c.value_update == "old" else new_value)
    advantage = q_bar - heard.forward(b.obs)[:, 0]
    weight = np.minimum(np.exp(c.beta * advantage), c.exp_adv_max)
    actor = Layers(state.actor.params)
    raw = actor.forward(b.obs)
    alpha = np.logaddexp(raw, 0.0) + 1e-3
    total = alpha.sum(axis=1, keepdims=True)
    log_prob = gammaln(total[:, 0]) - gammaln(alpha).sum(axis=1) + ((alpha - 1.0) * np.log(b.action)).sum(axis=1)
    slope = (np.log(b.action) + digamma(total) - digamma(alpha)) * expit(raw)
    of_actor, _ = actor.backward(-(share * weight)[:, None] * slope)
    new_actor = first_adam_step(state.actor.params, of_actor, c.actor_lr)

    backup = c.reward_scale * b.reward + c.discount * b.discount * heard.forward(b.next_obs)[:, 0]
    of_critic, critic_loss = twin_regression(state.critic.params, b, backup, share)
    if c.max_grad_norm:
        of_critic = stack([clipped(pick(of_critic, i), c.max_grad_norm) for i in (0, 1)])
    new_critic = first_adam_step(state.critic.params, of_critic, c.critic_lr)

    return {
        "actor": new_actor,
        "critic": new_critic,
        "value": new_value,
        "gradients": {"actor": of_actor, "critic": of_critic, "value": of_value},
        "target": average(state.target, new_critic, 1.0 - c.tau),
        "value_loss": np.sum(share * steep * gap**2),
        "actor_loss": -np.sum(share * weight * log_prob),
        "critic_loss": critic_loss,
    }


def tanh_gaussian(raw, noise):
    """(draw, log density, draw before tanh) of a squashed Gaussian whose raw parameters interleave mean and log std."""
    mean, log_std = raw[:, 0::2], raw[:, 1::2]
    x = mean + np.exp(log_std) * noise
    normal = -0.5 * noise**2 - log_std - 0.5 * np.log(2.0 * np.pi)
    return np.tanh(x), (normal - np.log1p(-(np.tanh(x) ** 2))).sum(axis=1), x


def cql_update(state, batch):
    """Actor over a box (squashed Gaussian). Random numbers and proposals are the learner's own."""
    c, b = state.config, float64(batch)
    keys = jax.random.split(jax.random.wrap_key_data(state.key), 5)
    size = len(b.reward)
    share = b.weight / size
    actor = Layers(state.actor.params)
    raw, next_raw = actor.forward(b.obs), actor.forward(b.next_obs)
    normal = lambda key: np.asarray(jax.random.normal(key, batch.action.shape), np.float64)

    next_action, _, _ = tanh_gaussian(next_raw, normal(keys[0]))
    next_q = [Layers(pick(state.target, i)).forward(critic_input(b.next_obs, next_action))[:, 0] for i in (0, 1)]
    backup = c.reward_scale * b.reward + c.discount * b.discount * np.min(next_q, axis=0)

    in_head = lambda raw: raw.reshape(size, -1, 2)
    _, proposed, log_density = cql.propose(state, keys[1], batch.obs, in_head(raw), in_head(next_raw))
    proposed, log_density = np.asarray(proposed, np.float64), np.asarray(log_density, np.float64)
    many = proposed.shape[1]
    repeated = np.repeat(b.obs, many, axis=0)

    gradients, critic_loss, penalty = [], 0.0, 0.0
    for i in (0, 1):
        critic = Layers(pick(state.critic.params, i))
        ratio = critic.forward(critic_input(repeated, proposed.reshape(size * many, -1))).reshape(size, many) - log_density
        highest = logsumexp(ratio, axis=1)
        soft_max = np.exp(ratio - highest[:, None])
        of_proposals, _ = critic.backward((c.cql_alpha * share[:, None] * soft_max).reshape(-1, 1))
        q = critic.forward(critic_input(b.obs, b.action))[:, 0]
        of_data, _ = critic.backward((share * (2.0 * (q - backup) - c.cql_alpha))[:, None])
        gradient = add(of_proposals, of_data)
        gradients.append(clipped(gradient, c.max_grad_norm))
        critic_loss += np.sum(share * ((q - backup) ** 2 + c.cql_alpha * (highest - q)))
        penalty += np.sum(share * (highest - q)) / 2.0
    new_critic = first_adam_step(state.critic.params, stack(gradients), c.critic_lr)

    of_actor, actor_loss, _ = soft_actor_gradient(state, b, new_critic, c.temperature, normal(keys[3]))

    return {
        "actor": first_adam_step(state.actor.params, of_actor, c.actor_lr),
        "critic": new_critic,
        "gradients": {"actor": of_actor, "critic": stack(gradients)},
        "target": average(state.target, new_critic, 1.0 - c.tau),
        "critic_loss": critic_loss,
        "penalty": penalty,
        "actor_loss": actor_loss,
    }


def soft_actor_gradient(state, b, critics, temperature, noise):
    """(gradient of the actor, its loss, log densities of the goals drawn) for mean of temperature log pi - min Q."""
    size = len(b.reward)
    share = b.weight / size
    actor = Layers(state.actor.params)
    raw = actor.forward(b.obs)
    goal, log_prob, _ = tanh_gaussian(raw, noise)
    critics = [Layers(pick(critics, i)) for i in (0, 1)]
    q = np.stack([critic.forward(critic_input(b.obs, goal))[:, 0] for critic in critics])
    slope_of_goal = np.zeros_like(goal)
    for i, critic in enumerate(critics):
        of_input = critic.backward(np.ones((size, 1)))[1][:, b.obs.shape[1] :]
        slope_of_goal += (q.argmin(axis=0) == i)[:, None] * of_input
    # d log_prob / dx = 2 tanh x; d goal / dx = 1 - tanh(x)^2
    slope_of_x = share[:, None] * (temperature * 2.0 * goal - slope_of_goal * (1.0 - goal**2))
    slope = np.empty_like(raw)
    slope[:, 0::2] = slope_of_x
    slope[:, 1::2] = slope_of_x * np.exp(raw[:, 1::2]) * noise - share[:, None] * temperature
    return actor.backward(slope)[0], np.sum(share * (temperature * log_prob - q.min(axis=0))), log_prob


def sac_update(state, batch):
    """Actor over a box with limits of 1. Random numbers are the learner's own."""
    c, b = state.config, float64(batch)
    keys = jax.random.split(jax.random.wrap_key_data(state.key), 4)
    share = b.weight / len(b.reward)
    normal = lambda key: np.asarray(jax.random.normal(key, batch.action.shape), np.float64)
    temperature = np.exp(float(state.log_temperature.params))

    next_action, next_log_prob, _ = tanh_gaussian(Layers(state.actor.params).forward(b.next_obs), normal(keys[0]))
    next_q = [Layers(pick(state.target, i)).forward(critic_input(b.next_obs, next_action))[:, 0] for i in (0, 1)]
    next_value = np.min(next_q, axis=0) - temperature * next_log_prob
    backup = c.reward_scale * b.reward + c.discount * b.discount * next_value

    of_critic, critic_loss = twin_regression(state.critic.params, b, backup, share)
    new_critic = first_adam_step(state.critic.params, of_critic, c.critic_lr)

    of_actor, actor_loss, log_prob = soft_actor_gradient(state, b, new_critic, temperature, normal(keys[1]))

    # The entropy wanted, in a box with limits of 1: log 2 for each number is that of an even spread.
    wanted = batch.action.shape[1] * (np.log(2.0) + c.target_entropy)
    of_log_temperature = -np.mean(log_prob) - wanted

    return {
        "actor": first_adam_step(state.actor.params, of_actor, c.actor_lr),
        "critic": new_critic,
        "log_temperature": first_adam_step(state.log_temperature.params, of_log_temperature, c.temperature_lr),
        "gradients": {"actor": of_actor, "critic": of_critic, "log_temperature": of_log_temperature},
        "target": average(state.target, new_critic, 1.0 - c.tau),
        "critic_loss": critic_loss,
        "actor_loss": actor_loss,
        "entropy": -np.mean(log_prob),
        "temperature": temperature,
    }


def deterministic(raw):
    """Goal of a policy without chance in a box with limits of 1: tanh of the mean."""
    return np.tanh(raw[:, 0::2])


def td3_goals_and_values(state, b):
    """(goals of the smoothed target policy at s', the smaller of the target critics' values of them)."""
    c = state.config
    key, _ = jax.random.split(jax.random.wrap_key_data(state.key))
    noise = c.policy_noise * np.asarray(jax.random.normal(key, b.action.shape), np.float64)
    goal = deterministic(Layers(state.target_actor).forward(b.next_obs)) + np.clip(noise, -c.noise_clip, c.noise_clip)
    goal = np.clip(goal, -1.0, 1.0)
    q = [Layers(pick(state.target, i)).forward(critic_input(b.next_obs, goal))[:, 0] for i in (0, 1)]
    return goal, np.min(q, axis=0)


def td3_actor(state, b, critics, distance_weight, alpha):
    """(gradient, loss) of distance_weight |pi(s) - u|^2 - alpha min Q(s, pi(s)) / mean |Q| over the critics given."""
    share = b.weight / len(b.reward)
    actor = Layers(state.actor.params)
    goal = deterministic(actor.forward(b.obs))
    values = np.stack([critic.forward(critic_input(b.obs, goal))[:, 0] for critic in critics])
    q = values.min(axis=0)
    alpha = alpha / np.mean(np.abs(q))
    slope = 2.0 * distance_weight * (goal - b.action)
    for i, critic in enumerate(critics):
        of_input = critic.backward(np.ones((len(q), 1)))[1][:, b.obs.shape[1] :]
        slope -= alpha * (values.argmin(axis=0) == i)[:, None] * of_input
    of_raw = np.zeros((len(q), 2 * goal.shape[1]))
    of_raw[:, 0::2] = share[:, None] * slope * (1.0 - goal**2)
    distance = distance_weight * np.sum((goal - b.action) ** 2, axis=1)
    return actor.backward(of_raw)[0], np.sum(share * (distance - alpha * q))


def td3_update(state, b, backup, of_actor):
    """What both learners share; of_actor(critics) -> (gradient, loss) of the actor."""
    c = state.config
    of_critic, critic_loss = twin_regression(state.critic.params, b, backup, b.weight / len(b.reward))
    new_critic = first_adam_step(state.critic.params, of_critic, c.critic_lr)
    gradient, actor_loss = of_actor([Layers(pick(new_critic, i)) for i in (0, 1)])
    new_actor = first_adam_step(state.actor.params, gradient, c.actor_lr)
    return {
        "actor": new_actor,
        "critic": new_critic,
        "gradients": {"actor": gradient, "critic": of_critic},
        "target": average(state.target, new_critic, 1.0 - c.tau),
        "target_actor": average(state.target_actor, new_actor, 1.0 - c.tau),
        "critic_loss": critic_loss,
        "actor_loss": actor_loss,
    }


def td3_bc_update(state, batch):
    """Actor over a box with limits of 1 that follows every update. Random numbers are the learner's own."""
    c, b = state.config, float64(batch)
    _, next_q = td3_goals_and_values(state, b)
    backup = c.reward_scale * b.reward + c.discount * b.discount * next_q
    of_actor = lambda critics: td3_actor(state, b, critics[:1], 1.0 / b.action.shape[1], c.alpha)
    return td3_update(state, b, backup, of_actor)


def rebrac_update(state, batch):
    """The same; the batch says what the behavior did next."""
    c, b = state.config, float64(batch)
    next_action, next_q = td3_goals_and_values(state, b)
    next_value = next_q - c.critic_penalty * np.sum((next_action - b.next_action) ** 2, axis=1)
    backup = c.reward_scale * b.reward + c.discount * b.discount * next_value
    of_actor = lambda critics: td3_actor(state, b, critics, c.actor_penalty, 1.0)
    return td3_update(state, b, backup, of_actor)
