"""Operational-space control: the specification's torques, their slopes, and goals recovered under the same and other gains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from ohio_bench.runner.sensitivity import free_panda as arm
from ohio_bench.runner.sensitivity.free_panda import OUTPUT, SAME, STIFFNESS
from ohio_bench.runner.sensitivity.free_panda import osc_params as params
from ohio_envs.manipulation import panda

from ohio_jax import low_level
from ohio_jax.controllers import osc, torques
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Segment

DAMPING = (150.0 * np.ones(6), np.array([3.0] * 3 + [1.0] * 3))

STATE = np.concatenate([panda.NOMINAL, [0.1, -0.2, 0.3, -0.1, 0.2, -0.3, 0.1], panda.NOMINAL + 0.05])
GOAL = np.array([0.025, -0.0125, 0.05, 0.1, -0.2, 0.3, 1.0])


# --- The law


@jax.jit
def torque(gains, bound, goals):
    """(action: Float[gains, m, 8], slope: Float[gains, m, 8, 7]) of goals: Float[m, 7] at the specification's state."""

    def act(gains, goal):
        p = params(gains, bound=bound)
        return osc.act(p, osc.plan(p, osc.init(p), jnp.asarray(STATE), goal), jnp.asarray(STATE), goal)[0]

    each = lambda gains: jax.vmap(lambda goal: (act(gains, goal), jax.jacfwd(functools.partial(act, gains))(goal)))(goals)
    return jax.vmap(each)(gains)


BOTH = np.stack([SAME[0], STIFFNESS[0]]), np.stack([SAME[1], DAMPING[1]])  # all the specification's gains at once
TINY = 1e-6
GOALS = np.stack([GOAL, *(GOAL + TINY * np.eye(7)), *(GOAL - TINY * np.eye(7))])


def test_torques_are_the_specifications(x64):
    """Float64, two sets of gains side by side; robosuite itself rounds rotations to float32."""
    found, _ = torque(BOTH, 1e6 * panda.TORQUE, GOALS)
    first = [27.010145497, -123.361006714, 68.786578045, 75.47760628, 21.168672223, 47.459949173, -31.684516064, 1.0]
    second = [-67.513772521, -66.37229805, -62.377255893, 67.426893763, 12.73331297, 30.522954213, -9.925724534, 1.0]
    np.testing.assert_allclose(found[:, 0], [first, second], rtol=1e-6)


def test_slopes_are_central_differences_and_zero_where_clipped(x64):
    found, slope = torque(BOTH, panda.TORQUE, GOALS)
    assert (np.abs(found[0, 0, [1, 5, 6]]) == [80.0, 12.0, 12.0]).all()
    central = np.moveaxis((found[:, 1:8] - found[:, 8:15]) / (2 * TINY), 1, -1)
    np.testing.assert_allclose(slope[:, 0], central, rtol=1e-5, atol=1e-5)
    assert not slope[0, 0, [1, 5, 6]].any() and slope[0, 0, [0, 2, 3, 4]].any(axis=1).all()


@functools.partial(jax.jit, static_argnames="stale")
def plans(first, later, goals, stale):
    """The poses of goals given one after another, the second in another state."""
    p = params(stale=stale)
    memory = osc.plan(p, osc.init(p), first, goals[0])
    return memory, osc.plan(p, memory, later, goals[1])


def test_goals_start_from_the_pose_and_end_at_the_range(x64):
    first, _ = plans(STATE, STATE, np.stack([GOAL, GOAL]), False)
    np.testing.assert_allclose(first.position, np.array([-0.102768294, 0.0, 1.011043872]) + GOAL[:3], atol=1e-8)
    far = GOAL * [1, 1, 3, 1, 1, 3, 1]
    edge = np.array([*GOAL[:5], 0.5, 1.0])
    edge[2] = 0.05
    _, beyond = plans(STATE, STATE, np.stack([GOAL, far]), False)
    _, on = plans(STATE, STATE, np.stack([GOAL, edge]), False)
    jax.tree.map(np.testing.assert_array_equal, beyond, on)
    np.testing.assert_array_equal(
        torques.outside(np.stack([GOAL, edge, far]), OUTPUT), np.abs(np.stack([GOAL, edge, far]))[:, :6] >= OUTPUT - 1e-12
    )


