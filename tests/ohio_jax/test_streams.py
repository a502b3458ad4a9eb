"""Streams of seeds: disjoint ranges, no episode of any task in two of them, and none that stands for another."""

import hashlib
import itertools

import jax
import numpy as np
import pytest
from ohio_bench.runner import work
from ohio_envs import datasets, registry

from ohio_jax import streams
from ohio_jax.errors import UserError
from ohio_jax.rollout import episode_keys

EPISODES = 6
GOLDEN = 10  # of golden anchors
# The first and last seeds of every stream.
ALL = [of(number) for of in streams.STREAMS.values() for number in (0, 1, streams.SPAN - 1)]


def test_ranges_are_disjoint_and_leave_small_seeds_alone():
    ranges = {name: (of(0).seed, of(streams.SPAN - 1).seed) for name, of in streams.STREAMS.items()}
    assert set(ranges) == {"data", "selection", "reference", "test"}
    assert all(1000 <= low < high < 2**31 for low, high in ranges.values())
    for (_, high), (low, _) in itertools.pairwise(sorted(ranges.values())):
        assert high < low
    assert [of(3).seed - of(0).seed for of in streams.STREAMS.values()] == [3] * 4
    assert [of().name for of in streams.STREAMS.values()] == list(streams.STREAMS)


@pytest.mark.parametrize("number", [-1, streams.SPAN, 1.0, True])
def test_a_number_beyond_the_stream_is_refused(number):
    with pytest.raises(UserError, match="number of Data: expected an integer from 0 to 16777215, found"):
        streams.Data(number)


def test_a_stream_cannot_stand_for_another():
    assert streams.require(streams.Test(2), streams.Test).seed == streams.Test(2).seed
    for wrong in (streams.Selection(), streams.Data(), 10, None):
        with pytest.raises(TypeError, match="expected episodes of Test, found"):
            streams.require(wrong, streams.Test)
    with pytest.raises(TypeError, match="expected one of Data, Selection, ReferenceStream, Test, found Stream itself"):
        streams.Stream(0)


def test_what_tests_takes_the_test_stream_alone():
    """And what chooses that of selection; before anything is played."""
    of = (None, "ohio", None, None, 1)  # of which none is looked at
    with pytest.raises(TypeError, match=r"expected episodes of Test, found Selection\(number=0\)"):
        work.tested(*of, streams.Selection())  # pyright: ignore
    with pytest.raises(TypeError, match=r"expected episodes of Selection, found Test\(number=0\)"):
        work.tried(*of, streams.Test())  # pyright: ignore


SHORT = {"horizon": 4}
TASKS = [
    ("reacher", SHORT),
    ("routing-synthetic", {"regions": 4, **SHORT}),
    ("routing-synthetic", {"regions": 4, "demand": "numpy", **SHORT}),
    ("supply-chain-1w3s", {}),
    ("supply-chain-1w3s", {"demand": "numpy"}),
    ("inventory-one-store", {}),
    ("inventory-serial", {}),
    ("inventory-many-stores", {}),
    pytest.param("lift", {}, id="lift"),
    pytest.param("door", {}, id="door"),
    ("reacher-mjx", SHORT),
    ("reacher-brax", SHORT),
]


@pytest.mark.parametrize(("name", "settings"), TASKS)
def test_no_instance_is_in_two_streams(name, settings):
    """Nor in two data sets of one recipe, nor twice in one, nor among those of golden anchors."""
    if name in ("lift", "door", "reacher-mjx"):
        pytest.importorskip("mujoco")
    if name == "reacher-brax":
        pytest.importorskip("brax")
    task = registry.make(name, settings)
    found = {}
    for seed in (GOLDEN, *(of.seed for of in ALL)):
        plain = lambda x: np.asarray(jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        leaves = [plain(leaf) for leaf in jax.tree.leaves(task.instances(seed, EPISODES))]
        for episode in range(EPISODES):
            digest = hashlib.sha256(b"".join(leaf[episode].tobytes() for leaf in leaves)).hexdigest()
            assert found.setdefault(digest, (seed, episode)) == (seed, episode)
    assert len(found) == EPISODES * (1 + len(ALL))


def test_published_cities_as_their_data_sets_have_them(city_files):
    """Demand of the original's generator, in the settings of the recipes."""
    for name in ("nyc-inf-v1", "shenzhen-inf-v1"):
        task = datasets.task_of(name)
        drawn = [np.asarray(task.instances(of.seed, 2)) for of in ALL]
        assert len({episode.tobytes() for each in drawn for episode in each}) == 2 * len(ALL)


def test_policies_draw_from_keys_of_their_own():
    """Which are no instance's of any stream, nor of seed 10."""
    data = lambda keys: [tuple(key) for key in np.asarray(jax.random.key_data(keys)).tolist()]
    seeds = [GOLDEN, *(of.seed for of in ALL)]
    instances = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    keys = instances(jax.vmap(jax.random.key)(np.array(seeds, np.uint32)), np.arange(EPISODES))
    policies = [data(episode_keys(seed, EPISODES)) for seed in seeds]
    every = [key for each in (*map(data, keys), *policies) for key in each]
    assert len(set(every)) == len(every) == 2 * EPISODES * len(seeds)
