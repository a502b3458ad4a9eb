"""Goals as displacements: the same low level, the same inverses, the same answers, counted from where the goal was given."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax import low_level
from ohio_jax.controllers import lqr, mpc, relative
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import UNIQUE, ActionModel, LinearProgram, Problem, Segment, StateModel
from tests.ohio_jax import linear, toy

LIMIT = jnp.array([40.0, 50.0, 60.0])


def double(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def parameters(controller, bound=1.5):
    return linear.lqr_params(bound) if controller is lqr else linear.mpc_params(bound)


def play(controller, params, x, goals, told=lambda x, goal: goal):
    """The segments that goals make one after another, `params.steps` steps each; told(x, goal) is what the low level hears."""
    inner = getattr(params, "params", params)

    def one(x, goal):
        goal = told(x, goal)

        def step(carry, _):
            x, memory = carry
            u, memory = controller.act(params, memory, x, goal)
            after = inner.model.step(x, u)
            return (after, memory), (x, u, after)

        memory = controller.plan(params, controller.init(params), x, goal)
        (x, _), segment = jax.lax.scan(step, (x, memory), None, inner.steps)
        return x, Segment(*segment)

    return jax.lax.scan(one, x, goals)[1]


@pytest.fixture(scope="module")
def starts():
    with jax.enable_x64(True):
        return jax.random.normal(jax.random.key(1), (16, 3)), 2.0 * jax.random.normal(jax.random.key(0), (2, 16, 3))


@pytest.mark.parametrize("controller", [lqr, mpc])
def test_the_low_level_is_the_inner_one_given_the_place(controller, starts, x64):
    """Over two goals, the second counted from where the first one led; torques are held by their bounds in some steps."""
    p = double(parameters(controller))
    moved = relative.Params(p, double(LIMIT), controller)
    x, goals = starts

    @jax.jit
    def both(x, goals):
        return play(relative, moved, x, goals), play(controller, p, x, goals, lambda x, goal: x + goal)

    ours, theirs = jax.vmap(both, (0, 1))(x, goals)
    held = jnp.abs(theirs.action[:, 0]) >= 1.5
    assert held.any() and not held.all()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), ours, theirs)


# --- Inverses

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)) + np.eye(4, 3)


class Spring:
    """A low level with everything a problem may have and nothing that takes long to compile."""

    @staticmethod
    def problem(params) -> Problem:
        bent = lambda goal: 0.1 * jnp.sin(jnp.concatenate([goal, goal[:1]]))
        ways = jnp.concatenate([jnp.eye(3), -jnp.eye(3)])

        def program(segment, at):
            """The shortest way from where one is to the goal, up and down; the log shows the first step's."""
            way = segment.action[0]
            return LinearProgram(
                cost=jnp.ones(6),
                price=0.1 * ways,
                A=ways.T,
                b=-segment.state[0],
                B=jnp.eye(3),
                action=jnp.concatenate([jnp.maximum(way, 0.0), jnp.maximum(-way, 0.0)]),
                goal=segment.next_state[-1],
                least=-math.inf,
            )

        state = StateModel(
            predict=lambda goal, at: (params @ goal + bent(goal))[None],
            observed=lambda segment, at: params @ segment.next_state[-1] - segment.action[0, 0],
            scale=lambda segment, at: 1.0,
            affine=lambda segment, at: (params[None], jnp.zeros((1, 4))),
        )
        action = ActionModel(
            unclipped=lambda goal, at: (params @ (goal - at.state[0]) + bent(goal))[None],
            scale=lambda segment, at: 1.0,
            logged=lambda segment: (params @ segment.next_state[-1] - segment.action[0, 0])[None],
        )
        return Problem(
            project=lambda goal: goal,
            start=lambda segment, at: segment.next_state[-1],
            state=state,
            action=action,
            residual="state",
            observed=lambda segment, at: segment.next_state[-1] + 0.1 * segment.state[0],
            program=program,
            width=lambda segment, at: jnp.array([2.0, 3.0, 4.0]),
            tolerance=20.0,
        )


# Descents that stop early, where rounding has its say; a host that is called in float32.
APART = {"numerical": 1e-3, "reg_analytic": 1e-3, "program": 1e-5}