def test_a_goal_without_rotation_keeps_the_last_ones_orientation_in_compat_only(x64):
    later = STATE + 0.1
    plain = GOAL * [1, 1, 1, 0, 0, 0, 1]
    asked, kept = plans(STATE, later, np.stack([GOAL, plain]), True)
    np.testing.assert_array_equal(kept.rotation, asked.rotation)
    _, own = plans(STATE, later, np.stack([GOAL, plain]), False)
    assert np.abs(own.rotation - asked.rotation).max() > 0.1
    # At first it is the orientation at reset.
    reset, _ = plans(STATE, later, np.stack([plain, plain]), True)
    there, _ = plans(np.concatenate([STATE[14:], STATE[7:]]), later, np.stack([plain, plain]), False)
    np.testing.assert_allclose(reset.rotation, there.rotation, atol=1e-12)


def test_rotations_and_vectors_are_inverse_and_smooth(x64):
    random = np.random.default_rng(0)
    axis = random.normal(size=(40, 3))
    vector = axis / np.linalg.norm(axis, axis=1, keepdims=True) * np.geomspace(1e-9, 3.1, 40)[:, None]
    both = jax.jit(jax.vmap(lambda v: (osc.rotation_of(v), osc.vector_of(osc.rotation_of(v)))))
    R, back = both(vector)
    np.testing.assert_allclose(R @ np.swapaxes(R, 1, 2), np.tile(np.eye(3), (40, 1, 1)), atol=1e-14)
    np.testing.assert_allclose(back, vector, rtol=1e-9, atol=1e-14)
    slope = jax.jit(jax.vmap(jax.jacfwd(lambda v: osc.vector_of(osc.rotation_of(v)))))
    np.testing.assert_allclose(slope(np.stack([np.zeros(3), vector[20]])), np.tile(np.eye(3), (2, 1, 1)), atol=1e-9)


def test_what_is_left_of_a_rotation():
    """Sine of the angle by default, which shrinks again beyond a right angle; the angle itself with log_map."""
    R = osc.rotation_of(jnp.array([0.0, 0.0, 2.0]))
    np.testing.assert_allclose(osc.turn_left(params(), R), [0, 0, np.sin(2.0)], atol=1e-6)
    np.testing.assert_allclose(osc.turn_left(params(log_map=True), R), [0, 0, 2.0], atol=1e-6)


# --- The inverse


@jax.jit
def invert(p, segments):
    return jax.lax.map(lambda segment: INVERSES["least_squares"](osc.problem(p), segment), segments, batch_size=8)


N = 256


def logs(scale, still=0.1):
    goal = arm.goals(N, OUTPUT, scale)
    return arm.play(osc, params(), arm.states(N, still), goal), goal


def test_unsaturated_goals_come_back_and_saturated_ones_are_explained_or_flagged():
    segments, goal = logs(0.2)
    held = arm.saturated(segments).any(axis=(1, 2))
    assert 0.2 < held.mean() < 0.8
    found = invert(params(), segments)
    error = np.abs(found.goal - goal).max(axis=1)
    assert np.median(error[~held]) < 1e-5 and (found.status[~held] == UNIQUE).all() and found.converged[~held].all()
    explained = found.residual < osc.problem(params()).tolerance
    assert explained.mean() > 0.98 and (found.status[~explained] != UNIQUE).all()
    # What is taken for the only goal is the goal.
    assert np.quantile(error[found.status == UNIQUE], 0.95) < 1e-3
    np.testing.assert_array_equal(found.goal[:, 6], goal[:, 6])


def test_goals_that_saturate_nearly_everything_are_explained_all_the_same():
    """Random goals of the whole range: half of all torques lie on their bounds, and several goals explain many segments."""
    segments, goal = logs(1.0, still=0.3)
    assert 0.35 < arm.saturated(segments).mean() < 0.6
    found = invert(params(), segments)
    # What is taken for the only goal is it, also where it takes a winding way between torques on their bounds to get there.
    share = (np.abs(found.goal - goal)[:, :6] / OUTPUT).max(axis=1)[found.status == UNIQUE]
    assert np.quantile(share, 0.9) < 0.01 and found.converged.mean() > 0.95
    assert (found.residual < osc.problem(params()).tolerance).mean() > 0.9
    assert 0.2 < (found.status == AMBIGUOUS).mean() < 0.8
    again = arm.play(osc, params(), segments.state[:, 0], np.asarray(found.goal))
    near = np.abs(again.action - segments.action)[..., :7] / panda.TORQUE
    assert np.median(near.max(axis=(1, 2))) < 0.01


