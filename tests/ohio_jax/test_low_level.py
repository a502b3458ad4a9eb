"""The contract of low levels, for all controllers: models explain what was done, and accelerations say what models say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_bench.runner.sensitivity import low_levels

from ohio_jax import low_level
from ohio_jax.controllers import CONTROLLERS, osc
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, UNIQUE, ActionModel, Problem, Segment, StateModel

LASTING = ("lqr", "mpc", "ilqr", "convex", "pd", "joint_impedance", "osc", "recurrent", "mixture", "relative")
# In deviations of the noise: what float32 leaves, of a convex program's solver and of states that a plant amplifies.
EXACT = dict.fromkeys(CONTROLLERS, 1e-3) | dict.fromkeys(LASTING, 0.05)

each = pytest.mark.parametrize("name", CONTROLLERS)


@functools.cache
def case_of(name):
    if name == "convex":
        pytest.importorskip("cvxpy")
    return low_levels.case(name, 8)


@functools.cache
def compiled(name):
    """All that the models say of a goal and a segment, in one program for all tests of a low level."""
    case = case_of(name)
    problem = case.controller.problem(case.params)

    def of_one(goal, segment):
        at = low_level.prepare(problem, segment)
        residual = lambda goal: low_level.residual(problem, goal, at)
        other = problem.project(0.5 * goal + 0.1 * jnp.arange(1.0, goal.size + 1).reshape(goal.shape))
        found = {"residual": residual(goal), "elsewhere": residual(other)}
        if problem.action is not None:
            found["action_residual"], found["executed_action"] = (
                low_level.action_residual(problem, goal, at),
                low_level.executed_action(problem, goal, at),
            )
        if low_level.is_affine(problem):
            found["J"], found["r"] = low_level.affine(problem, at)
            found["slope"] = jax.jacfwd(residual)(goal)
            found["held"] = jnp.any(low_level.saturated(problem, at)) & (problem.state is not None)
        return found

    return jax.jit(jax.vmap(of_one))


def of_all(name, segments=None):
    """`compiled` of all segments of a case, or of others that were made of them, at the goals that were asked for."""
    case = case_of(name)
    segments = cut(case.segments) if segments is None else segments
    return jax.tree.map(np.asarray, compiled(name)(case.goals, segments))


def cut(segments: Segment, length: int | None = None) -> Segment:
    """The first steps of segments [N, h, ...], the last of them repeated; all without a length."""
    length = segments.action.shape[1] if length is None else length
    rows = np.minimum(np.arange(segments.action.shape[1]), length - 1)
    mask = np.broadcast_to(np.arange(len(rows)) < length, segments.action.shape[:2])
    return Segment(*(leaf[:, rows] for leaf in segments[:3]), mask)


@each
def test_what_a_low_level_did_its_models_explain(name):
    """Residual, action_residual and executed actions, at the goals that were asked for, and not at others."""
    found = of_all(name)
    np.testing.assert_allclose(found["residual"], 0.0, atol=EXACT[name])
    np.testing.assert_allclose(found.get("action_residual", 0.0), 0.0, atol=EXACT[name])
    np.testing.assert_allclose(found.get("executed_action", 0.0), 0.0, atol=0.02)
    elsewhere = found["elsewhere"]
    assert (np.linalg.norm(elsewhere.reshape(len(elsewhere), -1), axis=1) > 0.5).any()


@each
def test_the_affine_form_is_the_models_derivative(name):
    """Where nothing is on a bound; of logged actions on one both leave the entry out."""
    case = case_of(name)
    problem = case.controller.problem(case.params)
    if not low_level.is_affine(problem):
        pytest.skip("not affine")
    found = of_all(name)
    J, r, slope, free = found["J"], found["r"], found["slope"], ~found["held"]
    assert free.sum() >= 3
    # At the goals asked for, entries on bounds do not count: neither here nor there.
    size = np.abs(J).max()
    np.testing.assert_allclose(J[free], slope[free], atol=2e-4 * size)
    np.testing.assert_allclose(np.einsum("nkg,ng->nk", J, case.goals)[free] + r[free], 0.0, atol=max(2e-5 * size, 1e-3))


@each
@pytest.mark.parametrize("inverse", ["analytic", "program"])
def test_accelerations_are_the_models_answer(name, inverse):
    """Wherever both say UNIQUE: the same goal, or, of low levels that round, one that does exactly the same."""
    case = case_of(name)
    problem = case.controller.problem(case.params)
    if problem.program is None if inverse == "program" else problem.closed_form is None and not low_level.is_affine(problem):
        pytest.skip("not offered")

    def both(segment):
        return [INVERSES[name](problem, segment) for name in (inverse, "least_squares")]

    fast, search = jax.tree.map(np.asarray, jax.jit(jax.vmap(both))(case.segments))
    assert (fast.status == UNIQUE).any()
    np.testing.assert_array_less(fast.residual[fast.status == UNIQUE], problem.tolerance)
    rounds = (problem.action is not None and problem.action.execute is not None) or name == "transport"
    if rounds:
        np.testing.assert_allclose(fast.residual[fast.status == UNIQUE], 0.0, atol=1e-3)
    else:
        same = (fast.status == UNIQUE) & (search.status == UNIQUE)
        assert same.any()
        # MPC shows a goal in few directions, along which a search ends early.
        np.testing.assert_allclose(fast.goal[same], search.goal[same], atol=5e-3 if name == "mpc" else 2e-3)


@pytest.mark.parametrize("name", LASTING)
def test_a_segment_cut_short_is_explained_by_the_same_goal(name):
    """Also where what stands in the place of steps that were not taken is a different action: the mask is heeded."""
    case = case_of(name)
    off = lambda segments: of_all(name, segments)["residual"]
    steps = case.segments.action.shape[1]
    if name == "recurrent":  # goals are what was reached, which after fewer steps is something else
        return
    for length in {1, steps - 1}:
        part = cut(case.segments, length)
        np.testing.assert_allclose(off(part), 0.0, atol=EXACT[name])
        spoiled = part.action.copy()
        spoiled[:, length:] = 0.5 * spoiled[:, length:] + 0.1
        np.testing.assert_array_equal(off(part._replace(action=spoiled)), off(part))


@pytest.mark.parametrize("name", ["lqr", "osc", "recurrent", "inventory"])
def test_no_mask_means_all_steps(name):
    case = case_of(name)
    problem = case.controller.problem(case.params)
    off = jax.jit(jax.vmap(lambda goal, segment: low_level.residual(problem, goal, low_level.prepare(problem, segment))))
    np.testing.assert_allclose(off(case.goals, case.segments), of_all(name)["residual"], atol=EXACT[name])


@pytest.mark.parametrize("name", ["lqr", "pd", "osc", "relative"])
def test_goals_come_back_from_segments_cut_short(name):
    case = case_of(name)
    problem = case.controller.problem(case.params)
    found = jax.jit(jax.vmap(functools.partial(INVERSES["least_squares"], problem)))(cut(case.segments, 3))
    sure = np.asarray(found.status) == UNIQUE
    assert sure.mean() > 0.2
    np.testing.assert_allclose(found.goal[sure], case.goals[sure], atol=2e-2)


def test_a_command_that_comes_once_counts_once():
    """A gripper's: at the first step, in one entry of the residual, and in no action that is executed step by step."""
    case = case_of("osc")
    problem = osc.problem(case.params)
    segment, goal = jax.tree.map(lambda leaf: leaf[0], case.segments), jnp.asarray(case.goals[0])
    look = jax.jit(lambda goal, segment: low_level.signed_residual(problem, goal, low_level.prepare(problem, segment)))
    away, side = look(goal, segment)
    assert away.shape == side.shape == (low_levels.STEPS * 7 + 1,) and side[-1] == 0
    action = segment.action.copy()
    action[1:, -1] = -0.3
    np.testing.assert_array_equal(look(goal, segment._replace(action=action))[0], away)
    np.testing.assert_allclose(look(goal.at[-1].add(-0.05), segment)[0][-1], -5.0, rtol=1e-4)
    mask = np.arange(low_levels.STEPS) < 2
    at = low_level.prepare(problem, segment._replace(mask=mask))
    assert float(jnp.asarray(low_level.entries(problem, at))) == 2 * 7 + 1
    assert low_level.entries(problem, low_level.prepare(problem, segment)) is None
    assert low_level.executed_action(problem, goal, at).shape == (low_levels.STEPS * 7,)


