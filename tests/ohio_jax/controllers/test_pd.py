"""Proportional-derivative control: its actions, and goals that come back from what it logged."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohio_jax.controllers import pd
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Segment
from tests.reference import one_sided

H, M = 5, 2
GOALS = jax.random.uniform(jax.random.key(0), (32, M), minval=-2.0, maxval=2.0)
STARTS = jax.random.normal(jax.random.key(1), (32, 2 * M))


def params(bound=100.0):
    of = lambda *values: np.array(values, np.float32)
    return pd.Params(of(2.0, 0.5), of(0.3, 0.1), np.full(M, bound, np.float32), of(6.0, 6.0), of(0.01, 0.02))


def play(p, x, goal):
    """The segment the controller makes of a goal, on joints of unit inertia."""

    def step(x, _):
        u, _ = pd.act(p, pd.init(p), x, goal)
        v = x[M:] + 0.2 * u
        after = jnp.concatenate([x[:M] + 0.2 * v, v])
        return after, (x, u, after)

    return Segment(*jax.lax.scan(step, x, None, H)[1])


def segments(p, goals=GOALS):
    return jax.vmap(lambda x, goal: play(p, x, goal))(STARTS, goals)


@functools.cache
def compiled(inverse):
    return jax.jit(lambda p, logs: jax.vmap(lambda segment: INVERSES[inverse](pd.problem(p), segment))(logs))


def invert(inverse, p, logs):
    return compiled(inverse)(p, logs)


def test_actions_are_the_formula(x64):
    p = params(bound=1.5)
    x, goal = jnp.array([0.3, -0.4, 1.0, -2.0]), jnp.array([0.5, 3.0])
    action, memory = pd.act(p, pd.plan(p, pd.init(p), x, goal), x, goal)
    np.testing.assert_allclose(action, [2.0 * 0.2 - 0.3 * 1.0, 1.5], atol=1e-7)  # 0.5 * 3.4 + 0.1 * 2 = 1.9, clipped
    assert memory == ()
    slope = jax.jacfwd(lambda goal: pd.act(p, (), x, goal)[0])(goal)
    tiny = 1e-6
    for i in range(M):
        central = [pd.act(p, (), x, goal + s * tiny * np.eye(M)[i])[0] for s in (1, -1)]
        np.testing.assert_allclose(slope[:, i], (central[0] - central[1]) / (2 * tiny), atol=1e-6)
    np.testing.assert_allclose(slope, [[2.0, 0.0], [0.0, 0.0]], atol=1e-7)


@pytest.mark.parametrize("inverse", ["analytic", "least_squares"])
def test_goals_of_its_own_segments_come_back(inverse):
    found = invert(inverse, params(), segments(params()))
    np.testing.assert_allclose(found.goal, GOALS, atol=1e-4)
    assert found.converged.all() and (found.status == UNIQUE).all() and (found.residual < 0.05).all()


def test_the_approximate_inverses_come_close_and_the_reached_angle_does_not():
    logs = segments(params())
    error = lambda inverse: float(np.median(np.abs(invert(inverse, params(), logs).goal - GOALS)))
    assert error("ridge") < 0.01
    assert error("observed") > 0.2
    assert (invert("observed", params(), logs).status == UNEXPLAINED).all()


@pytest.mark.parametrize("inverse", ["analytic", "least_squares"])
def test_where_some_steps_saturate_the_others_tell(inverse):
    """The goal is as sure as without, wherever a joint has one step off its bound."""
    p = params(bound=0.8)
    logs = segments(p)
    on = np.abs(logs.action) >= 0.8
    told = ~on.all(axis=1)
    assert on.any(axis=1).mean() > 0.3 and told.mean() > 0.3
    found = invert(inverse, p, logs)
    np.testing.assert_allclose(np.where(told, found.goal, 0.0), np.where(told, GOALS, 0.0), atol=1e-4)
    np.testing.assert_array_equal(found.status, np.where(told.all(axis=1), UNIQUE, AMBIGUOUS))
    # What is ambiguous is explained all the same: the goal returned gives the logged actions.
    assert (found.residual < 0.05).all()
    again = jax.vmap(jax.vmap(lambda x, goal: pd.act(p, (), x, goal)[0], (0, None)))(logs.state, found.goal)
    np.testing.assert_allclose(again, logs.action, atol=1e-5)


def test_steps_on_a_bound_weigh_no_more_than_others():
    """By hand: steps that name 1 and 2, and one on its bound that goals from 3 on explain: the least squares are at 2."""
    one = lambda x: np.full(1, x, np.float32)
    p = pd.Params(one(1.0), one(0.0), one(1.0), one(6.0), one(0.01))
    state = np.array([[0.5, 0.0], [1.5, 0.0], [2.0, 0.0]], np.float32)

    def goal(q, action):
        segment = Segment(jnp.asarray(state).at[:, 0].set(q), action, jnp.asarray(state))
        return INVERSES["analytic"](pd.problem(p), segment).goal[0]

    both = jax.jit(lambda q, action: (goal(q, action), jax.grad(goal, 1)(q, action)))
    found, slope = both(state[:, 0], jnp.array([[0.5], [0.5], [1.0]]))
    assert found == pytest.approx(2.0, abs=1e-6)
    np.testing.assert_allclose(slope, np.full((3, 1), 1 / 3), atol=1e-6)
    found, slope = both(np.float32([0.5, 1.5, 0.0]), jnp.array([[0.5], [0.5], [1.0]]))  # names 1, which 1.5 explains as well
    assert found == pytest.approx(1.5, abs=1e-6)
    np.testing.assert_allclose(slope[:, 0], [0.5, 0.5, 0.0], atol=1e-6)
    found, _ = both(np.float32([0.0, 0.0, 1.0]), jnp.array([[1.0], [1.0], [-1.0]]))  # from 1 on, and up to 0
    assert found == pytest.approx(2 / 3, abs=1e-6)


def test_the_closed_form_is_the_least_of_one_sided_squares():
    """Against all sets of steps that may count, tried in float64: on no, some, all bounds, on both sides, and cut short."""
    p, n, random = params(bound=1.0), 1000, np.random.default_rng(0)
    state, after = random.uniform(-4, 4, (2, n, H, 2 * M)).astype(np.float32)
    unclipped = random.choice([0.3, 1.0, 30.0], (n, 1, M)) * random.normal(size=(n, H, M))
    unclipped = np.where(random.integers(0, 2, (n, 1, M)), np.abs(unclipped), unclipped)
    action = np.clip(unclipped, -1, 1).astype(np.float32)
    taken = np.arange(H) < random.integers(1, H + 1, (n, 1))
    found = invert("analytic", p, Segment(state, action, after, taken))

    kp, kd, noise = (np.asarray(x, np.float64) for x in (p.kp, p.kd, p.noise))
    named = state[..., :M] + (action + kd * state[..., M:]) / kp
    side = np.where(action >= 1, -1, np.where(action <= -1, 1, 0))
    off, known, expected = np.zeros(n), np.ones(n, bool), np.zeros((n, M))
    for i, j in np.ndindex(n, M):
        steps = named[i, taken[i], j], side[i, taken[i], j]
        expected[i, j] = np.clip(one_sided.nearest(*steps, after[i, -1, j]), -6, 6)
        off[i] += one_sided.squares(expected[i, j], *steps) * (kp[j] / noise[j]) ** 2
        known[i] &= (steps[1] == 0).any()
    np.testing.assert_allclose(found.goal, expected, atol=2e-5)
    np.testing.assert_allclose(found.residual, np.sqrt(off), rtol=1e-3, atol=0.02)
    explained, sure = off < 0.4**2, off > 0.6**2
    for status, those in ((UNIQUE, explained & known), (AMBIGUOUS, explained & ~known), (UNEXPLAINED, sure)):
        assert those.sum() > 50 and (np.asarray(found.status)[those] == status).all()


SEARCHES = ("least_squares", "posterior", "implicit", "numerical", "cross_entropy")


@functools.cache
def judged():
    """(which segments have the first joint on its bound throughout, what each inverse makes of all, and what where the other
    joint contradicts itself). The noise is large enough for a prior to matter.

    Inverses are named with whether the low level has a closed form, which would judge for some of them.
    """
    p = params(bound=np.array([1.5, 100.0]))._replace(noise=np.full(M, 0.3, np.float32))
    logs = segments(p)
    always = (np.abs(logs.action[..., 0]) >= 1.5).all(axis=1)
    other = logs._replace(action=logs.action.at[:, :, 1].add(4.0 * jax.random.normal(jax.random.key(3), logs.action.shape[:2])))

    @jax.jit
    def by_all(p, logs):
        problem = pd.problem(p)
        ways = {("analytic", True): problem} | {(name, True): problem for name in SEARCHES}
        ways |= {(name, False): problem._replace(closed_form=None) for name in SEARCHES}
        return {way: jax.vmap(functools.partial(INVERSES[way[0]], of))(logs) for way, of in ways.items()}

    return always, *(jax.tree.map(np.asarray, by_all(p, x)) for x in (logs, other))


def test_only_what_is_explained_is_ambiguous():
    """The residual comes first, whichever the inverse: a joint on its bound makes no ambiguity of what no goal explains."""
    always, same, other = judged()
    assert 8 < always.sum() < 28
    for way, found in same.items():
        assert (found.residual < 0.5).mean() > 0.9, way
        assert (found.status[always & (found.residual < 0.5)] == AMBIGUOUS).all(), way
    for way, found in other.items():
        assert (found.residual[always] > 0.5).all() and (found.status[always] == UNEXPLAINED).all(), way


def test_an_action_on_its_bound_says_nothing_of_the_goals_beyond():
    """However near to it a prior, or a search from inside, ends: there no goal is unique and no deviation small."""
    always, same, _ = judged()
    for way, found in same.items():
        assert (found.status[~always & (found.residual < 0.5)] == UNIQUE).all(), way
    for closed in (True, False):
        deviation = same["posterior", closed].deviation
        np.testing.assert_allclose(deviation[always, 0], 6.0, rtol=1e-3)  # the prior's
        assert (deviation[:, 1] < 0.3).all() and (deviation[~always, 0] < 0.2).all()


def test_a_goal_that_always_saturates_is_the_nearest_one_to_where_it_led():
    p = params(bound=0.1)
    logs = segments(p, jnp.full((32, M), 6.0))
    found = invert("analytic", p, logs)
    always = (np.asarray(logs.action) >= 0.1).all(axis=(1, 2))
    assert always.sum() > 10 and (found.status[always] == AMBIGUOUS).all()
    kp, kd = 2.0, 0.3
    least = logs.state[..., 0] + (0.1 + kd * logs.state[..., 2]) / kp  # nearer ones would not saturate at every step
    wanted = np.maximum(np.max(least, axis=1), logs.next_state[:, -1, 0])
    np.testing.assert_allclose(found.goal[always, 0], np.clip(wanted, -6, 6)[always], atol=1e-5)


def test_other_controllers_actions_are_unexplained_and_averaged():
    """Least squares over the steps: the mean of the goals they name."""
    p = params()
    logs = segments(p)
    noisy = logs._replace(action=logs.action + jax.random.normal(jax.random.key(2), logs.action.shape))
    found, search = (invert(inverse, p, noisy) for inverse in ("analytic", "least_squares"))
    assert (found.status == UNEXPLAINED).all()
    kp, kd = np.array([2.0, 0.5]), np.array([0.3, 0.1])
    state, action = np.asarray(noisy.state), np.asarray(noisy.action)
    named = state[..., :M] + (action + kd * state[..., M:]) / kp
    np.testing.assert_allclose(found.goal, np.clip(np.mean(named, axis=1), -6, 6), atol=1e-4)
    np.testing.assert_allclose(search.goal, found.goal, atol=1e-3)


@pytest.mark.parametrize("inverse", ["analytic", "least_squares", "ridge"])
def test_a_bad_segment_fails_alone(inverse):
    p = params()
    logs = segments(p)
    clean = invert(inverse, p, logs)
    poisoned = invert(inverse, p, jax.tree.map(lambda x: x.at[1].set(jnp.nan), logs))
    keep = np.arange(32) != 1
    assert poisoned.status[1] == FAILED and not poisoned.converged[1] and np.isfinite(poisoned.goal).all()
    np.testing.assert_array_equal(poisoned.goal[keep], clean.goal[keep])


ONE = jax.jit(lambda segment: INVERSES["analytic"](pd.problem(params(bound=0.5)), segment))


@given(st.integers(0, 2**31), st.floats(0.01, 100.0))
def test_any_log_gets_an_admissible_goal(seed, size):
    random = np.random.default_rng(seed)
    of = lambda *shape: jnp.asarray(size * random.normal(size=shape), jnp.float32)
    segment = Segment(of(H, 2 * M), jnp.clip(of(H, M), -0.5, 0.5), of(H, 2 * M))
    found = ONE(segment)
    assert np.isfinite(found.goal).all() and (np.abs(found.goal) <= 6.0).all()
    assert int(found.status) in (UNIQUE, AMBIGUOUS, UNEXPLAINED)