def test_other_gains_leave_a_residual():
    """The original's loss, in (N m)^2: a softer rotation explains torques but for the bend of the sine, more damping less so."""
    segments, goal = logs(0.2)
    free = ~arm.saturated(segments).any(axis=(1, 2))
    wide = np.array([0.4] * 3 + [1.6] * 3)
    loss = {}
    for name, gains in (("kp", STIFFNESS), ("kd", DAMPING)):
        found = invert(params(gains, wide), segments)
        assert (found.status[free] == UNEXPLAINED).mean() > 0.9 and np.isfinite(found.residual).all()
        again = arm.play(osc, params(gains, wide, bound=1e6 * panda.TORQUE), segments.state[:, 0], np.asarray(found.goal))
        loss[name] = np.median(np.sum(np.square(again.action - segments.action)[free, 0, :7], axis=1) / 7)
        assert not torques.outside(np.asarray(found.goal), wide)[free].any(axis=1).mean() > 0.2
    assert loss["kp"] < loss["kd"] < 100.0
    # The stiffness that is left of three times as much asks for a goal three times as far.
    turned = np.linalg.norm(goal[free, 3:6], axis=1)
    found = invert(params(STIFFNESS, wide), segments)
    ratio = np.linalg.norm(np.asarray(found.goal)[free, 3:6], axis=1) / turned
    assert 2.0 < np.median(ratio) < 4.5


@pytest.mark.parametrize("gains", [STIFFNESS, DAMPING], ids=["stiffness", "damping"])
def test_the_last_per_cent_is_not_fitted_with_goals_far_off(gains):
    """Where wrist joints saturate, one direction hardly shows: what SciPy finds, in float64, is hardly better and far away."""
    wide = np.array([0.4] * 3 + [1.6] * 3)
    segments, _ = logs(0.2)
    held = np.flatnonzero(arm.saturated(segments).any(axis=(1, 2)))[:24]
    found = jax.tree.map(lambda x: np.asarray(x)[held], invert(params(gains, wide, prior_std=OUTPUT), segments))
    problem, edge = osc.problem(params(gains, wide, prior_std=OUTPUT)), np.append(wide, 1.0)
    squared, turned = [], []
    with jax.enable_x64(True):
        off = functools.partial(low_level.residual, problem)
        prepare, residual, slope = jax.jit(functools.partial(low_level.prepare, problem)), jax.jit(off), jax.jit(jax.jacfwd(off))
        for row, goal in zip(held, found.goal.astype(float), strict=True):
            known = prepare(jax.tree.map(lambda x, row=row: np.asarray(x, float)[row], segments))
            best = scipy.optimize.least_squares(
                lambda goal, known=known: np.asarray(residual(goal, known)),
                np.clip(goal, 1e-9 - edge, edge - 1e-9),
                lambda goal, known=known: np.asarray(slope(goal, known)),
                bounds=(-edge, edge),
                x_scale="jac",
            )
            squared.append(2 * best.cost)
            turned.append(np.linalg.norm(best.x[3:6]))
    above = np.square(found.residual) / squared
    assert np.median(above) < 1.01 and np.quantile(above, 0.8) < 1.05
    assert np.linalg.norm(found.goal[:, 3:6], axis=1).mean() < 0.65 * np.mean(turned)


def test_of_goals_that_explain_a_segment_the_nearest_is_returned():
    """The one given explains it as well, so what is returned is hardly ever farther from the start, and mostly nearer."""
    segments, goal = logs(1.0, still=0.3)
    found = invert(params(), segments)
    several = (found.status == AMBIGUOUS) & (found.residual < 0.1)
    size = lambda goal: np.linalg.norm(goal[:, :6] / OUTPUT, axis=1)[several]
    shorter = size(np.asarray(found.goal)) / size(goal)
    assert several.sum() > 50 and np.median(shorter) < 0.98
    assert np.quantile(shorter, 0.9) < 1.01 and np.quantile(shorter, 0.99) < 1.15


