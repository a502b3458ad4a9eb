"""Networks: the paper's sizes, its graph convolution, and layers that never build what can be broadcast."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.networks import edge_conv
from ohio_jax.networks.graph import edge_networks, node_networks, propagation
from ohio_jax.networks.heads import Box, Counts, Product, Simplex, Simplices, UnitBox
from ohio_jax.networks.mlp import Linear, mlp_networks
from tests.ohio_jax.networks import modules
from tests.ohio_jax.networks.modules import apply

N, F = 5, 13
ADJACENCY = np.array(np.random.default_rng(1).random((N, N)) < 0.4)  # one-way edges and self-loops included
start = functools.partial(modules.start, width=N * F)


def size(params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_parameter_counts_are_the_papers():
    actor, critic, value = start(node_networks(ADJACENCY, F, 256), Simplex(N))
    assert (size(actor), size(critic), size(value)) == (69_815, 70_071, 5_303)
    actor, critic, value = start(edge_networks(ADJACENCY, F, 256, "requests"), Counts(N * N, 1.0, 100.0))
    assert (size(actor), size(critic), size(value)) == (73_400, 73_399, 5_303)


def linear(params, x):
    return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)


def relu(x):
    return np.maximum(x, 0.0)


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def encode(params, obs):
    """The convolution edge by edge: y_i = b + sum over j -> i and i itself of (d_j d_i)^(-1/2) (x W)_j."""
    x = np.asarray(obs, np.float64).reshape(-1, N, F)
    xw = x @ np.asarray(params["kernel"], np.float64)
    edges = [(j, i) for j in range(N) for i in range(N) if ADJACENCY[j, i] or i == j]
    degree = [sum(1 for _, head in edges if head == i) for i in range(N)]
    y = np.zeros_like(x) + np.asarray(params["bias"], np.float64)[None, None]
    for j, i in edges:
        y[:, i] += xw[:, j] / np.sqrt(degree[i] * degree[j])
    return relu(y) + x


def test_node_networks_equal_the_paper_written_with_loops():
    networks = node_networks(ADJACENCY, F, 8)
    params = start(networks, Simplex(N))
    obs = jax.random.normal(jax.random.key(1), (4, N * F))
    goal, _ = Simplex(N).random(jax.random.key(2), (4,))
    actor, critic, value = (tree["params"] for tree in params)

    h, layers = encode(actor["Encoder_0"], obs), actor["Perceptron_0"]
    z = relu(linear(layers["Linear_1"], relu(linear(layers["Linear_0"], h))))
    np.testing.assert_allclose(apply(networks.actor, params[0], obs), linear(layers["Linear_2"], z)[..., 0], rtol=1e-4)

    pair = np.concatenate([encode(critic["Encoder_0"], obs), np.asarray(goal)[..., None]], axis=-1)
    z = relu(linear(critic["Linear_1"], relu(linear(critic["Linear_0"], pair))))
    expected = linear(critic["Linear_2"], z.sum(axis=1))[..., 0]
    np.testing.assert_allclose(apply(networks.critic, params[1], obs, goal), expected, rtol=1e-4, atol=1e-5)

    layers = value["Perceptron_0"]
    z = relu(linear(layers["Linear_0"], encode(value["Encoder_0"], obs).sum(axis=1)))
    expected = linear(layers["Linear_2"], relu(linear(layers["Linear_1"], z)))[..., 0]
    np.testing.assert_allclose(apply(networks.value, params[2], obs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["shares", "requests"])
def test_edge_networks_equal_the_concatenated_form(kind):
    spec = {"shares": Simplices(N, N), "requests": Counts(N * N, 10.0, 100.0)}[kind]
    scale, act = (10.0, leaky) if kind == "requests" else (1.0, relu)
    networks = edge_networks(ADJACENCY, F, 8, kind, scale)
    params = start(networks, spec)
    obs = jax.random.normal(jax.random.key(1), (4, N * F))
    goal, _ = spec.random(jax.random.key(2), (4,))
    actor, critic = (tree["params"] for tree in params[:2])

    def edges(h, *more):
        return np.stack([np.concatenate([h[:, i], h[:, j], *(m[:, i, j] for m in more)], axis=-1) for i in range(N)
                         for j in range(N)], axis=1)  # fmt: skip

    layers = actor["Perceptron_0"]
    z = act(linear(layers["Linear_0"], edges(encode(actor["Encoder_0"], obs))))
    expected = linear(layers["Linear_2"], act(linear(layers["Linear_1"], z))).reshape(4, *spec.raw_shape)
    np.testing.assert_allclose(apply(networks.actor, params[0], obs), expected, rtol=1e-4, atol=1e-5)

    actions = np.asarray(goal, np.float64).reshape(4, N, N, 1) / scale
    z = act(linear(critic["Linear_0"], edges(encode(critic["Encoder_0"], obs), actions)))
    expected = linear(critic["Linear_2"], act(linear(critic["Linear_1"], z)).sum(axis=1))[..., 0]
    np.testing.assert_allclose(apply(networks.critic, params[1], obs, goal), expected, rtol=1e-4, atol=1e-4)


CRITICS = {
    "node": (node_networks(ADJACENCY, F, 8), Simplex(N)),
    "edge": (edge_networks(ADJACENCY, F, 8), Simplices(N, N)),
    "requests": (edge_networks(ADJACENCY, F, 8, "requests"), Counts(N * N, 1.0, 100.0)),
    "mlp": (mlp_networks(Product((Simplex(3), UnitBox(2))), 8), Product((Simplex(3), UnitBox(2)))),
    "mlp box": (mlp_networks(Box((1.0,)), 8), Box((1.0,))),
}


def test_a_critic_counts_actions_in_what_is_usual():
    action, action_scale = Box((5.0, 100.0)), (0.5, 20.0)
    plain, counting = mlp_networks(action, 8).critic, mlp_networks(action, 8, action_scale=action_scale).critic
    obs, goal = jax.random.normal(jax.random.key(0), (4, 3)), action.random(jax.random.key(1), (4,))[0]
    params = some_params(plain, obs, goal)
    expected = apply(plain, params, obs, goal / jnp.array(action_scale)[None])
    np.testing.assert_allclose(apply(counting, params, obs, goal), expected, rtol=1e-5)


CHAIN = edge_conv.Graph((1.0, 2.0))  # two stores
FAMILIES = {
    **{name: (networks, spec, 12 if name.startswith("mlp") else N * F) for name, (networks, spec) in CRITICS.items()},
    "chain": (edge_conv.node_networks(CHAIN, 8), Product((Simplex(3), UnitBox(1))), 9),
    "chain edge": (edge_conv.edge_networks(CHAIN, 8), UnitBox(3), 9),
}


def some_params(module, *args):
    """Random parameters of the shapes a module asks for."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *args))
    return jax.tree.map(lambda x: rng.uniform(-0.5, 0.5, x.shape).astype(np.float32), shapes)


