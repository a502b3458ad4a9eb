"""The training loop: blocks of compiled updates, seeds side by side, checkpoints between blocks.

A block is one `lax.scan` over gradient updates with the dataset on the device as an argument. Between blocks Python shows
progress and saves the whole carry through Orbax, so a killed run goes on where it stopped and ends with the same numbers:
the batch of update k depends on the seed and on k alone.
"""

import functools
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, PartitionSpec

from ohio_jax import mesh, sampling
from ohio_jax.data import Batch, Transitions
from ohio_jax.errors import UserError, unknown
from ohio_jax.files import write_json
from ohio_jax.learners import LEARNERS, Spec
from ohio_jax.progress import progress
from ohio_jax.task import Space, Task

SECONDS_BETWEEN_CHECKPOINTS = 30.0

PROGRAMS: dict[Any, Any] = {}  # compiled blocks, see `executable`


@dataclass(frozen=True)
class Plan:
    """What to train and for how long.

    learner: name in LEARNERS; config: its Config.
    hidden: width of the networks.
    updates: gradient updates; batch: transitions an update; block: updates a compiled call.
    seeds: so many independent runs, with keys 0 .. seeds-1.
    sampling: "uniform", or trajectory-weighted: "return" (RW) or "advantage" (AW), with temperature; or "top", of so large a
        share of the episodes as temperature says.
    """

    learner: str
    config: Any
    hidden: int = 256
    updates: int = 100_000
    batch: int = 100
    block: int = 1_000
    seeds: int = 1
    sampling: str = "uniform"
    temperature: float = 0.1

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Trained(NamedTuple):
    """states: the learner's states stacked over S seeds, on the host; curve: metrics, Float[blocks, S]; seconds: wall time."""

    states: Any
    curve: dict[str, np.ndarray]
    seconds: dict[str, float]


class Begun(NamedTuple):
    """How far a run has come: done, updates; curve: metrics of each block; seconds: wall time."""

    done: int
    curve: list[dict[str, list[float]]]
    seconds: dict[str, float]


FRESH = Begun(0, [], {"compile": 0.0, "train": 0.0})


@functools.cache
def make_block(learner, batch_size: int, updates: int, devices: tuple[Any, ...], vmap_seeds: bool):
    """Compiled `block(states, keys, first, data, cumulative) -> (states, metrics)` of `updates` updates.

    states: learner states stacked over S seeds, S a multiple of the number of devices; donated.
    keys: [S]; first: Int[], number of the first update; data: Batch of the whole dataset; cumulative: Float[M].
    Seeds lie on all devices; on each device they are vmapped (accelerators) or take turns (CPU, where vmapping them costs
    cache and gains nothing).
    """

    def one_seed(state, key, first, data: Batch, cumulative):
        def update(state, number):
            rows = sampling.draw(jax.random.fold_in(key, number), cumulative, batch_size)
            return learner.update(state, jax.tree.map(lambda x: x[rows], data))

        state, metrics = jax.lax.scan(update, state, first + jnp.arange(updates))
        return state, jax.tree.map(lambda x: jnp.mean(x, axis=0), metrics)

    return over_seeds(one_seed, devices, vmap_seeds)


def over_seeds(one_seed, devices: tuple[Any, ...], vmap_seeds: bool):
    """Jitted `block(carries, keys, *shared)`: `one_seed(carry, key, *shared)` of S seeds, stacked; the carries are donated."""

    def local_seeds(carries, keys, *shared):
        run = lambda seed: one_seed(*seed, *shared)
        if keys.shape[0] == 1:  # no loop around the scan: XLA then keeps its threads for the matrix products
            out = run(jax.tree.map(lambda x: x[0], (carries, keys)))
            return jax.tree.map(lambda x: x[None], out)
        return (jax.vmap(run) if vmap_seeds else functools.partial(jax.lax.map, run))((carries, keys))

    def block(carries, keys, *shared):
        over, seed = Mesh(np.array(devices), ("seed",)), PartitionSpec("seed")
        specs = (seed, seed, *(PartitionSpec(),) * len(shared))
        return jax.shard_map(local_seeds, mesh=over, in_specs=specs, out_specs=seed, check_vma=False)(carries, keys, *shared)

    return jax.jit(block, donate_argnums=0)


class Placement:
    """Where a run's seeds lie: as many on each device, spare places repeating the last seed."""

    def __init__(self, seeds: int):
        self.seeds, self.devices = seeds, mesh.devices(seeds)

    @property
    def vmap(self) -> bool:
        return self.devices[0].platform != "cpu"

    def spread(self, tree):
        """Arrays with leading axis S, on the devices with spare places filled."""
        rows = np.minimum(np.arange(math.ceil(self.seeds / len(self.devices)) * len(self.devices)), self.seeds - 1)
        return mesh.put(jax.tree.map(lambda x: x[rows], tree), self.devices, "seed")

    def share(self, tree):
        """The same arrays on every device."""
        return mesh.put(tree, self.devices)

    def gather(self, tree):
        """Back on the host, without the spare places: slicing what is spread would make devices wait for each other."""
        return jax.tree.map(lambda x: x[: self.seeds], mesh.gather(tree))


