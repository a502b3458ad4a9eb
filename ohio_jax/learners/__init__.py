"""Learners, one algorithm a file, all with the same three pure functions::

    init(key, spec, config) -> state
    update(state, batch) -> (state, metrics)
    act(state, obs, key, deterministic) -> action

Numbers of a `Config` are leaves of the state, so `jax.vmap` runs seeds and sweeps and a new value never recompiles;
fields that change the program (counts, switches) are static. A learner with `MC_RETURNS = True` finds in its batches what each
episode went on to earn, one with `NEXT_ACTIONS = True` which action followed.
"""

from ohio_jax.learners import awac, bc, cal_ql, cql, edac, fql, iql, rebrac, riql, sac, sac_n, td3_bc
from ohio_jax.learners.common import Spec

LEARNERS = {
    "bc": bc,
    "iql": iql,
    "cql": cql,
    "cal_ql": cal_ql,
    "sac": sac,
    "td3_bc": td3_bc,
    "rebrac": rebrac,
    "awac": awac,
    "riql": riql,
    "sac_n": sac_n,
    "edac": edac,
    "fql": fql,
}

__all__ = ["LEARNERS", "Spec"]