@pytest.mark.parametrize("networks, spec, width", FAMILIES.values(), ids=FAMILIES)
def test_a_flow_reads_all_it_is_given_and_moves_every_coordinate(networks, spec, width):
    obs, x = jax.random.normal(jax.random.key(0), (4, width)), jax.random.normal(jax.random.key(1), (4, *spec.shape))
    time = jnp.linspace(0.1, 0.9, 4)
    params = some_params(networks.flow, obs, x, time)
    velocity = apply(networks.flow, params, obs, x, time)
    assert velocity.shape == x.shape and np.all(np.asarray(velocity) != 0.0)
    for other in ((obs + 1.0, x, time), (obs, x + 1.0, time), (obs, x, time + 1.0)):
        assert not np.allclose(apply(networks.flow, params, *other), velocity)


@pytest.mark.parametrize("networks, spec, width", FAMILIES.values(), ids=FAMILIES)
def test_layer_norm_forgets_the_size_of_a_layer(networks, spec, width):
    """Ten times the first layer's weights give the same values with it and others without."""
    obs, goal = jax.random.normal(jax.random.key(0), (4, width)), spec.random(jax.random.key(1), (4,))[0]
    for layer_norm in (True, False):
        critic = networks.critic.clone(layer_norm=layer_norm)
        params = some_params(critic, obs, goal)
        layers = params["params"].get("Perceptron_0", params["params"])
        assert ("LayerNorm_0" in layers) == layer_norm
        values = apply(critic, params, obs, goal)
        layers["Linear_0"] = jax.tree.map(lambda x: 10.0 * x, layers["Linear_0"])
        assert np.allclose(apply(critic, params, obs, goal), values, rtol=1e-3, atol=1e-4) == layer_norm


