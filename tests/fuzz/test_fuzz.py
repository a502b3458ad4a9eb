"""No input gets through an edge that it should not pass, and none ends a command in anything but one clear line."""

import contextlib
import shutil

import hypothesis
import pytest

from tests.fuzz import cases
from tests.fuzz.edge import judge


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    with contextlib.chdir(folder):
        yield cases.room(folder)


def fuzz(folder, strategy, examples, seed=None):
    """Judges so many examples; seed: None for the same ones each time."""

    @hypothesis.settings(
        max_examples=examples,
        derandomize=seed is None,
        database=None,
        phases=(hypothesis.Phase.generate,),  # a case differs from a sound one in one place as it is
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def check(case):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        judge(folder, case)

    (check if seed is None else hypothesis.seed(seed)(check))()


# TensorStore's futures outlive the event loop that Orbax closes when it cannot read a checkpoint.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("group", cases.GROUPS, ids=lambda group: group.__name__)
def test_the_edges(room, tmp_path, group):
    fuzz(tmp_path / "case", group(room), cases.GROUPS[group][0])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("group", cases.GROUPS, ids=lambda group: group.__name__)
def test_the_edges_at_length(room, tmp_path, group, seed):
    fuzz(tmp_path / "case", group(room), cases.GROUPS[group][1], seed)
