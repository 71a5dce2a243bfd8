"""Settings of the documentation's site: `sphinx-build -W --keep-going -n -c docs . build/site`.

The source folder is the repository, so that a link from one page to another (`../CHANGELOG.md`,
`../sample_data/README.md`) is the same path here, on a code host and in an editor.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import site_parts  # noqa: E402

from cl_analyze import __version__  # noqa: E402

project = "cl_analyze"
author = "The cl_analyze developers"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "site_parts",
]
exclude_patterns = ["build", "cl-analyze-out"]
root_doc = "docs/index"
include_patterns = [*site_parts.PAGES]
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
nitpicky = True
nitpick_ignore = [  # types of attributes that are no part of the API
    ("py:class", "cl_analyze.results.document.Document"),
    ("py:class", "cl_analyze.metrics.differences.RowKeys"),
]
# types of other packages, whose indexes would have to be fetched
nitpick_ignore_regex = [(r"py:.*", r"(?!cl_analyze\b).*")]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes that are not options", "params_style")]
add_module_names = False
default_role = "code"

html_theme = "furo"
html_title = f"cl_analyze {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
