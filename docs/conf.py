"""Settings of the documentation's site, which `make docs` builds. Warnings are errors there."""

import dataclasses
import os
import runpy
import shutil
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import ohio_jax

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402  (beside this file)

project, author, release = "ohio_jax", "the authors of ohio_jax", ohio_jax.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.apidoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "api/modules/*/modules.rst"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

highlight_language = "none"  # of formulas in docstrings
default_role = "code"  # of one pair of backticks in docstrings, as in Markdown
napoleon_custom_sections = [("Attributes", "params_style")]  # which may name several at once

html_theme = "furo"
html_title = f"ohio_jax {release}"
html_static_path, html_css_files = ["static"], ["wide.css"]
html_show_copyright = False
html_math_renderer = "mathml"  # which browsers draw themselves: no script, no network

# One page a module, made of docstrings.
each_module = {"separate_modules": True, "automodule_options": {"members"}}
apidoc_modules = [
    {"path": str(HERE.parent / folder / room), "destination": f"api/modules/{room}", **each_module}
    for folder, room in (("", "ohio_jax"), ("envs", "ohio_envs"), ("benchmarks", "ohio_bench"))
]
autodoc_default_options = {"ignore-module-all": True, "member-order": "bysource"}
autodoc_mock_imports = ["torch"]  # a peer in a speed test, which only an extra of its own installs
autodoc_typehints_format = "short"
add_module_names = False

runpy.run_path(str(HERE / "figures" / "likelihood.py"))

# Tasks, commands, and what else there is by name.
generate.write(HERE)

# One page a results table, as it is, in folders as there, since pages name each other.
shutil.rmtree(HERE / "tables", ignore_errors=True)  # with pages of presets that are gone
for page in sorted((HERE.parent / "results").rglob("*.md")):
    if page.stem != "comparison" and not page.stem.endswith("-quick"):
        shown = HERE / "tables" / page.relative_to(HERE.parent / "results")
        # An accelerator's pages are there once somebody had one, so that no table of contents can name them.
        orphan = "---\norphan: true\n---\n" if page.stem.endswith(("-gpu", "-tpu")) else ""
        include = f"{orphan}```{{include}} {Path(os.path.relpath(page, shown.parent)).as_posix()}\n:relative-images:\n```\n"
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text(include)


def comments(app, what, name, obj, options, lines):
    """A dataclass whose fields have comments gets them as `Attributes:`, unless its docstring has its own."""
    if isinstance(obj, type) and dataclasses.is_dataclass(obj) and "Attributes:" not in lines:
        found = generate.fields(obj)
        lines += ["", "Attributes:", *(f"    {field.name}: {field.comment}" for field in found)] if found else []


def without_aliases(app, what, name, obj, skipped, options):
    """A named tuple's fields are in its docstring."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app):
    app.connect("autodoc-process-docstring", comments, priority=100)  # before napoleon reads them
    app.connect("autodoc-skip-member", without_aliases)

    def draw(visitor, node):
        visitor.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
        raise nodes.SkipNode

    app.add_html_math_renderer("mathml", (draw, None), (draw, None))
