"""Any convex program as low-level policy: a CVXPY problem whose optimum is the action. Needs the extra `convex`.

- goal, state: `Float[g]`, `Float[n]`, the values of its two parameters.
- action: `Float[m]`, the value of one of its variables.

cvxpylayers (Agrawal et al. 2019) brings the problem into a form whose optimum diffcp differentiates. Both work outside compiled
code: `jit` calls back to the host, a whole batch at once. So anything may be tried here; what must be fast is better written
like `mpc`.
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

from ohio_jax.controllers import closed_loop, stateless
from ohio_jax.errors import UserError
from ohio_jax.extras import imported
from ohio_jax.low_level import ActionModel, Problem, Segment


@dataclass(frozen=True, eq=False)
class CvxpyProgram:
    """A CVXPY problem made ready by `program`; equal to itself only, so that what was compiled for it is found again.

    Attributes:
        form: cvxpylayers' canonical form.
        place: `Int[n + g]`, the form's columns of state and goal.
        action: `m`.
        mode: of diffcp.
    """

    form: Any
    place: np.ndarray
    action: int
    mode: str


def program(problem, state, goal, action, mode: str = "dense", **options: Any) -> CvxpyProgram:
    """Makes a `cvxpy.Problem` with the `cvxpy.Parameter`s state: [n] and goal: [g] and the `cvxpy.Variable` action: [m] ready.

    Args:
        mode: how diffcp solves for derivatives; "lsqr" is for problems of thousands of unknowns.
        **options: diffcp's `solve_method` and that solver's own; none means SCS to 1e-10.

    Raises:
        UserError: where the extra is missing, for a problem that is not DPP (whose optimum cannot be differentiated), for
            parameters other than these two, and for a state, goal or action that is no plain vector of the problem.
    """
    parse_args = imported("convex", "cvxpylayers.utils.parse_args").parse_args
    names = lambda found: ", ".join(sorted(x.name() for x in found))
    if not problem.is_dpp():
        raise UserError("convex: expected a DPP problem (see cvxpy.org, disciplined parametrized programming), found another")
    if {p.id for p in problem.parameters()} != {state.id, goal.id}:
        raise UserError(f"convex: expected the parameters {names([state, goal])}, found {names(problem.parameters())}")
    if action.id not in {v.id for v in problem.variables()}:
        raise UserError(f"convex: expected the action among the variables {names(problem.variables())}, found {action.name()}")
    for x in (state, goal, action):
        if x.ndim != 1:
            raise UserError(f"convex: expected the vector {x.name()}, found shape {x.shape}")
    options = options or {"solve_method": "SCS", "eps": 1e-10}
    form = parse_args(problem, [action], [state, goal], None, solver_args=options)
    entries = np.arange(state.size + goal.size)
    goal_first = form.user_order_to_col_order == (1, 0)
    return CvxpyProgram(form, np.roll(entries, -goal.size) if goal_first else entries, action.size, mode)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def optimum(program: CvxpyProgram, state: Float[Array, "n"], goal: Float[Array, "g"]) -> Float[Array, "m"]:
    """`Float[m]`, the action; NaN where the program has no solution, or the solver finds none. For `jit`, `vmap` and `grad`."""
    return _solve(program, state, goal, 0)[0]


@optimum.defjvp
def _derivative(program: CvxpyProgram, at, along) -> tuple[jax.Array, jax.Array]:
    # The whole Jacobian, so that the rule is linear in `along` and works forward and backward.
    state, goal = at
    u, J = _solve(program, state, goal, program.place.size)
    return u, J @ jnp.concatenate(along)


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        program: see `program`.
        limit: `Float[g]`, largest goal.
        noise: `Float[m]`, deviation of logged actions.
        read: `read(state) -> Float[g]`, the goal that a reached state stands for, where inverses begin; as it is unless said
            otherwise.
    """

    program: CvxpyProgram = struct.field(pytree_node=False)
    limit: jax.Array
    noise: jax.Array
    read: Any = struct.field(pytree_node=False, default=lambda state: state)


plan = stateless.plan


