"""Films: as many frames as decisions and one more, whole files or none, and one clear line for what cannot be filmed."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ohio_jax.errors import UserError
from ohio_jax.render import MADE, render
from ohio_jax.rollout import scripted
from tests.ohio_jax import toy

ROOT = Path(__file__).resolve().parents[2]
# Matplotlib's text layout warns of nothing, but its first use may build a font cache.
pytestmark = pytest.mark.filterwarnings("ignore:Matplotlib is building the font cache")


def line(draw=None):
    return dataclasses.replace(toy.line_task(), render=draw)


def shoot(task, path, policy="half", **changes):
    about = {"seed": 1, "episodes": 2, "decisions": 4, "fps": 10, **changes}
    render(task, task.env, scripted(task.policies[policy]), (), path, **about)


def test_one_frame_a_decision_and_one_to_start_with(tmp_path):
    seen = []

    def draw(axes, place):
        seen.append((float(place.x), float(place.time)))
        axes.plot([0.0, place.time], [0.0, 1.0])

    shoot(line(draw), tmp_path / "half.gif")
    with Image.open(tmp_path / "half.gif") as picture:
        assert picture.format == "GIF" and picture.n_frames == 5 and picture.info["duration"] == 100
        assert picture.size == (288, 144) and picture.info["loop"] == 0
    # Both episodes of each moment, and both are those of the task: half of the way to zero at each decision.
    start = np.asarray(line().instances(1, 2))
    expected = [(x / 2**t, t) for t in range(5) for x in start]
    np.testing.assert_allclose(seen, expected)


def test_a_picture_says_what_made_it(tmp_path):
    """So that the command replaces it, and nobody else's; those of the project among them."""
    shoot(line(lambda axes, place: axes.plot([0.0, place.time], [0.0, 1.0])), tmp_path / "f.gif", decisions=1, episodes=1)
    assert all(MADE in path.read_bytes() for path in (tmp_path / "f.gif", *(ROOT / "results").glob("*.gif")))


def test_a_frame_for_every_other_decision(tmp_path):
    shoot(line(lambda axes, place: axes.plot([0.0, place.time], [0.0, 1.0])), tmp_path / "f.gif", every=2)
    with Image.open(tmp_path / "f.gif") as picture:
        assert picture.n_frames == 3


def test_no_longer_than_the_episode(tmp_path):
    shoot(line(lambda axes, place: axes.plot([0.0, place.time], [0.0, 1.0])), tmp_path / "f.gif", decisions=100, episodes=1)
    with Image.open(tmp_path / "f.gif") as picture:
        assert picture.n_frames == line().env.horizon + 1


def test_what_fails_leaves_the_old_film(tmp_path):
    def draw(axes, place):
        if place.time == 3:
            raise RuntimeError("no ink")

    (tmp_path / "f.gif").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="no ink"):
        shoot(line(draw), tmp_path / "f.gif")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f.gif", b"old")]


@pytest.mark.parametrize(
    ("draw", "name", "message"),
    [
        (None, "f.gif", "render: expected a task that can be drawn, found line"),
        (lambda axes, place: None, "f.mp4", "--out: expected a file name that ends in .gif, found '.*f.mp4'"),
    ],
)
def test_what_cannot_be_filmed(tmp_path, draw, name, message):
    with pytest.raises(UserError, match=message):
        shoot(line(draw), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_reacher_can_be_drawn():
    """The target is green while the finger touches it, red else; the arm ends where the finger is."""
    from matplotlib.figure import Figure
    from ohio_envs.reacher.simulator import Arm, finger
    from ohio_envs.reacher.task import draw

    q = np.array([0.3, -1.1], np.float32)
    tip = np.asarray(finger(jnp.asarray(q)))
    for target, color in ((tip + 0.01, "tab:green"), (tip + 0.1, "tab:red")):
        axes = Figure().subplots()
        draw(axes, Arm(q, np.zeros(2), target, np.int32(0)))
        (circle,), (arm,) = axes.patches, axes.lines
        from matplotlib.colors import to_rgba

        assert circle.get_facecolor() == to_rgba(color)
        np.testing.assert_allclose([arm.get_xdata()[-1], arm.get_ydata()[-1]], tip)
