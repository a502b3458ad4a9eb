"""How speed is measured: in turns, part by part, until there is no time left; and where it is written, of which machine."""

import json
import time
from types import SimpleNamespace

import pytest
from ohio_bench.speed import routing, run, timing
from ohio_bench.speed.pages import PAGES

from ohio_jax.deadline import Deadline, OutOfTime


def test_race_takes_turns_and_keeps_the_compile_time_apart():
    calls = []

    def contender(name: str, first: float, later: float):
        def call():
            time.sleep(later if name in calls else first)
            calls.append(name)

        return call

    timings = timing.race({"a": contender("a", 0.2, 0.02), "b": contender("b", 0.01, 0.01)}, windows=3, seconds=0.04)
    a, b = timings["a"], timings["b"]
    assert calls[:4] == ["a", "b", "a", "b"]
    assert calls.count("a") == 2 + a.windows * a.calls and a.windows == b.windows == 3
    assert 0.02 <= a.best <= a.median and a.compile > 0.1
    assert a.rates(10)["best"] == pytest.approx(10 / a.best) and a.cpu < a.best
    middle = calls[4:]
    assert middle[: a.calls] == ["a"] * a.calls and middle[a.calls] == "b"


def test_a_race_that_cannot_end_is_not_begun():
    calls = []
    contenders = {"a": lambda: calls.append("a") or time.sleep(0.01)}
    with pytest.raises(OutOfTime) as caught:
        timing.race(contenders, windows=50, seconds=10.0, deadline=Deadline.after(1.0))
    assert calls == ["a", "a"] and caught.value.seconds == pytest.approx(500.0, rel=0.1)
    with pytest.raises(OutOfTime):
        timing.race(contenders, windows=1, seconds=0.01, deadline=Deadline(at=0.0))
    assert calls == ["a", "a"]
    assert timing.race(contenders, windows=1, seconds=0.01, deadline=Deadline.after(1.0))["a"].windows == 1


@pytest.fixture
def sums(monkeypatch):
    """A speed test of two parts, the second of which is late where its deadline is set."""
    rate = {"best": 4.0, "median": 2.0, "per_cpu_second": 1.0, "compile_seconds": 0.5}
    part = {"numpy": {**rate, "best": 1.0}, "batch_1": rate}
    simulator = {"steps_per_second": part, "ratio_to_numpy": {"batch_1": 4.0}, "largest_difference_of_return": 0.0}

    def parts(budget):
        def late():
            budget.deadline.require(1e9)
            return {"hdpo": {}}

        return {"simulator": lambda: {"simulator": {"chain": simulator}}, "hdpo": late}

    module = SimpleNamespace(FULL=None, QUICK=routing.QUICK, parts=parts)
    monkeypatch.setattr(run, "module", lambda name: module)


def test_what_there_is_no_time_for_is_named(sums, tmp_path):
    found = run.run("supply-chain", tmp_path, True, Deadline.after(1.0))
    assert found["not_measured"] == ["hdpo"] and json.loads((tmp_path / "supply-chain.json").read_text()) == found
    page = (tmp_path / "supply-chain.md").read_text()
    assert "Not measured, for lack of time: hdpo." in page and "## Periods a second" in page and "HDPO" not in page
    assert run.report(tmp_path).files[tmp_path / "supply-chain.md"].decode() == page
    assert run.run("supply-chain", tmp_path / "none", True, Deadline(at=0.0))["not_measured"] == ["simulator", "hdpo"]
    assert not (tmp_path / "none").exists()
    assert run.run("supply-chain", None, True)["not_measured"] == []


def test_the_command_says_what_was_not_measured(sums, command, monkeypatch):
    monkeypatch.setattr(run, "ALL", ("supply-chain",))
    code, out, _ = command("speed all --quick --minutes 1")
    assert code == 0 and out.splitlines() == [
        "results/speed/supply-chain.md",
        "not measured, for lack of time: supply-chain hdpo",
    ]
    assert json.loads(command("speed --quick --minutes 1 --json")[1])["supply-chain"]["not_measured"] == ["hdpo"]


def test_an_accelerator_has_files_of_its_own_and_a_page_beside_the_cpu(sums, tmp_path, monkeypatch):
    found = run.run("supply-chain", tmp_path, True)
    path = tmp_path / "supply-chain-gpu.json"
    found["provenance"]["hardware"] |= {"platform": "gpu", "device": "A card"}
    rates = found["simulator"]["chain"]["steps_per_second"]
    rates |= {"batch_1": {**rates["batch_1"], "best": 40.0}, "batch_2": {**rates["batch_1"], "best": 80.0}}
    path.write_text(json.dumps(found))
    files = run.report(tmp_path).files
    assert {file.name for file in files} == {"supply-chain.md", "supply-chain-gpu.md"}
    page = files[tmp_path / "supply-chain-gpu.md"].decode()
    assert "| simulator, chain, batch 1 | 4 | 40 | 10 |" in page and "| simulator, chain, batch 2 |  | 80 |  |" in page
    assert "Beside the CPU" not in files[tmp_path / "supply-chain.md"].decode()
    monkeypatch.setattr(run.jax, "default_backend", lambda: "gpu")
    assert run.place(tmp_path, "supply-chain") == path and "scaling" not in run.tests()
    assert set(run.tests()) | run.ON_CPU == set(run.ALL) == set(PAGES)