@pytest.mark.parametrize("gains", [STIFFNESS, DAMPING], ids=["stiffness", "damping"])
def test_what_is_returned_is_the_most_likely_goal(gains):
    """Under noise of unknown size and the prior, counted in float64 and searched by SciPy from there and from the start."""
    wide = np.array([0.4] * 3 + [1.6] * 3)
    p = params(gains, wide, prior_std=OUTPUT)
    segments, _ = logs(0.5, still=0.2)
    found, edge = jax.tree.map(np.asarray, invert(p, segments)), np.append(wide, 1.0)
    problem, above = osc.problem(p), []
    with jax.enable_x64(True):

        def surprise(goal, known):
            k = known.segment.action[:, :-1].size + 1
            squared = jnp.sum(jnp.square(low_level.residual(problem, goal, known)))
            prior = jnp.square((goal - low_level.start(problem, known)) / low_level.width(problem, known))
            return k * jnp.log(squared / k) + jnp.sum(prior)

        prepare, look = jax.jit(functools.partial(low_level.prepare, problem)), jax.jit(jax.value_and_grad(surprise))
        for row in range(12):
            known = prepare(jax.tree.map(lambda x, row=row: np.asarray(x, float)[row], segments))
            begins = [
                np.clip(goal, -edge, edge) for goal in (np.asarray(found.goal[row], float), low_level.start(problem, known))
            ]
            call = lambda goal, known=known: tuple(np.asarray(x, float) for x in look(goal, known))
            ends = [
                scipy.optimize.minimize(call, begin, jac=True, bounds=list(zip(-edge, edge, strict=True))) for begin in begins
            ]
            above.append(float(look(begins[0], known)[0]) - min(end.fun for end in ends))
    assert np.median(above) < 0.1 and np.quantile(above, 0.9) < 1.0


def test_goals_beyond_the_range_end_at_its_edge_and_say_so():
    segments, goal = logs(0.2)
    narrow = 0.14 * OUTPUT
    free = ~arm.saturated(segments).any(axis=(1, 2))
    beyond, well = ((np.abs(goal[:, :6]) > share * narrow).any(axis=1) for share in (1.0, 1.25))
    found = invert(params(output=narrow), segments)
    assert (np.abs(found.goal[:, :6]) <= narrow + 1e-6).all()
    within, without = free & ~beyond, free & well  # what lies a little outside is explained from the edge
    np.testing.assert_allclose(found.goal[within], goal[within], atol=1e-4)
    assert (found.status[within] == UNIQUE).all()
    assert (found.status[without] == UNEXPLAINED).mean() > 0.8
    assert torques.outside(found.goal, narrow)[without].any(axis=1).mean() > 0.95


def test_a_bad_segment_fails_alone():
    segments, _ = logs(0.2)
    clean = invert(params(), segments)
    poisoned = invert(params(), jax.tree.map(lambda x: x.at[1].set(jnp.nan), segments))
    assert poisoned.status[1] == FAILED and np.isfinite(poisoned.goal).all() and (np.asarray(poisoned.goal[1, :6]) == 0).all()
    keep = np.arange(N) != 1
    np.testing.assert_array_equal(poisoned.goal[keep], clean.goal[keep])