# Without descent on torques and rescaling, which need another low level, and cross-entropy, whose first draws are as wide as its
# start is far from zero, so that it goes another way.
@pytest.mark.parametrize(
    "inverse", sorted(set(INVERSES) - {"cross_entropy", "rescaled", *(name for name in INVERSES if name.startswith("gradient"))})
)
def test_every_inverse_gives_the_same_goal_from_elsewhere(inverse, x64):
    """As with absolute goals, less where the segment began; nothing lies on the edge of the admissible goals."""
    random = np.random.default_rng(1)
    segments = Segment(*(jnp.asarray(random.normal(size=(16, 2, 3))) for _ in range(3)))
    inner = Spring.problem(jnp.asarray(WEIGHTS))
    moved = relative.problem(relative.Params(jnp.asarray(WEIGHTS), jnp.array([2.0, 3.0, 4.0]), Spring))
    moved = moved._replace(project=inner.project)
    apply = lambda segment: [INVERSES[inverse](problem, segment) for problem in (inner, moved)]
    there, here = jax.jit(jax.vmap(apply))(segments)
    atol = APART.get(inverse, 1e-8)
    np.testing.assert_allclose(here.goal, there.goal - segments.state[:, 0], atol=atol)
    np.testing.assert_allclose(here.residual, there.residual, atol=atol)
    np.testing.assert_allclose(here.deviation, there.deviation, atol=1e-8)
    np.testing.assert_array_equal(here.status, there.status)
    assert (here.status == UNIQUE).all()


@pytest.mark.parametrize("controller", [lqr, mpc])
def test_the_affine_form_is_the_inner_ones_given_the_place(controller, starts, x64):
    p = double(parameters(controller, 1e6))
    inner, moved = controller.problem(p), relative.problem(relative.Params(p, p.limit, controller))
    form = lambda problem, segment: low_level.affine(problem, low_level.prepare(problem, segment))
    random = np.random.default_rng(2)
    segment = Segment(*(jnp.asarray(random.normal(size=(5, size))) for size in (3, 2, 3)))
    (J, r), (J_inner, r_inner) = jax.jit(lambda segment: (form(moved, segment), form(inner, segment)))(segment)
    goal = starts[1][0, 0]
    np.testing.assert_array_equal(J, J_inner)
    np.testing.assert_allclose(J @ goal + r, J_inner @ (segment.state[0] + goal) + r_inner, rtol=1e-10)


def test_the_affine_form_is_the_residual_where_nothing_binds(starts, x64):
    p = double(parameters(lqr, 1e6))
    moved = relative.problem(relative.Params(p, p.limit, lqr))
    x, (goal, other) = starts

    @jax.jit
    @jax.vmap
    def look(x, goal, other):
        segment = linear.play(lqr, p, x, x + goal)
        at = low_level.prepare(moved, segment)
        J, r = low_level.affine(moved, at)
        off = lambda goal: low_level.residual(moved, goal, at)
        return J @ goal + r, off(goal), J @ other + r, off(other)

    at_goal, residual, elsewhere, far = look(x, goal, other)
    np.testing.assert_allclose(at_goal, 0, atol=1e-7)
    np.testing.assert_allclose(residual, 0, atol=1e-7)
    np.testing.assert_allclose(elsewhere, far, rtol=1e-6, atol=1e-6)
    assert np.abs(far).max() > 1


def test_displacements_have_limits_of_their_own():
    problem = relative.problem(relative.Params(parameters(lqr), LIMIT, lqr))
    np.testing.assert_array_equal(problem.project(jnp.array([41.0, -51.0, 6.0])), [40.0, -50.0, 6.0])
    segment = Segment(jnp.ones((5, 3)), jnp.zeros((5, 2)), 3.0 * jnp.ones((5, 3)))
    at = low_level.prepare(problem, segment)
    np.testing.assert_array_equal(low_level.width(problem, at), LIMIT)
    np.testing.assert_array_equal(low_level.observed(problem, at), 2.0 * np.ones(3))
    np.testing.assert_array_equal(low_level.start(problem, at), 2.0 * np.ones(3))


class Bare(toy.Halfway):
    """A low level that offers inverses no more than it must."""

    problem = staticmethod(toy.halfway_problem)


def test_what_the_inner_low_level_lacks_is_lacking():
    problem = relative.problem(relative.Params(jnp.float32(0.5), jnp.ones(1), Bare))
    assert problem.state is problem.observed is problem.closed_form is None and not low_level.is_affine(problem)
    segment = Segment(jnp.array([[3.0]]), jnp.array([[0.5]]), jnp.array([[3.5]]))
    np.testing.assert_allclose(low_level.residual(problem, jnp.array([1.0]), low_level.prepare(problem, segment)), 0.0)


@pytest.mark.parametrize("inverse", ["least_squares", "analytic"])
def test_displacements_of_displacements_are_counted_from_both(inverse):
    """Twice the place in which the goal was given, for a low level that counts from there itself."""
    inner = relative.Params(parameters(lqr, bound=100.0), LIMIT, lqr)
    params = relative.Params(inner, LIMIT, relative)
    x, goal = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.5, 1.0, -0.5])
    segment = jax.tree.map(lambda leaf: leaf[0], play(lqr, inner.params, x, (2.0 * x + goal)[None]))
    memory = relative.plan(params, relative.init(params), x, goal)
    np.testing.assert_allclose(relative.act(params, memory, x, goal)[0], segment.action[0], rtol=1e-5)
    found = jax.jit(lambda segment: INVERSES[inverse](relative.problem(params), segment))(segment)
    assert found.status == UNIQUE
    np.testing.assert_allclose(found.goal, goal, atol=1e-3)
