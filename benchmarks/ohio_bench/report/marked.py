"""What texts say of claims: the lines and tables between markers, which the command `claims --write` makes from run files.

A marker is a line of its own, `<!-- claims: reacher -->` or `<!-- table: reacher/observed routing -->`, and ends at a line
`<!-- /claims -->` or `<!-- /table -->`. It names claims, or experiments for all of theirs.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ohio_bench.report import claims
from ohio_bench.report.claims import FIELDS, HOLDS, Claim, Judged
from ohio_bench.report.text import plain, table
from ohio_bench.runner.cell import RESULTS, Experiment
from ohio_jax.errors import UserError, counted, short

OPENING = re.compile(r"^<!-- (claims|table): ([^\n]*?) -->$", re.M)
BLOCK = re.compile(r"^<!-- (claims|table): ([^\n]*?) -->\n(?:(?!<!-- (?:claims|table):).)*?^<!-- /\1 -->$", re.M | re.S)
STALE = "Stale: made with earlier code or settings, and not yet rerun."

# experiment -> preset -> its claims
Found = Mapping[str, Mapping[str, list[Judged]]]


def title(experiment: str) -> str:
    """What a reader knows an experiment by."""
    return "Fine-tuning" if experiment == "finetune" else experiment.replace("-", " ").capitalize()


def difference(of: Judged) -> str:
    """What the interval allows, in words: the only place that says which method has more."""
    if of.claim.relation == "equal" and not of.why:
        return "exactly as much as" if of.verdict == HOLDS else "not exactly as much as"
    assert of.effect is not None, "a claim that was compared has one"
    if of.low is None or of.high is None:
        return f"{abs(of.effect):.1f} (no interval) {'more' if of.effect > 0 else 'less'} than"
    if of.low > 0:
        return f"{of.effect:.1f} ({of.low:.1f} to {of.high:.1f}) more than"
    if of.high < 0:
        return f"{-of.effect:.1f} ({-of.high:.1f} to {-of.low:.1f}) less than"
    return f"between {-of.low:.1f} less and {of.high:.1f} more than"


def sentence(of: Judged) -> str:
    """The claim's, filled; what it compares, where there are no numbers that it could be filled with."""
    claim = of.claim
    if of.effect is None:
        theirs = claim.theirs if isinstance(claim.theirs, str) else f"{claim.theirs:g}"
        return f"{_measured(claim)} compared with {theirs}{' on ' * bool(claim.rows)}{', '.join(claim.rows)}."
    numbers = dict(zip(FIELDS[1:], (of.runs, of.rows, *of.updates), strict=True))
    return claim.sentence.format(difference=difference(of), **{name: f"{number or 0:,}" for name, number in numbers.items()})


def _measured(claim: Claim) -> str:
    return claim.ours if claim.statistic == "score" else f"{claim.ours}, {claim.statistic}"


def relation(claim: Claim) -> str:
    """What was claimed, in a word or two."""
    words = {"above": "more", "below": "less", "within": "within", "equal": "equal"}[claim.relation]
    by = " by more than" if claim.relation in ("above", "below") else ""
    return f"{words}{by} {claim.margin:g}" if claim.margin else words


def verdict(of: Judged) -> str:
    return "not run" if of.missing else of.verdict + (", stale" if of.stale else "")


def counts(of: Judged) -> str:
    """What a verdict rests on."""
    same = f", on {of.same} of which both play the same policy" if of.same else ""
    collapsed = f"; {counted(of.collapsed, 'run')} of these methods collapsed" if of.collapsed else ""
    return f"{counted(of.runs, 'run')}, {counted(of.rows, 'data set')}{same}{collapsed}"


def ending(of: Judged, bold: str = "") -> str:
    """What was claimed, and what came of it."""
    more = f": {plain(of.why) if bold else of.why}" if of.why else f"; {counts(of)}"
    return f"Claimed: {relation(of.claim)}; {bold}{verdict(of)}{bold}{more}."


def lines(found: Iterable[tuple[str, Judged]]) -> str:
    """A list, a claim an item."""
    return "\n".join(f"- {sentence(of)} {ending(of, '**')}" for _, of in found)