def equations(jaxpr):
    """All primitives of a program, with those of the programs inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


@pytest.mark.parametrize("inverse", ["least_squares", "numerical", "cross_entropy", "implicit", "posterior"])
def test_what_no_goal_changes_is_computed_once(inverse):
    """No kinematics inside any loop: no cosine of the seven joints."""
    of = lambda size: jax.ShapeDtypeStruct((arm.STEPS, size), jnp.float32)
    program = jax.make_jaxpr(lambda s: INVERSES[inverse](osc.problem(params()), s))(Segment(of(21), of(8), of(21)))
    bends = lambda equations: [e for e in equations if e.primitive.name == "cos" and e.outvars[0].aval.shape[-1:] == (7,)]
    loops = [e for e in equations(program.jaxpr) if e.primitive.name in ("while", "scan")]
    assert bends(equations(program.jaxpr)) and loops
    assert not any(bends(equations(_body(loop))) for loop in loops)


def _body(loop):
    return (loop.params["body_jaxpr"] if "body_jaxpr" in loop.params else loop.params["jaxpr"]).jaxpr


def test_the_reached_pose_read_as_a_goal():
    """Zero where nothing moved; after a turn of the first joint alone, that turn about the vertical."""
    x = np.tile(arm.states(1, 0.0), (arm.STEPS, 1))
    turned = x.copy()
    turned[-1, 0] += 0.2
    problem = osc.problem(params())
    look = jax.jit(lambda s: low_level.observed(problem, low_level.prepare(problem, s)))
    u = np.zeros((arm.STEPS, 8), np.float32)
    np.testing.assert_allclose(look(Segment(x, u, x)), np.zeros(7), atol=1e-5)
    seen = look(Segment(x, u, turned))
    np.testing.assert_allclose(seen[3:6], [0.0, 0.0, 0.2], atol=1e-5)
    assert np.abs(seen[:3]).max() == pytest.approx(0.05)  # at the edge of the range


# --- Other gains in closed form


@pytest.mark.parametrize("log_map", [False, True])
def test_rescaled_goals_make_the_same_torques_where_they_are_given(log_map, x64):
    """At the first state, whatever gain changed; there least squares on that step alone finds the same goal."""
    wide = np.array([1.0] * 3 + [1.5] * 3)
    x, asked = (np.asarray(part, float) for part in (arm.states(24, 0.3), arm.goals(24, OUTPUT, 0.4)))
    old = params(output=wide, bound=20.0 * panda.TORQUE, log_map=log_map)

    def torque(p, x, goal):
        return osc.act(p, osc.plan(p, osc.init(p), x, goal), x, goal)[0]

    for gains in (STIFFNESS, DAMPING, (np.array([90.0] * 3 + [60.0] * 3), np.array([0.5] * 3 + [2.0] * 3))):
        new = params(gains, wide, bound=20.0 * panda.TORQUE, log_map=log_map)

        def compare(x, goal, new=new):
            there, logged = osc.rescaled(old, new, x, goal), torque(old, x, goal)
            found = INVERSES["least_squares"](osc.problem(new), Segment(x[None], logged[None], x[None]))
            return there, logged, torque(new, x, there), found.goal

        there, logged, made, found = jax.jit(jax.vmap(compare))(jnp.asarray(x), jnp.asarray(asked))
        assert np.abs(there[:, :6]).max() < 1.5  # else a bound would have its say
        np.testing.assert_allclose(made, logged, atol=1e-8)
        assert (np.abs(made[:, :7]) < 20.0 * panda.TORQUE).all()
        np.testing.assert_allclose(found, there, atol=1e-4)
        np.testing.assert_array_equal(there[:, 6], asked[:, 6])


def test_rescaling_is_the_ratio_of_stiffness_at_rest_and_an_offset_under_damping(x64):
    """To first order in the rotation; what cannot be had is a right angle."""
    x, goal = np.asarray(arm.states(1, 0.0), float)[0], np.array([0.01, -0.02, 0.03, 0.002, 0.001, -0.003, 1.0])
    soft, damped = params(STIFFNESS), params(DAMPING)
    np.testing.assert_allclose(osc.rescaled(params(), soft, x, goal)[:6], goal[:6] * ([1] * 3 + [3] * 3), rtol=1e-4)
    np.testing.assert_allclose(osc.rescaled(params(), damped, x, goal), goal, atol=1e-12)
    moving = np.concatenate([x[:7], 0.1 * np.arange(7), x[14:]])
    speed = np.asarray(osc.site_velocity(panda.chain(), jnp.asarray(moving)))
    offset = 4.0 / np.sqrt(150.0) * speed[:3]  # 2 (3 - 1) sqrt(kp) v / kp
    np.testing.assert_allclose((osc.rescaled(params(), damped, moving, goal) - goal)[:6], [*offset, 0, 0, 0], atol=1e-12)
    far = osc.rescaled(params(), soft, x, np.array([0, 0, 0, 0, 0, 1.0, 1.0]))
    np.testing.assert_allclose(far[3:6], [0, 0, np.pi / 2], atol=1e-9)
    width = osc.prior_width(params(), damped, OUTPUT, np.abs(speed))
    np.testing.assert_allclose(width, OUTPUT + np.abs([*offset, 0, 0, 0]), rtol=1e-9)
    width = osc.prior_width(params(), soft, OUTPUT, np.abs(speed))
    less = 2.0 * (np.sqrt(150.0) - np.sqrt(50.0)) / 50.0
    np.testing.assert_allclose(width, OUTPUT * ([1] * 3 + [3] * 3) + np.abs(speed) * ([0] * 3 + [less] * 3), rtol=1e-9)