@pytest.mark.parametrize("networks, spec", CRITICS.values(), ids=CRITICS)
def test_a_critic_asked_many_goals_of_one_state_answers_as_one_by_one(networks, spec):
    params = start(networks, spec)
    obs = jax.random.normal(jax.random.key(1), (4, N * F))
    goals, _ = spec.random(jax.random.key(2), (4, 3))
    at_once = apply(networks.critic, params[1], obs[:, None], goals)
    assert at_once.shape == (4, 3)
    for k in range(3):
        np.testing.assert_allclose(at_once[:, k], apply(networks.critic, params[1], obs, goals[:, k]), rtol=1e-3, atol=1e-5)
    assert apply(networks.actor, params[0], obs).shape == (4, *spec.raw_shape)
    assert apply(networks.actor, params[0], obs[0]).shape == spec.raw_shape
    assert apply(networks.value, params[2], obs).shape == (4,)


@pytest.mark.parametrize("shared", [False, True])
def test_linear_on_parts_is_linear_on_their_concatenation(shared):
    """Also where the rows share one of the parts."""
    parts = [jax.random.normal(jax.random.key(i), (6, width)) for i, width in enumerate((3, 1, 4))]
    parts[0] = parts[0][:1] if shared else parts[0]
    params = Linear(7).init(jax.random.key(9), *parts)
    whole = Linear(7).apply(params, jnp.concatenate([jnp.broadcast_to(part, (6, part.shape[1])) for part in parts], axis=-1))
    np.testing.assert_allclose(Linear(7).apply(params, *parts), whole, rtol=1e-5, atol=1e-6)


def test_layers_start_as_in_pytorch():
    params = Linear(4000).init(jax.random.key(0), jnp.zeros((1, 16)))["params"]
    for leaf in (params["kernel"], params["bias"]):
        assert float(jnp.max(jnp.abs(leaf))) <= 0.25
        assert float(jnp.std(leaf)) == pytest.approx(0.25 / np.sqrt(3), rel=0.05)


def test_propagation_of_a_one_way_edge():
    """0 -> 1 only: node 1 hears both, node 0 itself alone."""
    matrix = propagation(np.array([[False, True], [False, False]]).tobytes())
    np.testing.assert_allclose(matrix, [[1.0, 0.0], [1.0 / np.sqrt(2.0), 0.5]])


def test_equal_networks_do_not_compile_again():
    traces = []

    def value(networks, params, obs):
        traces.append(1)
        return networks.value.apply(params, obs)

    compiled = jax.jit(value, static_argnums=0)
    params = start(node_networks(ADJACENCY, F, 8), Simplex(N))[2]
    for adjacency in (ADJACENCY, ADJACENCY.tolist(), tuple(map(tuple, ADJACENCY.astype(int)))):
        compiled(node_networks(adjacency, F, 8), params, jnp.zeros((1, N * F)))
    assert len(traces) == 1
