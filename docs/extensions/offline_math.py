"""Equations as MathML, made while the site is built: no script, no network, no TeX."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number


def _mathml(node: nodes.Element, *, block: bool) -> str:
    """The equation of a node; an unknown TeX command stops the build."""
    tex = node.astext()
    try:
        return str(tex2mathml(tex, as_block=block))
    except Exception as error:
        raise ExtensionError(f"{node.source}: no MathML for {tex!r}: {error}") from error


def _inline(visitor: Any, node: nodes.Element) -> None:
    visitor.body.append(f'<span class="math">{_mathml(node, block=False)}</span>')
    raise nodes.SkipNode


def _display(visitor: Any, node: nodes.Element) -> None:
    visitor.body.append(visitor.starttag(node, "div", CLASS="math"))
    if node["number"]:
        visitor.body.append(
            f'<span class="eqno">({get_node_equation_number(visitor, node)})</span>'
        )
    visitor.body.append(f"{_mathml(node, block=True)}</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer `mathml` to html builders."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
