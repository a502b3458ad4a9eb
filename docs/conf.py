"""Settings of the documentation's site, which `make docs` builds. Warnings are errors there."""

import runpy
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import ohio_jax

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

project, author, release = "ohio_jax", "the authors of ohio_jax", ohio_jax.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.apidoc",
    "sphinx.ext.viewcode",
    "docstrings",  # beside this file
]
exclude_patterns = ["_build", "api/modules/*/modules.rst"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

highlight_language = "none"  # of formulas in docstrings

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
autodoc_mock_imports = ["torch"]  # a peer in a speed test, which nothing here installs
autodoc_typehints = "none"  # docstrings say what arrays are, by shape
add_module_names = False

runpy.run_path(str(HERE / "figures" / "likelihood.py"))

# One page a results table, as it is.
(HERE / "results").mkdir(exist_ok=True)
for page in sorted((HERE.parent / "results").rglob("*.md")):
    if page.stem != "comparison" and not page.stem.endswith("-quick"):
        name = page.relative_to(HERE.parent / "results")
        include = f"```{{include}} ../../results/{name.as_posix()}\n:relative-images:\n```\n"
        (HERE / "results" / "-".join(name.parts)).write_text(include)


def setup(app):
    def draw(visitor, node):
        visitor.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
        raise nodes.SkipNode

    app.add_html_math_renderer("mathml", (draw, None), (draw, None))