def executable(block, *inputs):
    """The compiled program of a block for these inputs; one program serves all inputs of the same structure and shapes."""
    signature = (block, jax.tree.structure(inputs), tuple((x.shape, x.dtype) for x in jax.tree.leaves(inputs)))
    if signature not in PROGRAMS:
        PROGRAMS[signature] = block.lower(*inputs).compile()
    return PROGRAMS[signature]


def spec_of(task: Task, space: Space, hidden: int) -> Spec:
    return Spec(task.env.observation_size, space.spec, space.networks(hidden))


def initial_states(plan: Plan, spec: Spec):
    """Learner states of all seeds, stacked, and the keys of their batches."""
    learner = LEARNERS[plan.learner]
    roots = [jax.random.key(seed) for seed in range(plan.seeds)]
    # One by one: a seed's start then has the same bits however many stand beside it.
    init = jax.jit(lambda key: learner.init(key, spec, plan.config))
    states = jax.tree.map(lambda *x: jnp.stack(x), *[init(jax.random.fold_in(root, 0)) for root in roots])
    return states, jnp.stack([jax.random.fold_in(root, 1) for root in roots])


def batch_of(plan: Plan, spec: Spec, transitions: Transitions) -> Batch:
    """The whole dataset as the plan's learner wants it: goals where densities are finite, and what else it asks for."""
    batch = transitions.batch(getattr(plan.config, "discount", 1.0))
    project = lambda goal: np.asarray(spec.action.project(jnp.asarray(goal, jnp.float32)))
    wants = lambda what: getattr(LEARNERS[plan.learner], what, False)
    outcome = transitions.outcomes(plan.config.discount) if wants("OUTCOMES") else None
    next_goal = project(transitions.next_goals()) if wants("NEXT_GOALS") else None
    return batch._replace(goal=project(batch.goal), outcome=outcome, next_goal=next_goal)


def fingerprint(plan: Plan, task: Task, space: str, transitions: Transitions) -> dict[str, Any]:
    """What makes two runs the same run."""
    return {
        "task": task.name,
        "settings": task.settings,
        "space": space,
        "data_sha256": transitions.card.get("sha256"),
        "plan": plan.as_json(),
    }


def train(plan: Plan, task: Task, space: str, transitions: Transitions, directory: Path | None = None) -> Trained:
    """Trains `plan.seeds` seeds; with a directory, keeps checkpoints there and resumes from them.

    Raises UserError for an unknown sampling, if the directory holds another run, or a checkpoint that cannot be read.
    """
    if plan.sampling not in sampling.PROBABILITIES:
        raise unknown("sampling", plan.sampling, sampling.PROBABILITIES)
    spec = spec_of(task, task.spaces[space], plan.hidden)
    seeds = Placement(plan.seeds)
    block = functools.partial(make_block, LEARNERS[plan.learner], plan.batch, devices=seeds.devices, vmap_seeds=seeds.vmap)

    data = batch_of(plan, spec, transitions)
    probabilities = sampling.PROBABILITIES[plan.sampling](transitions, plan.temperature)
    data, cumulative = seeds.share((data, sampling.cumulative(probabilities)))
    states, keys = initial_states(plan, spec)

    begun, keeper = FRESH, None
    if directory is not None:
        keeper = Keeper(directory, fingerprint(plan, task, space, transitions))
        states, begun = keeper.restore(states, begun)
    states, keys = seeds.spread((states, keys))
    return run_blocks(
        f"train {task.name} {space} {plan.learner}",
        plan,
        lambda updates: block(updates=updates),
        lambda states, done: (states, keys, jnp.int32(done), data, cumulative),
        states,
        lambda states, finished: seeds.gather(states),
        seeds.gather,
        begun,
        keeper,
    )


def run_blocks(title: str, plan: Plan, block, inputs, carry, kept, gather, begun: Begun, keeper: "Keeper | None") -> Trained:
    """The updates of a plan from where it stopped, block by block, with progress and checkpoints between them.

    block(updates) -> jitted block; inputs(carry, done) -> its arguments; kept(carry, finished) -> what a checkpoint holds,
    and when finished what is returned; gather(metrics) -> the same on the host.
    """
    done, curve, seconds = begun.done, [*begun.curve], dict(begun.seconds)
    saved = time.monotonic()
    compiled: dict[int, Any] = {}  # by updates a block: all of one length but the last
    with progress(title, plan.updates, "update", done) as bar:
        while done < plan.updates:
            size = min(plan.block, plan.updates - done)
            start = time.monotonic()
            given = inputs(carry, done)
            if size not in compiled:
                compiled[size] = executable(block(size), *given)
            seconds["compile"] += time.monotonic() - start
            start = time.monotonic()
            carry, metrics = compiled[size](*given)
            curve.append({name: value.tolist() for name, value in gather(metrics).items()})
            seconds["train"] += time.monotonic() - start
            done += size
            bar.update(size)
            finished = done == plan.updates
            due = finished or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS
            if keeper and mesh.decide(due):
                keeper.save(kept(carry, finished), Begun(done, curve, seconds))
                saved = time.monotonic()
    names = curve[0] if curve else {}
    return Trained(kept(carry, True), {name: np.array([row[name] for row in curve]) for name in names}, seconds)


