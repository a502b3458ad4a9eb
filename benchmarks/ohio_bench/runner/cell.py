"""What every experiment is made of: cells, each of which ends as one run file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ohio_jax.errors import unknown
from ohio_jax.files import write_bytes

RESULTS = Path("results")


class Cell(NamedTuple):
    """One run of an experiment.

    Attributes:
        name: of its run file, in which "/" makes folders.
        config: what makes it again, whose values JSON holds.
        work: (the work folder, an `ohio_bench.runner.work.WorkFolder`) -> what it found.
        head: what else its run file says of it.
    """

    name: str
    config: dict[str, Any]
    work: Callable[[Any], dict[str, Any]]
    head: dict[str, Any] = {}  # noqa: RUF012  (never written to)


class Report(NamedTuple):
    """What run files say.

    Attributes:
        files: path -> content, the page first; nothing where there are no run files.
        board: of a table, what it shows.
        freshness: how many of its cells are stale, see `ohio_bench.runner.freshness`; None where there are none.
    """

    files: dict[Path, bytes]
    board: Any = None
    freshness: Any = None

    @property
    def paths(self) -> list[Path]:
        return list(self.files)

    def write(self) -> "Report":
        """Writes the files; only once all of them are made, so that a damaged run file leaves what was there before."""
        for path, content in self.files.items():
            write_bytes(path, content)
        return self


def preset_of(declared: Any, name: str) -> Any:
    """A preset of whatever declares some. Raises UserError for an unknown name."""
    if name not in declared.presets:
        raise unknown(f"preset of {declared.name}", name, declared.presets)
    return declared.presets[name]()


@dataclass(frozen=True)
class Experiment:
    """A declaration that one runner fills.

    Attributes:
        command: what a user types to fill it, without the program.
        kind: `kind(name)`, of the run file of the cell of that name, see `ohio_bench.runner.schema`.
        presets: name -> () -> how much work, in a form of its own (called only when chosen: it may look for files).
        group: what its groups are to a reader.
        groups: `groups(made)`, their names.
        cells: `cells(made, groups)`, the cells of these groups, in the order in which they are run.
        report: `report(results, preset) -> Report`, from run files alone; writes nothing.
        settled: `settled(made, preset, results)`, the preset with what was chosen by trying, see `ohio_bench.runner.tune`.
        place: the folder of its run files in that of results.
        claims: what is claimed of it, each a `ohio_bench.report.claims.Claim`.
        measured: `measured(results, preset)`, what its run files say of each method, for these claims.
    """

    name: str
    command: str
    kind: Callable[[str], str]
    group: str
    groups: Callable[[Any], Iterable[str]]
    cells: Callable[[Any, Iterable[str]], Iterable[Cell]]
    report: Callable[[Path, str], Report]
    presets: dict[str, Callable[[], Any]]
    settled: Callable[[Any, str, Path], Any] = lambda made, preset, results: made
    place: str = "runs"
    claims: tuple[Any, ...] = ()
    measured: Callable[[Path, str], dict[tuple[str, str], Any]] = lambda results, preset: {}
    preset = preset_of
