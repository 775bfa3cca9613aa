"""How the documentation is built: `sphinx-build -W --keep-going docs out/site`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "extensions"))

import align3r  # noqa: E402  (its version)

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "align3r"
author = "the align3r authors"
copyright = "2026, the align3r authors. Code: Apache-2.0"
release = version = align3r.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "offline_math",
    "from_the_code",
]
exclude_patterns = ["extensions"]
# Two dashes are an option, not a long dash.
smartquotes = False

# Pages are read as files too: headings get the same anchors as on a code host.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_block"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

# `word` in a docstring is code, as everywhere in this project.
default_role = "code"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
python_use_unqualified_type_names = True
python_display_short_literal_types = True
python_maximum_signature_line_length = 100
pygments_style = "tango"
pygments_dark_style = "monokai"

html_theme = "furo"
html_title = f"align3r {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
# Equations are MathML and pictures are local: a built site needs no network.
html_math_renderer = "mathml"
html_theme_options = {"source_directory": "docs/"}


def setup(app: Sphinx) -> None:
    """Keep napoleon from taking `Everything else: a, b` below a field for the field's type."""
    kept: dict[str, list[str]] = {}

    def keep(_: Sphinx, what: str, name: str, __: Any, ___: Any, lines: list[str]) -> None:
        if what == "attribute":
            kept[name] = list(lines)

    def put_back(_: Sphinx, what: str, name: str, __: Any, ___: Any, lines: list[str]) -> None:
        if what == "attribute":
            lines[:] = kept.pop(name)

    app.connect("autodoc-process-docstring", keep, priority=100)
    app.connect("autodoc-process-docstring", put_back, priority=900)
