"""Everything in full: the suite with its campaigns whole, and the campaigns that are commands.

    python -m tests.nightly            # some hours
    python -m tests.nightly suite fuzz # some of it

The suite has about a tenth of each, with bounds that are wider for it.  In full, properties, files
and interruptions are drawn anew each night.  The simulations of error bars, anchors and gates print
tables to hold against those of the docs; only a crash makes them fail.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time

from tests.forks import ROOT

SEED = str(random.SystemRandom().randrange(10**6))
CAMPAIGNS = {
    "suite": ["-m", "pytest", "-q", "--durations=40"],
    "without kernels": ["-m", "pytest", "-q", "tests/property", "tests/reference"],
    "fuzz": ["-m", "tests.fuzz", "--cases", "200000", "--seed", SEED],
    "interruptions": ["-m", "tests.interruptions", "--rounds", "400", "--seed", SEED],
    "sanitizers": ["-m", "tests.sanitize", "20"],
    "error bars": ["bench/coverage.py", "--repeats", "1000"],
    "error bars of losses": ["bench/coverage.py", "--losses", "--repeats", "300"],
    "error bars of neighbours": ["bench/coverage.py", "--neighbours", "--repeats", "500"],
    "error bars of quality": ["bench/coverage.py", "--quality", "--repeats", "200"],
    "anchors": ["bench/anchor_coverage.py", "--seeds", "500"],
    "gates": ["bench/gates.py", "--repeats", "1000", "--seed", SEED],
}
"""Name -> what the interpreter runs."""
VARIABLES = {"without kernels": {"CL_ANALYZE_KERNELS": "off"}}


def main() -> int:
    """Run the campaigns one after the other; 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.nightly", description=__doc__)
    parser.add_argument("campaigns", nargs="*", choices=[*CAMPAIGNS, []], metavar="CAMPAIGN")
    wanted = parser.parse_args().campaigns or list(CAMPAIGNS)
    failed = []
    for name in wanted:
        started = time.monotonic()
        print(f"== {name} (seed {SEED})", flush=True)
        code = subprocess.run(
            [sys.executable, *CAMPAIGNS[name]],
            cwd=ROOT,
            env={**os.environ, "CL_ANALYZE_NIGHTLY": "1", **VARIABLES.get(name, {})},
        ).returncode
        print(f"== {name}: exit code {code}, {time.monotonic() - started:.0f} s", flush=True)
        failed += [name] * bool(code)
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
