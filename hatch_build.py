"""Build hook: compiles the kernels into the package where there is a C compiler.

A build never fails for want of a compiler: the package then has a note that says why there is no
library, and NumPy computes what the kernels would.  The library needs neither Python's headers nor
its version, so that one wheel serves every Python of a platform.

Environment:
    CL_ANALYZE_KERNELS: off builds the wheel without kernels, py3-none-any, for the platforms that
        no other wheel serves.
"""

from __future__ import annotations

import os
import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("cl_analyze/pairs/kernels")


class KernelsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled library, or the reason for its absence, to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; an editable install gets the library beside its sources."""
        folder = Path(self.root) / FOLDER
        build_into = runpy.run_path(str(folder / "build.py"))["build_into"]
        self._temporary = tempfile.TemporaryDirectory()
        is_editable = version == "editable"
        is_off = os.environ.get("CL_ANALYZE_KERNELS") == "off"
        unwanted = "this wheel was built without them" if is_off else ""
        made = Path()
        try:
            target = folder if is_editable else Path(self._temporary.name)
            made, reason = build_into(target, unwanted)
        except OSError as error:  # an editable install from files that cannot be written
            reason = f"{folder} cannot be written: {error.strerror}"
            is_editable = True
        if reason:
            self.app.display_warning(f"no compiled kernels: {reason}; NumPy serves, more slowly")
        if is_editable:
            return
        build_data["force_include"][str(made)] = str(FOLDER / made.name)
        if not reason:
            platform = self.build_config.builder.get_best_matching_tag().rpartition("-")[2]
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Forget the temporary files."""
        self._temporary.cleanup()
