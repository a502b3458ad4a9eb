"""The project's docstrings as reStructuredText: plain text in which backticks mark code, lines name fields, and what is indented
is a formula."""

import re
from typing import Any

# At the start of a line: `name, other: ` or `function(argument) -> `.
NAME = r"[a-z_][\w.]*(\([^()]*\))?"
FIELD = re.compile(rf"({NAME}(, {NAME})*)(: | -> )(?=\S)")


def inline(text: str) -> str:
    """Code in double backticks; outside it nothing is markup."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a lone backtick
        return re.sub(r"([\\*_|`])", r"\\\1", text)
    return "``".join(part if i % 2 else re.sub(r"([\\*_|])", r"\\\1", part) for i, part in enumerate(parts))


def paragraph(lines: list[str]) -> list[str]:
    """One paragraph: a formula where it is indented as a whole; else prose, in which a line that names a field begins an item."""
    if all(line.startswith("    ") for line in lines):
        return ["::", "", *lines, ""]
    items: list[str] = []
    for line in lines:
        field = FIELD.match(line)
        if field:
            items.append(f"- **{inline(field[1])}**{line[field.end(1) :]}")
        elif not items or (line.startswith("Raises ") and items[-1].startswith("- ")):
            items.append(line)
        else:
            items[-1] += " " + line.strip()
    out: list[str] = []
    for item in items:
        # What stands in bold is escaped already.
        end = item.index("**", 4) + 2 if item.startswith("- **") else 0
        out += [item[:end] + inline(item[end:]), ""]
    return out


def convert(docstring: str) -> str:
    """A docstring without its common indentation, as reStructuredText."""
    blocks = re.split(r"\n\s*\n", docstring.strip("\n"))
    return "\n".join(line for block in blocks for line in paragraph(block.rstrip().split("\n")))


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's event `autodoc-process-docstring`."""
    lines[:] = convert("\n".join(lines)).split("\n")


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Sphinx's event `autodoc-skip-member`: a named tuple's fields are in its docstring."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