class Keeper:
    """Checkpoints of one run in one directory: `run.json` says which run it is, `checkpoint/` is Orbax's."""

    def __init__(self, directory: Path, identity: dict[str, Any]):
        import orbax.checkpoint as ocp  # slow to import, and not needed to train in memory

        self.directory = Path(directory).absolute()
        identity = json.loads(json.dumps(identity))
        described = self.directory / "run.json"
        if described.exists():
            found = read_run(self.directory)
            different = [key for key in identity if found.get(key) != identity[key]]
            if different:
                raise UserError(
                    f"{described}: field {different[0]}: expected {identity[different[0]]}, found {found.get(different[0])};"
                    " give another directory"
                )
        else:
            self.directory.mkdir(parents=True, exist_ok=True)
            write_json(described, identity)
        self.checkpoints = self.directory / "checkpoint"
        self.manager = ocp.CheckpointManager(
            self.checkpoints, options=ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        )
        self.args = ocp.args

    def save(self, states, begun: Begun) -> None:
        """Writes the whole carry; Orbax renames the finished folder, so a kill leaves the older checkpoint."""
        note = {"curve": begun.curve, "seconds": begun.seconds, "sha256": tree_digest(states)}
        args = self.args.Composite(states=self.args.StandardSave(states), note=self.args.JsonSave(note))
        self.manager.save(begun.done, args=args)

    def restore(self, states, begun: Begun) -> tuple[Any, Begun]:
        """The newest checkpoint, or what was given if there is none."""
        done = self.manager.latest_step()
        if done is None:
            return states, begun
        like = jax.tree.map(np.asarray, states)
        kept, note = _restore(self.manager, self.args, done, like, self.directory)
        logging.info("resuming %s at update %d", self.directory, done)
        return kept, Begun(done, note["curve"], note["seconds"])


def _restore(manager, args, step: int, like, directory: Path):
    try:
        kept = manager.restore(step, args=args.Composite(states=args.StandardRestore(like), note=args.JsonRestore()))
    except Exception as error:  # Orbax raises many kinds for a damaged folder
        raise UserError(
            f"{directory}: checkpoint {step} cannot be read ({type(error).__name__}); delete the folder to start anew"
        ) from error
    if tree_digest(kept.states) != kept.note["sha256"]:
        raise UserError(f"{directory}: checkpoint {step}: checksum differs from the one saved; delete the folder")
    return kept.states, kept.note


def tree_digest(tree) -> str:
    """SHA-256 over the leaves of a pytree, in order."""
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()


def read_run(directory: str | Path) -> dict[str, Any]:
    """`run.json` of a training directory. Raises UserError if there is none or it is damaged."""
    described = Path(directory) / "run.json"
    try:
        return json.loads(described.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{directory}: expected a training directory, found no run.json") from error
    except ValueError as error:
        raise UserError(f"{described}: expected JSON, found {error}") from error


def load_policy(directory: str | Path, make_task) -> tuple[Task, str, Plan, Any]:
    """A trained run: (task, space, plan, states stacked over seeds).

    make_task(name, settings) builds the task. Raises UserError if the directory is no finished run.
    """
    import orbax.checkpoint as ocp

    run = read_run(directory)
    missing = [name for name in ("task", "settings", "space", "plan") if name not in run]
    if missing:
        raise UserError(f"{directory}/run.json: expected field {missing[0]!r}, found none")
    task = make_task(run["task"], {key: str(value) for key, value in run["settings"].items()})
    learner = LEARNERS[run["plan"]["learner"]]
    plan = Plan(**{**run["plan"], "config": learner.Config(**run["plan"]["config"])})
    directory = Path(directory).absolute()
    manager = ocp.CheckpointManager(directory / "checkpoint")
    step = manager.latest_step()
    if step is None or step != plan.updates:
        raise UserError(f"{directory}: expected a finished run of {plan.updates} updates, found {step}")
    spec = spec_of(task, task.spaces[run["space"]], plan.hidden)
    like = jax.tree.map(np.asarray, initial_states(plan, spec)[0])
    states, _ = _restore(manager, ocp.args, step, like, directory)
    return task, run["space"], plan, states
