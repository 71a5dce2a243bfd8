"""Write docs/cli.md from the commands' own help, or check that it is up to date.

python docs/make_cli_reference.py            # write
python docs/make_cli_reference.py --check    # exit 1 where it is stale
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).with_name("cli.md")
COMMANDS = (
    "",
    "uniformity",
    "tolerance",
    "similarity",
    "penalty",
    "losses",
    "quality",
    "compare",
    "report",
    "check",
    "inspect",
)
HEAD = """# Command-line reference

Generated from the help by `python docs/make_cli_reference.py`; do not edit.
"""


def help_of(command: str) -> str:
    """The help of a command as a terminal of 80 columns shows it."""
    result = subprocess.run(
        [sys.executable, "-m", "cl_analyze", *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1"},
    )
    return result.stdout.rstrip()


def reference() -> str:
    """The whole page."""
    sections = [HEAD]
    for command in COMMANDS:
        title = f"cl-analyze {command}".strip()
        sections.append(f"## {title}\n\n```text\n{help_of(command)}\n```\n")
    return "\n".join(sections)


def main() -> int:
    """Write or check."""
    text = reference()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        print(f"{TARGET.name} is up to date")
        return 0
    print(f"{TARGET.name} is stale: run python docs/make_cli_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
