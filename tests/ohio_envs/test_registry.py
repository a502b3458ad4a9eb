"""Tasks by name, their settings, and what they promise the rest of the suite."""

import json

import jax
import numpy as np
import pytest
from ohio_envs import registry

from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.streams import ReferenceStream
from tests.ohio_envs.cities import published

SMALL = {"regions": "4", "horizon": "6"}


def test_unknown_task():
    with pytest.raises(UserError, match=r"unknown task 'nyc': expected one of .*routing-nyc, .*routing-synthetic"):
        registry.make("nyc")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"color": "red"}, "unknown setting of routing-synthetic 'color': expected one of demand, dynamics, horizon"),
        ({"minutes": "0"}, "routing-synthetic: setting minutes: expected an integer from 1 to 60, found '0'"),
        ({"minutes": "four"}, "setting minutes: expected an integer .*found 'four'"),
        ({"minutes": "3.5"}, "setting minutes: expected an integer .*found '3.5'"),
        ({"dynamics": "Strict"}, "setting dynamics: expected one of conserving, strict, found 'Strict'"),
        ({"demand": ""}, "setting demand: expected one of jax, numpy, found ''"),
        ({"horizon": "-1"}, "setting horizon: expected an integer from 1 to 1000, found '-1'"),
        ({"time": "2"}, "setting time: expected an integer from 0 to 1, found '2'"),
        ({"regions": "1"}, "setting regions: expected an integer from 2 to 1024, found '1'"),
        ({"regions": 1}, "setting regions: expected an integer from 2 to 1024, found 1"),
        ({"minutes": 3.5}, "setting minutes: expected an integer .*found 3.5"),
        ({"minutes": None}, "setting minutes: expected an integer .*found None"),
        ({"demand": 3}, "setting demand: expected one of jax, numpy, found 3"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(UserError, match=message):
        registry.make("routing-synthetic", settings)


def test_regions_belong_to_the_synthetic_city_only():
    with pytest.raises(UserError, match="unknown setting of routing-nyc 'regions'"):
        registry.make("routing-nyc", {"regions": "4"})


def test_settings_are_typed_and_complete():
    task = registry.make("routing-synthetic", SMALL | {"time": "1", "dynamics": "strict"})
    assert task.settings == {
        "dynamics": "strict", "demand": "jax", "horizon": 6, "time": 1, "minutes": 4, "regions": 4, "seed": 0,
    }  # fmt: skip
    json.dumps(task.settings)
    assert task.env.horizon == 6 and task.env.observation_size == 4 * 14 and task.env.dynamics == "strict"


@pytest.mark.parametrize(
    "name", ["routing-synthetic", "supply-chain-1w3s", "inventory-one-store", "reacher", "lift", "reacher-brax"]
)
def test_settings_are_taken_again_as_they_are(name):
    """Typed, as a run or a card has them, in place of text."""
    task = registry.make(name)
    assert registry.make(name, json.loads(json.dumps(task.settings))).settings == task.settings


@pytest.mark.parametrize("source", ["jax", "numpy"])
def test_instances_do_not_depend_on_how_many_follow(source):
    task = registry.make("routing-synthetic", SMALL | {"demand": source})
    few, many = task.instances(5, 3), task.instances(5, 7)
    assert few.shape == (3, 6, 4, 4) and few.dtype == np.int32
    np.testing.assert_array_equal(few, many[:3])
    assert not np.array_equal(many, task.instances(6, 7))
    rates = np.asarray(task.env.scenario.lam)
    mean = np.asarray(task.instances(0, 400)).mean(0)
    assert (mean[rates == 0] == 0).all()
    assert np.abs(mean - rates).max() < 6 * np.sqrt(rates.max() / 400)


def test_numpy_demand_has_a_range_of_seeds():
    task = registry.make("routing-synthetic", SMALL | {"demand": "numpy"})
    with pytest.raises(UserError, match="seed: expected 0 to 4294967295 with demand=numpy, found -1"):
        task.instances(-1, 2)


def test_every_space_plays_an_episode():
    task = registry.make("routing-synthetic", SMALL)
    assert set(task.interfaces) == {"ohio", "ohio_compat", "end_to_end", "end_to_end_compat", "end_to_end_compat_tens"}
    for name, interface in task.interfaces.items():
        env = task.high_level(name)
        networks = interface.networks(8)

        @jax.jit
        def play(env, requests, key, networks=networks, spec=interface.spec, features=interface.features):
            state = env.reset_to(requests)
            shown = features(state.obs)
            raw = networks.actor.apply(networks.actor.init(key, shown), shown)
            goal, _ = spec.sample(raw, key)
            return raw, goal, env.step(state, goal)

        raw, goal, after = play(env, task.instances(0, 1)[0], jax.random.key(0))
        assert raw.shape == interface.spec.raw_shape, name
        assert goal.shape == interface.spec.shape and env.action_size == goal.size, name
        assert np.isfinite(after.reward) and after.metrics["served"] > 0, name
        assert after.metrics["rebalancing_cost"] > 0, name


def test_synthetic_reference_is_the_bound():
    task = registry.make("routing-synthetic", SMALL | {"demand": "numpy"})
    instances = task.instances(ReferenceStream().seed, 10)
    assert task.reference.zero == 0.0
    assert task.reference.full == pytest.approx(task.bound(instances).mean())
    command = "--policy oracle --stream reference --episodes 10 --set demand=numpy,regions=4,seed=0,minutes=4,horizon=6"
    assert command in task.reference.how


def test_large_cities_build():
    task = registry.make("routing-synthetic", {"regions": "64", "horizon": "4"})
    assert np.isfinite(np.asarray(evaluate_policy(task, "dtv", 2, 0).returns)).all()


@published
@pytest.mark.parametrize("name, minutes, full", [("routing-nyc", 4, 58_000.0), ("routing-shenzhen", 3, 61_320.0)])
def test_published_cities(name, minutes, full):
    task = registry.make(name)
    assert task.settings["minutes"] == minutes
    assert (task.reference.zero, task.reference.full) == (0.0, full) and task.reference.how
    with pytest.raises(UserError, match="horizon: expected at most"):
        registry.make(name, {"horizon": "200"})