def as_table(found: Iterable[tuple[str, Judged]]) -> str:
    """A table, a claim a row."""
    mean = lambda value: "" if value is None else f"{value:.1f}"
    rows = []
    for experiment, of in found:
        claim = of.claim
        domain = title(experiment)  # which has no page before it has run files
        page = f"[{domain}](results/{experiment}-{claim.preset}.md)" if of.cells else domain
        theirs = claim.theirs if isinstance(claim.theirs, str) else f"{claim.theirs:g}"
        between = "" if of.low is None else f"{of.effect:+.1f} ({of.low:+.1f} to {of.high:+.1f})"
        data = ", ".join(claim.rows) if 0 < len(claim.rows) < 3 else str(of.rows or "")
        said = [relation(claim), verdict(of)]
        first = [page, plain(data), str(of.runs or ""), plain(_measured(claim)), mean(of.ours), plain(theirs), mean(of.theirs)]
        rows.append([*first, between, *said])
    head = ("domain", "data sets", "runs", "method", "score", "compared with", "score", "difference", "claimed", "verdict")
    return table(head, rows, None)


def rewritten(text: str, found: Found, where: str = "text") -> str:
    """A text with its blocks made anew; what is outside of markers stays.

    Raises:
        UserError: for a marker that is not ended, or names what is not there.
    """
    forms: dict[str, Callable[[Iterable[tuple[str, Judged]]], str]] = {"claims": lines, "table": as_table}
    blocks = list(BLOCK.finditer(text))
    for opening in OPENING.finditer(text):
        if opening.start() not in {block.start() for block in blocks}:
            raise UserError(f"{where}: expected <!-- /{opening[1]} --> after {opening[0]}, found none")

    def made(block: re.Match[str]) -> str:
        chosen = _named(block[2], found, where)
        stale = f"\n\n{STALE}" if any(of.stale for _, of in chosen) else ""
        return f"<!-- {block[1]}: {block[2]} -->\n\n{forms[block[1]](chosen)}{stale}\n\n<!-- /{block[1]} -->"

    return BLOCK.sub(made, text)


def _named(words: str, found: Found, where: str) -> list[tuple[str, Judged]]:
    """The claims that a marker names, each with its experiment."""
    known = {experiment: [of for preset in presets.values() for of in preset] for experiment, presets in found.items()}
    out = []
    for word in words.split():
        experiment, _, name = word.partition("/")
        chosen = [(experiment, of) for of in known.get(experiment, []) if name in ("", of.claim.name)]
        if not chosen:
            names = [f"{of}/{judged.claim.name}" for of, family in known.items() for judged in family]
            raise UserError(f"{where}: expected claims out of {', '.join(names)}, found {short(word)}")
        out += chosen
    return out


def all_of(experiments: Iterable[Experiment], results: Path = RESULTS) -> Found:
    """Every claim of these experiments that have any. Raises UserError where there are no results, or a run file is damaged."""
    if not (results / "runs").is_dir():
        raise UserError(f"{results}: expected a folder of results, with run files in its folder runs, found none")
    return {of.name: claims.of_experiment(of, results) for of in experiments if of.claims}


def files(found: Found, results: Path, root: Path = Path()) -> dict[Path, bytes]:
    """What `claims --write` writes: `claims/<experiment>-<preset>.json` of the results, and README.md and docs of the root.

    Raises:
        UserError: for a text that is not UTF-8, and for what `rewritten` refuses.
    """
    made = {
        results / "claims" / f"{name}-{preset}.json": json.dumps({"claims": as_json({name: {preset: family}})}, indent=2) + "\n"
        for name, presets in found.items()
        for preset, family in presets.items()
    }
    docs = root / "docs"
    for path in [root / "README.md", *sorted(docs.glob("*.md")), *sorted((docs / "results").glob("*.md"))]:
        if path.exists() and OPENING.search(text := _read(path)):
            made[path] = rewritten(text, found, str(path))
    return {path: text.encode() for path, text in made.items()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: expected a text in UTF-8, found other bytes") from None


def as_json(found: Found) -> list[dict[str, Any]]:
    """What files and `--json` hold: fields of `Judged` and of its claim."""
    every = [(name, of) for name, presets in found.items() for family in presets.values() for of in family]
    return [{"experiment": name, **of.as_json(), "said": sentence(of)} for name, of in every]


def shown(found: Found) -> str:
    """What a terminal shows."""
    out = []
    for name, presets in found.items():
        for preset, family in presets.items():
            out.append(f"{name}, preset {preset}")
            for of in family:
                out.append(f"  {verdict(of):<17} {of.claim.name}: {sentence(of)}")
                out.append(" " * 20 + (of.why or numbers(of)))
    return "\n".join(out) or "no claims"


def numbers(of: Judged) -> str:
    """A verdict's numbers, in one line."""
    said = [f"claimed: {relation(of.claim)}", counts(of)]
    if of.low is not None and of.confidence is not None:
        level = f"{100 * of.confidence:.3g} % interval {of.low:.1f} to {of.high:.1f}"
        said += [f"difference {of.effect:.1f}", level, f"p {of.adjusted:.2g} after Holm"]
    return "; ".join(said)
