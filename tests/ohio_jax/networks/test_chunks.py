"""Networks on pairs, computed for some states at a time: what they give is what they give for all at once."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.learners import Spec, bc, iql
from ohio_jax.networks import chunks
from ohio_jax.networks.graph import edge_networks
from ohio_jax.networks.heads import Counts, Simplices
from tests.ohio_jax.learning import begin, relative_gap, small_batch

N, F, HIDDEN, STATES = 4, 3, 8, 12
ONE = N * N * HIDDEN  # numbers of a layer of one state
ADJACENCY = np.random.default_rng(0).random((N, N)) < 0.5
KINDS = {"shares": Simplices(N, N), "requests": Counts(N * N, 1.0, 20.0)}
SPECS = {kind: Spec(N * F, action, edge_networks(ADJACENCY, F, HIDDEN, kind)) for kind, action in KINDS.items()}
each_kind = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


@pytest.fixture
def at_once(monkeypatch):
    """at_once(k): from now on k states are computed at once."""
    return lambda states: monkeypatch.setattr(chunks, "LAYER", states * ONE)


def scans(function, *args) -> list[int]:
    """Lengths of the scans of a program."""
    found = []

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            found.extend([equation.params["length"]] if equation.primitive.name == "scan" else [])
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                walk(inner)

    walk(jax.make_jaxpr(function)(*args).jaxpr)
    return found


def some(spec, size=STATES):
    """A learner's state and a batch of weights that differ."""
    return begin(iql, spec, iql.Config()), small_batch(spec, size)


def test_what_fits_is_computed_at_once_and_else_in_the_largest_chunk_that_divides(at_once):
    spec = SPECS["shares"]
    state, batch = some(spec)
    lengths = lambda states: scans(spec.actor, state.actor.params, batch.obs[:states])
    at_once(12)
    assert lengths(12) == []
    at_once(11)
    assert (lengths(12), lengths(11)) == ([2], [])
    at_once(5)
    assert (lengths(12), lengths(11), lengths(5)) == ([3], [11], [])
    at_once(0)
    assert lengths(12) == [12]


@each_kind
def test_an_update_in_chunks_is_the_update_at_once(spec, at_once):
    """Losses, and gradients as Adam's first moments show them, of weighted batches; two critics stacked."""
    for learner in (bc, iql):
        state, batch = begin(learner, spec, learner.Config()), small_batch(spec, STATES)
        update = lambda state, batch, learner=learner: learner.update(state, batch)
        whole, expected = jax.jit(update)(state, batch)
        at_once(4)
        pieces, found = jax.jit(lambda *args, update=update: update(*args))(state, batch)
        at_once(STATES)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=2e-6)
        for name in {"actor", "critic"} & set(vars(state)):
            moments = lambda state, name=name: getattr(state, name).opt_state[0].mu
            assert relative_gap(moments(pieces), moments(whole)) < 2e-6


@each_kind
def test_networks_in_chunks_are_networks_at_once(spec, at_once):
    state, batch = some(spec)
    time = jnp.linspace(0.1, 0.9, STATES)
    flow = spec.init_flow(jax.random.key(0))
    many = jnp.stack([batch.action, 0.5 * batch.action], axis=1)
    normed = spec.with_layer_norm()
    params = jax.vmap(normed.networks.critic.init, (0, None, None))(
        jax.random.split(jax.random.key(1)), batch.obs[:1], batch.action[:1]
    )

    def values():
        return (
            spec.actor(state.actor.params, batch.obs),
            spec.critics(state.critic.params, batch.obs, batch.action),
            spec.critics(state.critic.params, batch.obs[:, None], many),
            spec.critics_apart(state.critic.params, batch.obs, jnp.swapaxes(many, 0, 1)),
            normed.critics(params, batch.obs, batch.action),
            spec.flow(flow, batch.obs, batch.action, time),
        )

    whole = jax.jit(lambda: values())()
    at_once(4)
    assert scans(values) == [3, 3, 6, 3, 3, 3]
    for found, expected in zip(jax.jit(lambda: values())(), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@each_kind
def test_axes_that_broadcast_are_no_chunks(spec, at_once):
    """Many actions of one state, and one action."""
    state, batch = some(spec)
    critic = lambda obs, action: spec.critics(state.critic.params, obs, action)
    for given in ((batch.obs[:1], batch.action), (batch.obs[0], batch.action[0])):
        at_once(STATES)
        whole = critic(*given)
        at_once(1)
        assert scans(critic, *given) == []
        np.testing.assert_array_equal(critic(*given), whole)


def test_one_program_serves_trained_states_and_seeds_side_by_side(at_once):
    at_once(4)
    spec = SPECS["shares"]
    states, batch = [begin(iql, spec, iql.Config(), seed) for seed in (0, 1)], small_batch(spec, STATES)
    update = jax.jit(lambda state, batch: iql.update(state, batch))
    once = [update(state, batch)[0] for state in states]
    apart = [update(state, batch)[0] for state in once]
    assert update._cache_size() == 1
    stack = lambda states: jax.tree.map(lambda *x: jnp.stack(x), *states)
    together, _ = jax.jit(jax.vmap(iql.update, (0, None)))(stack(once), batch)
    for name in ("actor", "critic"):
        moments = lambda state, name=name: getattr(state, name).opt_state[0].mu
        assert relative_gap(moments(together), moments(stack(apart))) < 1e-5


def test_initial_parameters_are_the_same(at_once):
    """Names and numbers, also where a network is made for more states than fit."""
    spec = SPECS["shares"]
    obs, action = jnp.ones((STATES, N * F)), jnp.ones((STATES, N, N))
    init = lambda: (spec.networks.actor.init(jax.random.key(0), obs), spec.networks.critic.init(jax.random.key(1), obs, action))
    whole = init()
    at_once(4)
    jax.tree.map(np.testing.assert_array_equal, init(), whole)
