"""cl_analyze: metrics of saved contrastive embeddings.

>>> import numpy as np
>>> import cl_analyze as cla
>>> round(cla.uniformity(np.eye(8), t=2.0).value, 9)     # orthogonal rows: -2t
-4.0

The import of this package loads neither NumPy nor torch; the first use of a name loads its module.

api           analyze(), compare(), uniformity() ...: what people call
options       every option, declared once
inputs, data  requests, companions and files become a subject
pairs         the blocked pass over all pairs of rows, and its reducers
metrics       one file a family, every metric declared beside its formula
losses        torch modules to train with; training: metrics and a callback while training
analysis      from requests to a report; comparison, checks: several checkpoints, gates
results       records, tables, the document, and statistics of them
figures, report, cli   renderings, and the command line
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cl_analyze._version import __version__

if TYPE_CHECKING:
    from cl_analyze import losses
    from cl_analyze.analysis.report import Report
    from cl_analyze.api import (
        analyze,
        compare,
        penalty,
        quality,
        similarity,
        tolerance,
        uniformity,
    )
    from cl_analyze.errors import (
        AnalysisError,
        ConfigError,
        DataError,
        DependencyError,
    )
    from cl_analyze.inputs.progress import Progress
    from cl_analyze.options import Request, RunOptions
    from cl_analyze.results.tables import Record, Results, Table

_MODULE_OF = {
    "AnalysisError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "DependencyError": "errors",
    "Progress": "inputs.progress",
    "Record": "results.tables",
    "Report": "analysis",
    "Request": "options",
    "Results": "results.tables",
    "RunOptions": "options",
    "Table": "results.tables",
    "analyze": "api",
    "compare": "api",
    "penalty": "api",
    "quality": "api",
    "similarity": "api",
    "tolerance": "api",
    "uniformity": "api",
}

__all__ = [
    "AnalysisError",
    "ConfigError",
    "DataError",
    "DependencyError",
    "Progress",
    "Record",
    "Report",
    "Request",
    "Results",
    "RunOptions",
    "Table",
    "__version__",
    "analyze",
    "compare",
    "losses",
    "penalty",
    "quality",
    "similarity",
    "tolerance",
    "uniformity",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "losses":  # a package that is also a function
        return import_module(f"{__name__}.losses")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
