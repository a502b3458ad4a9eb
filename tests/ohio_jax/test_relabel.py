"""Relabeling: what is flagged is dropped or weighted as asked, and how segments are spread over devices changes nothing."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax import data, mesh, relabel
from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.inverse.result import goal_status
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, closed_form, prepare
from tests.ohio_jax import toy


def graded(problem, segment):
    """A stand-in that grades a segment by where it begins: x is its loss and its deviation."""
    x, at = segment.state[0], prepare(problem, segment)
    status = jnp.where(x[0] > 0.5, UNEXPLAINED, jnp.where(x[0] > 0.2, AMBIGUOUS, UNIQUE))
    # Judged as if nothing were off: what comes out are the grades.
    return goal_status(problem._replace(tolerance=jnp.inf), at, closed_form(problem, at)[0], status, deviation=x, loss=x[0])


@pytest.fixture(scope="module")
def task():
    return toy.line_task()


@pytest.fixture(scope="module")
def logs(task):
    return collect(task, "wander", 20, 1)


@pytest.fixture
def grades(monkeypatch):
    monkeypatch.setitem(INVERSES, "graded", graded)


def test_weights(task, logs, grades):
    by = {name: relabel.relabel(logs, task, "ohio", "graded", name) for name in relabel.WEIGHTS}
    x = by["keep"].obs[:, 0]
    np.testing.assert_array_equal(by["keep"].weight, 1)
    np.testing.assert_array_equal(by["drop"].weight, x <= 0.2)
    np.testing.assert_array_equal(by["original"].weight, x <= 0.2)
    goal = by["keep"].action[:, 0]
    low, high = np.quantile(goal, (0.16, 0.84))
    anyway = ((high - low) / 2) ** 2 + np.median(x**2)
    np.testing.assert_allclose(by["posterior"].weight, 1 / (1 + x**2 / anyway), rtol=1e-4)
    card = by["drop"].card
    assert card["weights"] == "drop" and card["weight_mean"] == pytest.approx(np.mean(x <= 0.2))
    assert (card["ambiguous"], card["unexplained"], card["failed"]) == (((x > 0.2) & (x <= 0.5)).sum(), (x > 0.5).sum(), 0)


def test_an_unlikely_segment_weighs_less(task, logs, monkeypatch):
    """By its likelihood: a goal one deviation off makes exp(-1/2) of one that explains its segment."""
    half = toy.HALF  # the residual of a goal off by 1 / half is 1

    def off(problem, segment):
        at = prepare(problem, segment)
        return goal_status(problem, at, closed_form(problem, at)[0] + (segment.state[0] > 0.3) / half, jnp.int32(UNIQUE))

    monkeypatch.setitem(INVERSES, "off", off)
    found = relabel.relabel(logs, task, "ohio", "off", "posterior")
    np.testing.assert_allclose(found.weight, np.where(found.obs[:, 0] > 0.3, np.exp(-0.5), 1.0), rtol=1e-4)


def test_posterior_weights_itself(task, logs):
    """By hand: halfway in noise 1, a prior of width 1 (the line names none), so that the goal keeps 0.4 of the logged step,
    the residual 0.8 of it, and the variance is 1 / (1/4 + 1)."""
    found = relabel.relabel(logs, task, "ohio", "posterior")
    moved = logs.next_state - logs.state
    np.testing.assert_allclose(found.action, logs.state + 0.4 * moved, atol=1e-5)
    low, high = np.quantile(found.action, (0.16, 0.84))
    precision = 1 / (1 + 0.8 / (((high - low) / 2) ** 2 + 0.8))
    np.testing.assert_allclose(found.weight, np.exp(-0.32 * moved[:, 0] ** 2) * precision, rtol=1e-4)
    assert found.card["weights"] == "posterior" and relabel.relabel(logs, task, "ohio", "analytic").card["weights"] == "keep"


def test_chunks_and_devices_change_nothing(task, logs, monkeypatch):
    whole = relabel.relabel(logs, task, "ohio", "analytic")
    rows, _ = relabel.segments_of(logs.offset, 1)
    problem = task.interfaces["ohio"].problem
    alone = [closed_form(problem, prepare(problem, _segment(logs, row)))[0] for row in rows[:7]]
    np.testing.assert_allclose(whole.action[:7], np.stack(alone), rtol=1e-6)
    monkeypatch.setattr(relabel, "CHUNK", 7)  # two devices: calls of 14, the last one filled up
    again = relabel.relabel(logs, task, "ohio", "analytic")
    np.testing.assert_array_equal(again.action, whole.action)
    np.testing.assert_array_equal(again.residual, whole.residual)
    monkeypatch.setattr(mesh, "devices", lambda: jax.devices()[:1])
    jax.clear_caches()
    one = relabel.relabel(logs, task, "ohio", "analytic")
    np.testing.assert_array_equal(one.action, whole.action)


@pytest.mark.parametrize("inverse", ["analytic", "least_squares"])
def test_whole_chunks_give_what_lanes_do(task, logs, monkeypatch, inverse):
    """An accelerator's layout, on a CPU by its switch."""
    few = relabel.relabel(logs, task, "ohio", inverse)
    assert relabel.lanes(inverse) < relabel.CHUNK
    monkeypatch.setenv("OHIO_LAYOUT", "accelerator")
    assert relabel.lanes(inverse) == relabel.CHUNK
    whole = relabel.relabel(logs, task, "ohio", inverse)
    np.testing.assert_allclose(whole.action, few.action, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(whole.status, few.status)


def _segment(logs, row):
    return relabel.Segment(logs.state[row][None], logs.action[row][None], logs.next_state[row][None])


@pytest.mark.parametrize("devices", [1, 2, 3])
def test_calls_have_few_sizes_and_little_to_fill_up(devices):
    sizes = {segments: relabel.chunk_size(segments, devices) for segments in (1, 63, 64, 65, 400, 1000, 4100, 9000, 10**6)}
    smallest = devices * relabel.LANES
    assert sizes[1] == smallest and sizes[10**6] == devices * relabel.CHUNK
    assert len({relabel.chunk_size(n, devices) for n in range(1, 20_000, 7)}) <= 7
    for segments, size in sizes.items():
        assert size % smallest == 0 and (-segments % size <= segments / 4 or size == smallest)


def test_what_is_not_finite_fails_alone_and_can_be_saved(task, logs, tmp_path):
    state, obs = logs.state.copy(), logs.obs.copy()
    state[3], obs[3] = np.nan, np.nan  # of the first episode's fourth step
    clean, found = (relabel.relabel(x, task, "ohio", "analytic") for x in (logs, replace(logs, state=state, obs=obs)))
    # The step before saw the bad one, and so what followed it.
    assert (found.status[2:4] == FAILED).all() and (found.weight[2:4] == 0).all() and found.card["failed"] == 2
    others = np.isin(np.arange(len(clean.reward)), [2, 3], invert=True)
    np.testing.assert_array_equal(found.action[others], clean.action[others])
    data.save(tmp_path / "goals.npz", found)
    np.testing.assert_array_equal(data.load(tmp_path / "goals.npz", "transitions").weight, found.weight)


def test_rewards_that_are_too_large_together(task, logs):
    large = replace(logs, reward=np.full_like(logs.reward, 2e38))
    three = replace(task, interfaces={"ohio": replace(task.interfaces["ohio"], steps=3)})
    with pytest.raises(UserError, match=r"^dataset: field reward\[0\]: expected a finite number in float32, found inf"):
        relabel.relabel(large, three, "ohio", "analytic")


def test_too_little_that_is_left(task, logs, monkeypatch):
    """Sixteen of 120 are few but enough; of eleven, six are."""

    def kept(amount, logs):
        bound = np.sort(logs.action[:, 0])[-amount]
        status = lambda segment: jnp.where(segment.action[0, 0] >= bound, UNIQUE, AMBIGUOUS)
        goal = lambda problem, at: closed_form(problem, at)[0]
        answer = lambda problem, at: goal_status(problem, at, goal(problem, at), status(at.segment))
        monkeypatch.setitem(INVERSES, f"{amount} left", lambda problem, segment: answer(problem, prepare(problem, segment)))
        return (relabel.relabel(logs, task, "ohio", f"{amount} left", "drop").weight > 0).sum()

    assert kept(relabel.FEWEST, logs) == 16
    found = r"found 15 of 120 \(105 ambiguous, 0 unexplained, 0 failed\)"
    with pytest.raises(UserError, match=rf"at least 16 segments of weight above 0 under weights 'drop', {found}"):
        kept(15, logs)
    x = np.linspace(0.0, 0.5, 12)[:, None] ** 2
    few = data.from_arrays(x[:-1], np.diff(x, axis=0), -x[1:, 0], x[1:], {"task": "line"})
    assert kept(6, few) == 6
    with pytest.raises(UserError, match=r"at least 6 segments .*, found 5 of 11 \(6 ambiguous"):
        kept(5, few)


def test_refusals(task, logs, monkeypatch):
    with jax.enable_x64(True), pytest.raises(UserError, match="jax_enable_x64: expected it unset, found it set"):
        relabel.relabel(logs, task, "ohio", "analytic")
    with pytest.raises(UserError, match="unknown weights 'trust'"):
        relabel.relabel(logs, task, "ohio", "analytic", "trust")
    nothing = replace(logs, state=np.full_like(logs.state, np.nan))
    with pytest.raises(UserError, match="expected segments of finite numbers"):
        relabel.relabel(nothing, task, "ohio", "analytic")
    unsure = lambda problem, segment: goal_status(
        problem, prepare(problem, segment), closed_form(problem, prepare(problem, segment))[0], jnp.int32(AMBIGUOUS)
    )
    monkeypatch.setitem(INVERSES, "unsure", unsure)
    with pytest.raises(UserError, match="weight above 0 under weights 'drop'"):
        relabel.relabel(logs, task, "ohio", "unsure", "drop")


# --- In parts, which are kept until all are done


@pytest.fixture
def cut(task, tmp_path):
    """Logs some of whose segments are cut short, of five parts, with a segment that is not finite; also in a folder."""
    logs = collect(task, "wander", 20, 1)
    state = logs.state.copy()
    state[40] = np.nan
    data.save(tmp_path / "logs", replace(logs, state=state, card={**logs.card, "nonfinite_steps": 1}))
    stored = data.load(tmp_path / "logs", "trajectories")
    return replace(stored, **{name: np.asarray(array) for name, array in stored.arrays.items()})


@pytest.fixture
def four(task):
    return replace(task, interfaces={"ohio": replace(task.interfaces["ohio"], steps=4)})  # of six steps an episode


@pytest.fixture
def made(monkeypatch):
    """Notes every part that is made, in parts of at least nine segments."""
    monkeypatch.setattr(relabel, "PART", 9)
    made = []
    monkeypatch.setattr(relabel, "recovered", lambda *given, do=relabel.recovered: made.append(given[1:3]) or do(*given))
    return made


def same(a, b) -> None:
    assert a.digest == b.digest and a.card | b.card == a.card


@pytest.mark.parametrize(("inverse", "weights"), [("analytic", None), ("posterior", None), ("least_squares", "drop")])
def test_parts_make_what_one_call_makes(four, cut, made, tmp_path, inverse, weights):
    """Bit by bit, of logs in memory or in files, in a file or a folder."""
    whole = relabel.relabel(cut, four, "ohio", inverse, weights)
    assert whole.card["cut_short"] == 20 and whole.card["failed"] == 1
    made.clear()
    same(relabel.relabel_to(tmp_path / "a.npz", cut, four, "ohio", inverse, weights), whole)
    assert made == [(0, 4), (4, 9), (9, 13), (13, 18), (18, 20)]
    logs = data.load(tmp_path / "logs", "trajectories")
    found = relabel.relabel_to(tmp_path / "a", logs, four, "ohio", inverse, weights)
    same(found, whole)
    np.testing.assert_array_equal(found.obs, whole.obs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.npz", "logs"]


def test_a_killed_call_goes_on_from_its_parts(four, cut, made, tmp_path, monkeypatch):
    """Whichever are there, but for those of another inverse or other logs."""
    with monkeypatch.context() as patch:
        patch.setattr(relabel, "joined", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        for inverse in ("least_squares", "analytic"):
            with pytest.raises(KeyboardInterrupt):
                relabel.relabel_to(tmp_path / "a", cut, four, "ohio", inverse)
    assert len(made) == 10 and sorted(path.name for path in tmp_path.iterdir()) == [".a.parts", "logs"]
    part = tmp_path / ".a.parts" / "000009-000013" / "action.npy"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    same(relabel.relabel_to(tmp_path / "a", cut, four, "ohio", "analytic"), relabel.relabel(cut, four, "ohio", "analytic"))
    assert made[10:] == [(9, 13), (0, 20)] and sorted(path.name for path in tmp_path.iterdir()) == ["a", "logs"]


def test_what_is_refused_leaves_nothing(task, logs, tmp_path):
    nothing = replace(logs, state=np.full_like(logs.state, np.nan))
    with pytest.raises(UserError, match="expected segments of finite numbers"):
        relabel.relabel_to(tmp_path / "a", nothing, task, "ohio", "analytic")
    data.save(tmp_path / "logs", logs)
    file = tmp_path / "logs" / "state.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"logs/state\.npy: chunk 0 "):
        relabel.relabel_to(tmp_path / "a", data.load(tmp_path / "logs", "trajectories"), task, "ohio", "analytic")
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
