"""The documentation site: `sphinx-build -n -W --keep-going docs site` (extra `docs`), then open site/index.html.

Nothing is fetched while it is built or read: formulas become MathML at build time, and scripts and fonts lie beside the
pages. Tutorials are run while it is built; a warning, a broken link and a missing reference are errors.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE / "_ext"))

import api_pages  # noqa: E402
import navigation  # noqa: E402

os.environ.setdefault("GROKFAST_NATIVE", "require")
os.environ.setdefault("MPLBACKEND", "Agg")

project = "grokfast"
author = "The grokfast authors"
version = release = metadata.version("grokfast")
project_copyright = author

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "sphinx_external_toc",
    "sphinx_copybutton",
    "myst_parser",
    "mathml",
    "references",
]
external_toc_path = "api/_toc.yml"
exclude_patterns = ["_ext", "measures/plots.py", "tutorials/*.ipynb", "**/GALLERY_HEADER.rst"]
nitpicky = True
nitpick_ignore_regex = [
    # Other packages have no index of names that could be read offline.
    ("py:.*", r"(?!grokfast\.).*"),
]
# Patterns of pages to come, the gallery's own lists, and classes of one short name in two modules.
suppress_warnings = ["config.cache", "etoc.glob", "etoc.toctree", "ref.python"]

myst_enable_extensions = ["dollarmath", "colon_fence", "tasklist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_typehints = "signature"
autodoc_member_order = "groupwise"
autodoc_preserve_defaults = True
autodoc_default_options = {"imported-members": True}
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False
napoleon_custom_sections = ["Source", ("Members", "params_style")]

# What the site needs lies in tutorials/; their own runs lie in a folder that is thrown away.
sphinx_gallery_conf = {
    "examples_dirs": ["../examples/tutorials"],
    "gallery_dirs": ["tutorials"],
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
    "min_reported_time": 0,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "reset_modules": ("matplotlib",),
    "show_memory": False,
    "plot_gallery": os.environ.get("GROKFAST_DOCS_TUTORIALS", "run") != "skip",
}
_scratch = tempfile.TemporaryDirectory(prefix="grokfast-tutorials-")

html_theme = "furo"
html_title = "grokfast"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_extra_path: list[str] = []
html_theme_options = {
    "light_css_variables": {"font-stack": "system-ui, sans-serif"},
    "dark_css_variables": {"font-stack": "system-ui, sans-serif"},
}
copybutton_prompt_text = "$ "
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

api_pages.write(HERE / "api")
navigation.write(HERE / "_toc.yml", HERE / "api" / "_toc.yml")
