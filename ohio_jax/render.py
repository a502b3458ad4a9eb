"""Moving pictures of a policy: episodes side by side, a frame for every decision or every so many, written as a GIF."""

import functools
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.errors import UserError
from ohio_jax.files import write_bytes
from ohio_jax.progress import progress
from ohio_jax.rollout import Act, episode_keys, horizon_scan
from ohio_jax.task import Task

MADE = b"made by ohio-jax render"  # the comment in each file


@functools.partial(jax.jit, static_argnames=("act", "frames"))
def _states(env, act: Act, params, instances, keys, frames: int):
    """The simulator's states, leading axes [frames + 1, episodes]."""

    def episode(instance, key):
        first, later = horizon_scan(env, act, params, instance, key, lambda *seen: seen[-1].pipeline_state, frames)
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first.pipeline_state, later)

    return jax.vmap(episode, out_axes=1)(instances, keys)


def render(
    task: Task,
    env: Any,
    act: Act,
    params: Any,
    path: str | Path,
    seed: int,
    episodes: int,
    decisions: int,
    fps: float,
    every: int = 1,
) -> None:
    """Writes the first `decisions` of so many episodes.

    Args:
        env: the environment the policy acts in.
        act, params: see `ohio_jax.rollout`.
        fps: frames a second, one of `every` decisions.

    Raises:
        UserError: for a task that cannot be drawn and a file name that does not end in .gif.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    if task.render is None:
        raise UserError(f"render: expected a task that can be drawn, found {task.name}")
    if Path(path).suffix != ".gif":
        raise UserError(f"--out: expected a file name that ends in .gif, found {str(path)!r}")
    draw, decisions = task.render, min(decisions, env.horizon)
    states = _states(env, act, params, task.instances(seed, episodes), episode_keys(seed, episodes), decisions)
    states = jax.tree.map(np.asarray, states)
    figure = Figure(figsize=(2.4 * episodes, 2.4), dpi=60, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots(1, episodes, squeeze=False)[0]
    pictures, shown = [], range(0, decisions + 1, every)
    with progress(f"render {task.name}", len(shown), "frame") as bar:
        for number in shown:
            for episode, ax in enumerate(axes):
                ax.clear()
                draw(ax, jax.tree.map(lambda x, at=(number, episode): x[at], states))
            canvas.draw()
            pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
            bar.update(1)
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0, comment=MADE)
    write_bytes(path, file.getvalue())
