"""Rigid chains: kinematics, mass matrix and bias force of the Panda against MuJoCo and the specification's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs.manipulation import panda

from ohio_jax.dynamics.chain import bias, frames, jacobian, mass_matrix, pose

# The arm from the specification's table, body by body: hand, gripper and fingers are no part of the last link here.
MODEL = """
<mujoco>
  <compiler angle="radian" autolimits="false" inertiafromgeom="false"/>
  <option gravity="0 0 -9.81"/>
  <worldbody><body pos="-0.56 0 0.912">
  <body pos="0 0 .333"><joint axis="0 0 1" armature="5"/>
    <inertial pos="0 0 -.07" mass="3" diaginertia=".3 .3 .3"/>
  <body quat="1 -1 0 0"><joint axis="0 0 1" armature="2.5"/>
    <inertial pos="0 -.1 0" mass="3" diaginertia=".3 .3 .3"/>
  <body pos="0 -.316 0" quat="1 1 0 0"><joint axis="0 0 1" armature="1.6666666666666667"/>
    <inertial pos=".04 0 -.05" mass="2" diaginertia=".2 .2 .2"/>
  <body pos=".0825 0 0" quat="1 1 0 0"><joint axis="0 0 1" armature="1.25"/>
    <inertial pos="-.04 .05 0" mass="2" diaginertia=".2 .2 .2"/>
  <body pos="-.0825 .384 0" quat="1 -1 0 0"><joint axis="0 0 1" armature="1"/>
    <inertial pos="0 0 -.15" mass="2" diaginertia=".2 .2 .2"/>
  <body quat="1 1 0 0"><joint axis="0 0 1" armature="0.8333333333333334"/>
    <inertial pos=".06 0 0" mass="1.5" diaginertia=".1 .1 .1"/>
  <body pos=".088 0 0" quat="1 1 0 0"><joint axis="0 0 1" armature="0.7142857142857143"/>
    <inertial pos="0 0 .08" mass=".5" diaginertia=".05 .05 .05"/>
  <body pos="0 0 .1065" quat=".924 0 0 -.383"><inertial pos="0 0 0" mass=".5" diaginertia=".05 .05 .05"/>
  <body quat="1 0 0 -1"><inertial pos="0 0 .17" quat="1 1 0 0" mass=".3" diaginertia=".09 .07 .05"/>
    <site name="grip" pos="0 0 .097"/>
    <body pos="0 0 .0524" quat="1 0 0 1"><joint type="slide" axis="0 1 0" armature="1"/>
      <inertial pos="0 0 .05" mass=".1" diaginertia=".01 .01 .005"/>
      <body pos="0 .0085 .056"><inertial pos="0 0 0" mass=".01" diaginertia=".01 .01 .01"/></body></body>
    <body pos="0 0 .0524" quat="1 0 0 1"><joint type="slide" axis="0 1 0" armature="1"/>
      <inertial pos="0 0 .05" mass=".1" diaginertia=".01 .01 .005"/>
      <body pos="0 -.0085 .056"><inertial pos="0 0 0" mass=".01" diaginertia=".01 .01 .01"/></body></body>
  </body></body></body></body></body></body></body></body></body></body></worldbody>
