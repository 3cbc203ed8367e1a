"""How Sphinx builds the documentation: `sphinx-build -W --keep-going docs docs/_build`."""

from __future__ import annotations

from importlib.metadata import metadata
from pathlib import Path

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

# What the project is called, and which version this is, stands in pyproject.toml alone.
_project = metadata("rxddbstream")
project = _project["Name"]
release = version = _project["Version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# Headings get the anchors that GitHub gives them, so that links work in both places.
myst_heading_anchors = 4

# `Poll` in a docstring is code, and a link where there is such a name. Diagrams have no language.
default_role = "py:obj"
highlight_language = "text"

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_custom_sections = [("Attributes", "params_style"), ("Errors at on_error", "params_style")]
napoleon_use_param = False  # a line may tell of several: "lateness, late, name: as for `window`"

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = project
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_copyright = False


def inline_pictures(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put SVG pictures into the page itself: only there do they take on its colours, light or dark."""
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].endswith(".svg"):
            svg = (Path(app.srcdir) / image["uri"]).read_text()
            image.replace_self(nodes.raw("", svg, format="html"))


# Nobody makes objects of these: one gets them, or gives a class of one's own their members.
NOT_MADE = {"CheckpointStore", "DemoTable", "ShardStream", "SimulatedClient", "Stream", "Window", "Windower"}


def hide_constructors(_app: Sphinx, what: str, name: str, *_: object) -> tuple[str, None] | None:
    return ("", None) if what == "class" and name.rpartition(".")[2] in NOT_MADE else None


def setup(app: Sphinx) -> None:
    app.add_lexer("mermaid", TextLexer)  # GitHub draws it
    app.connect("autodoc-process-signature", hide_constructors)
    app.connect("doctree-resolved", inline_pictures)