def test_bounds_may_depend_on_the_state_and_on_what_is_asked():
    """Orders that round: a pair of stores, the second of which has what the first leaves of the room that the state says."""
    action = ActionModel(
        unclipped=lambda goal, at: goal[None],
        scale=lambda segment, at: 2.0,
        bounds=lambda asked, at: (0.0, jnp.stack([at.state[0, 0], at.state[0, 0] - asked[0, 0]])),
        execute=lambda goal, at: jnp.round(jnp.clip(goal, 0.0, jnp.stack([at.state[0, 0], at.state[0, 0] - goal[0]])))[None],
    )
    problem = Problem(lambda goal: goal, lambda segment, at: segment.action[0], action=action)
    segment = Segment(jnp.array([[5.0]]), jnp.array([[3.0, 1.0]]), jnp.array([[5.0]]))
    at = low_level.prepare(problem, segment)
    goal = jnp.array([3.2, 4.0])
    np.testing.assert_allclose(low_level.executed_action(problem, goal, at), [0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(low_level.residual(problem, goal, at), [0.0, 0.5], atol=1e-6)
    slope = jax.jacfwd(lambda goal: low_level.residual(problem, goal, at))(goal)
    np.testing.assert_allclose(slope, [[0.5, 0.0], [-0.5, 0.0]])


def test_an_action_on_a_bound_that_another_left_it_is_on_it_whatever_is_asked_besides():
    """Of 1.2 the second has what the first leaves; goals that ask a little less of the first explain the second as well."""
    action = ActionModel(
        unclipped=lambda goal, at: goal[None],
        scale=lambda segment, at: 0.01,
        bounds=lambda asked, at: (-1.0, jnp.stack([jnp.ones(1), 1.2 - jnp.clip(asked[:, 0], -1.0, 1.0)], axis=1)),
    )
    problem = Problem(lambda goal: goal, lambda segment, at: segment.state[0], action=action)
    segment = Segment(jnp.zeros((1, 2)), jnp.array([[0.8, 0.4]]), jnp.zeros((1, 2)))
    at = low_level.prepare(problem, segment)
    for asked in (0.8, 0.799, 0.801):
        signed, sign = low_level.signed_residual(problem, jnp.array([asked, 3.0]), at)
        assert sign is not None and sign.tolist() == [0, -1]
        off = low_level.active_residual(signed, sign)
        np.testing.assert_allclose(off, [100.0 * (asked - 0.8), 0.0], atol=1e-3)
    for inverse in ("least_squares", "posterior"):
        assert INVERSES[inverse](problem, segment).status == AMBIGUOUS


@pytest.mark.parametrize("inverse", ["least_squares", "posterior", "cross_entropy"])
def test_rounding_hides_no_bound(inverse):
    """A search from inside ends just below the bound, where the action as rounded is that of every goal beyond."""
    act = lambda goal: jnp.round(20.0 * jnp.clip(goal, -0.52, 0.52)) / 20.0
    action = ActionModel(
        lambda goal, at: jnp.broadcast_to(goal, at.action.shape),
        lambda segment, at: 0.05,
        bounds=lambda unclipped, at: (-0.52, 0.52),
        execute=lambda goal, at: jnp.broadcast_to(act(goal), at.action.shape),
    )
    problem = Problem(lambda goal: jnp.clip(goal, -2.0, 2.0), lambda segment, at: jnp.zeros(1), action=action)
    goals = jnp.array([[0.2], [0.4], [0.51], [1.5], [-0.9]])
    actions = jnp.broadcast_to(act(goals)[:, None], (5, 3, 1))
    found = jax.jit(jax.vmap(functools.partial(INVERSES[inverse], problem)))(Segment(actions, actions, actions))
    np.testing.assert_array_equal(found.status, [UNIQUE, UNIQUE, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS])
    np.testing.assert_allclose(found.residual, 0.0, atol=1e-3)


def test_two_models_and_no_word_which_is_the_residual():
    state = StateModel(lambda goal, at: goal[None], lambda segment, at: segment.next_state[-1], lambda segment, at: 1.0)
    action = ActionModel(lambda goal, at: goal[None], lambda segment, at: 1.0)
    problem = Problem(lambda goal: goal, lambda segment, at: segment.action[0], state, action)
    segment = Segment(jnp.zeros((1, 2)), jnp.ones((1, 2)), jnp.full((1, 2), 3.0))
    with pytest.raises(UserError, match="residual: expected 'state' or 'action'"):
        low_level.residual(problem, jnp.zeros(2), low_level.prepare(problem, segment))
    for name, expected in (("state", -3.0), ("action", -1.0)):
        named = problem._replace(residual=name)
        np.testing.assert_allclose(low_level.residual(named, jnp.zeros(2), low_level.prepare(named, segment)), expected)
    with pytest.raises(UserError, match="expected one that says how it acts"):
        low_level.executed_action(
            problem._replace(action=None), jnp.zeros(2), low_level.prepare(problem._replace(action=None), segment)
        )


def reading(x):
    """What a model of states reads off a segment."""
    return lambda segment, at: x(segment.next_state[-1])


SEEN = StateModel(lambda goal, at: goal[None], reading(lambda x: x), lambda segment, at: 1.0)
ASKED = ActionModel(lambda goal, at: jnp.stack([goal, goal]), lambda segment, at: 1.0)
UNIT = jnp.broadcast_to(jnp.eye(3), (2, 3, 3))
MISSHAPEN = {
    "a column predicted": ({"state": SEEN._replace(predict=lambda goal, at: goal[None, :, None])}, r"\(\(3, 1\), \(3,\)\)"),
    "a column observed": ({"state": SEEN._replace(observed=reading(lambda x: x[:, None]))}, r"\(\(3,\), \(3, 1\)\)"),
    "two of three": ({"state": SEEN._replace(observed=reading(lambda x: x[:2]))}, r"\(\(3,\), \(2,\)\)"),
    "a column asked": ({"action": ASKED._replace(unclipped=lambda goal, at: goal[:, None])}, r"\(2, 3\).*\(3, 1\)"),
    "a column affine": ({"state": SEEN._replace(affine=lambda s, at: (UNIT, jnp.zeros((2, 3, 1))))}, r"\(2, 3, 1\)"),
}


@pytest.mark.parametrize("of", MISSHAPEN)
def test_a_residual_is_a_vector(of):
    """One line where the low level is first asked, not a batch of segments that are all ambiguous."""
    models, message = MISSHAPEN[of]
    problem = Problem(lambda goal: goal, lambda segment, at: segment.state[0], **models)
    segments = Segment(*jnp.zeros((3, 4, 2, 3)))
    for inverse in ("analytic",) if "affine" in of else ("least_squares", "cross_entropy", "numerical"):
        with pytest.raises(UserError, match=f"^low level: .*{message}(\n|$)"):
            jax.jit(jax.vmap(functools.partial(INVERSES[inverse], problem)))(segments)