</mujoco>
"""


@jax.jit
def look(q, v):
    """(position, rotation, Jacobian, mass matrix, bias force) of states q, v: Float[m, 7]."""

    def one(state):
        q, v = state
        chain = panda.chain()
        at = frames(chain, q)
        return *pose(chain, at), jacobian(chain, at), mass_matrix(chain, at), bias(chain, at, v)

    return jax.lax.map(one, (q, v), batch_size=8)


def states(n=64):
    random = np.random.default_rng(0)
    return random.uniform(panda.LOWER, panda.UPPER, (n, 7)), 2.0 * random.normal(size=(n, 7))


def references(qs, vs):
    mujoco = pytest.importorskip("mujoco")
    model = mujoco.MjModel.from_xml_string(MODEL)
    data = mujoco.MjData(model)
    for q, v in zip(qs, vs, strict=True):
        data.qpos[:], data.qvel[:] = [*q, *panda.FINGERS], [*v, 0.0, 0.0]
        mujoco.mj_forward(model, data)
        M, J = np.zeros((9, 9)), np.zeros((6, 9))
        mujoco.mj_fullM(model, data, M)
        mujoco.mj_jacSite(model, data, J[:3], J[3:], 0)
        site = data.site("grip")
        yield site.xpos.copy(), site.xmat.reshape(3, 3).copy(), J[:, :7], M[:7, :7], data.qfrc_bias[:7].copy()


def test_everything_equals_mujoco(x64):
    """To round-off in float64, with fingers as bodies of their own there and as a part of the last link here."""
    q, v = states()
    for ours, theirs in zip(look(q, v), zip(*references(q, v), strict=True), strict=True):
        np.testing.assert_allclose(ours, np.stack(theirs), rtol=1e-10, atol=1e-10)


def test_single_precision_is_enough():
    """As close to MuJoCo as the specification says float32 comes: 3e-7 of poses, 2e-6 of the mass matrix, 1.4e-5 of the bias."""
    q, v = states()
    position, rotation, J, M, b = (np.stack(each) for each in zip(*references(q, v), strict=True))
    ours = look(jnp.asarray(q, jnp.float32), jnp.asarray(v, jnp.float32))
    assert all(x.dtype == jnp.float32 for x in ours)
    for x, exact, tolerance in zip(ours, (position, rotation, J, M, b), (1e-6, 1e-6, 2e-6, 1e-5, 1e-4), strict=True):
        np.testing.assert_allclose(x, exact, atol=tolerance)


def test_the_specifications_numbers(x64):
    q, v = panda.NOMINAL, np.array([0.1, -0.2, 0.3, -0.1, 0.2, -0.3, 0.1])
    position, _, J, M, b = (x[0] for x in look(np.tile(q, (64, 1)), np.tile(v, (64, 1))))
    near = lambda x, wanted: np.testing.assert_allclose(x, wanted, atol=1e-8)
    near(position, [-0.102768294, 0.0, 1.011043872])
    near(J @ v, [-0.06319378, 0.184786452, 0.026045337, 0.1355056, 0.2, 0.105658085])
    near(np.diag(M), [7.322317317, 4.921786277, 3.344730677, 2.86617127, 1.510221605, 1.221962486, 0.914389726])
    near(b, [-0.021656206, -24.640616097, -0.034956777, 12.350328638, -0.034876299, 2.420849845, -0.016321336])


def test_the_jacobian_is_the_derivative_and_the_force_that_of_the_energy(x64):
    """dE/dt of a chain under no torque but the bias, E = 1/2 v'Mv + gravity: Lagrange's equations by central differences."""
    q, v = (x[0] for x in states(1))
    step = 1e-5
    shift = np.concatenate([np.zeros((1, 7)), step * np.eye(7), -step * np.eye(7)])
    tiles = np.concatenate([q + shift, np.tile(q, (49, 1))])  # of one length with the other tests: one program
    position, rotation, J, M, b = look(tiles, np.tile(v, (64, 1)))
    slope = lambda x: np.moveaxis((x[1:8] - x[8:15]) / (2 * step), 0, -1)
    np.testing.assert_allclose(slope(position), J[0, :3], atol=1e-8)
    spin = slope(rotation)
    for i in range(7):
        cross = spin[:, :, i] @ rotation[0].T
        np.testing.assert_allclose([cross[2, 1], cross[0, 2], cross[1, 0]], J[0, 3:, i], atol=1e-8)
    # Coriolis and centrifugal torques: d(Mv)/dt at constant v, less 1/2 d(v'Mv)/dq; gravity is what is left at rest.
    dM = slope(M)
    moving = np.einsum("ijk,j,k->i", dM, v, v) - 0.5 * np.einsum("jki,j,k->i", dM, v, v)
    np.testing.assert_allclose(b[0] - look(tiles, np.zeros((64, 7)))[4][0], moving, atol=1e-7)
