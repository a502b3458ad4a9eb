"""A results table as LaTeX, for papers: one booktabs tabular a block. Needs `\\usepackage{booktabs}`."""

from collections.abc import Sequence

from ohio_bench.report.entries import Entry, Shown, Untrained, blocks
from ohio_bench.runner.table import Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # what follows a line's end would be its argument
    "*": "{*}",
    **{letter: "\\" + letter for letter in "&%$#_{}"},
}


MARKS = {"": "", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "†‡": r"$^{\dagger\ddagger}$"}


def plain(text: str) -> str:
    """Text of a run file as LaTeX sets it: nothing in it is a command."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def _numbers(text: str) -> str:
    return f"${text.replace('±', chr(92) + 'pm')}$" if text else ""


def _cell(entry: Shown | None, beside: bool) -> list[str]:
    """Ours, and with `beside` the paper's figure and the difference."""
    if not isinstance(entry, Entry):
        return [plain(entry.text) if isinstance(entry, Untrained) else "", *[""] * (2 * beside)]
    ours = f"= {plain(entry.same_text)}"
    if entry.same is None:
        ours = _numbers(entry.text)
        ours = (rf"\boldmath{ours}" if entry.best else ours) + MARKS[entry.marks]
        ours += "" if entry.success is None else rf"; {entry.success:.0f}\,\%"
    return [ours, _numbers(entry.paper_text), _numbers(f"{entry.difference:+.1f}" if entry.paper else "")] if beside else [ours]


def _block(title: str, names: list[str], lines: list[tuple[str, list[Shown | None]]]) -> list[str]:
    beside = [any(entry.paper for _, row in lines if isinstance(entry := row[i], Entry)) for i in range(len(names))]
    spans, rules, second, first = [], [], [], 2
    for name, more in zip(names, beside, strict=True):
        width = 3 if more else 1
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{plain(name)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        second += ["ours", "paper", "difference"] if more else ["ours"]
        first += width
    row = lambda fields: " & ".join(fields) + r" \\"
    cells = lambda entries: [field for entry, more in zip(entries, beside, strict=True) for field in _cell(entry, more)]
    return [
        rf"\begin{{tabular}}{{l{'r' * len(second)}}}",
        r"\toprule",
        row([plain(title), *spans]),
        "".join(rules),
        row(["", *second]),
        r"\midrule",
        *(row([plain(name), *cells(entries)]) for name, entries in lines),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def text(table: Table, preset: str, learned: Sequence[Shown]) -> str:
    """Every block of the table, marked as in the page."""
    lines = [f"% {table.title}, preset {preset}: mean and standard deviation over episodes and runs. Needs booktabs."]
    lines.append("% Bold: better than all other methods on the same data, by paired comparisons with Holm's correction.")
    lines.append("% dagger: fewer than five runs; double dagger: a run collapsed; = X: the same policy as that of X.")
    for block in blocks(table, learned):
        lines += ["", *_block(*block)]
    return "\n".join(lines) + "\n"