def init(params: Params) -> Bool[Array, ""]:
    """`Bool[]`, whether the last step's program was solved."""
    return jnp.bool_(True)


def act(
    params: Params, memory: Bool[Array, ""], state: Float[Array, "n"], goal: Float[Array, "g"]
) -> tuple[Float[Array, "m"], Bool[Array, ""]]:
    """`Float[m]`, the optimum, differentiable in goal and state; 0 where there is none, and the memory says so."""
    u = optimum(params.program, state, goal)
    solved = jnp.all(jnp.isfinite(u))
    return jnp.where(solved, u, 0.0), solved


def problem(params: Params) -> Problem:
    """Action model: the optimum in each observed state, in units of `noise`; NaN where there is none. Its bounds, which may be
    anything, are part of the program; its derivative is that of the optimality conditions.
    """
    return Problem(
        project=lambda goal: jnp.clip(goal, -params.limit, params.limit),
        start=_reached,
        action=ACTION,
        prepare=lambda segment: stateless.Context(params, segment.state),
        observed=_reached,
        width=closed_loop.limit,
    )


def _reached(segment: Segment, at: stateless.Context) -> jax.Array:
    return at.params.read(segment.next_state[-1])


def _optima(goal: jax.Array, at: stateless.Context) -> jax.Array:
    return jax.vmap(lambda state: optimum(at.params.program, state, goal))(at.state)


ACTION = ActionModel(_optima, closed_loop.noise)


def _solve(program: CvxpyProgram, state: jax.Array, goal: jax.Array, columns: int) -> tuple[jax.Array, jax.Array]:
    """The action, `Float[m]`, and its derivative by (state, goal), `Float[m, columns]`, all columns or none."""
    dtype = jnp.result_type(state, goal)
    # The callback's thread does not see `with jax.enable_x64()`: there float64 arrives rounded, unless it is set globally.
    shapes = tuple(jax.ShapeDtypeStruct(shape, dtype) for shape in ((program.action,), (program.action, columns)))
    host = functools.partial(_on_host, program, columns, dtype)
    return jax.pure_callback(host, shapes, state, goal, vmap_method="broadcast_all")


def _on_host(program: CvxpyProgram, columns: int, dtype, state, goal) -> tuple[np.ndarray, np.ndarray]:
    """`_solve` of a batch: [..., n] and [..., g] to [..., m] and [..., m, columns], NaN and 0 where there is no solution."""
    import diffcp

    form, both = program.form, np.concatenate([np.asarray(state), np.asarray(goal)], axis=-1)
    given = both.astype(np.float64).reshape(-1, program.place.size)
    values = np.ones((program.place.size + 1, len(given)))  # the form's last column is a constant
    values[program.place] = given.T
    A, q = form.reduced_A.reduced_mat, form.q
    data = form.solver_ctx.jax_to_data(None, q @ values, A @ values)
    answer = form.var_recover[0].primal
    solve = functools.partial(diffcp.solve_and_derivative_internal, mode=program.mode) if columns else diffcp.solve_internal
    u, J = np.full((len(given), program.action), np.nan), np.zeros((len(given), program.action, columns))

    def one(i: int) -> None:
        try:
            found = solve(data.As[i], data.bs[i], data.cs[i], data.cone_dict, raise_on_error=False, **data.options)
            if found["info"]["status"].lower() != "solved":
                return
            for k in range(columns and program.action):
                unit = np.zeros_like(found["x"])
                unit[answer.start + k] = 1.0
                dA, db, dc = found["DT"](unit, np.zeros_like(found["y"]), np.zeros_like(found["s"]))
                slope = A.T @ np.concatenate([-dA.data, db[data.b_idxs[i]]]) + q.T @ np.append(dc, 0.0)
                J[i, k] = slope[program.place]
            u[i] = found["x"][answer]
        except Exception:  # one sample's trouble is no reason to lose the batch
            J[i] = 0.0

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, np.flatnonzero(np.all(np.isfinite(given), axis=1))))
    as_given = lambda y: y.reshape(*both.shape[:-1], *y.shape[1:]).astype(dtype)
    return as_given(u), as_given(J)
