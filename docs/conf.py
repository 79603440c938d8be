"""Sphinx configuration: ``sphinx-build -W docs build/docs``."""

import fastmat

project = "fastmat"
author = "The fastmat developers"
copyright = f"2026, {author}"
release = version = fastmat.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"fastmat {release}"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
autodoc_typehints = "none"  # numpydoc's sections say it in words
