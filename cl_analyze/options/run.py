"""How results are computed: device, precision, threads, memory, resuming."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cl_analyze.options.commands import ANALYSING, EVERY, MEASURING
from cl_analyze.options.declaration import COMPUTATION, INPUTS, MEASURED, Checked, option
from cl_analyze.options.kinds import Choice, Kind, Place, Size, Whole

Precision = Literal["auto", "float32", "float64"]
OnInvalid = Literal["error", "drop"]


@dataclass(frozen=True)
class RunOptions(Checked):
    """How to compute.  Only `definition`, `unlabelled` and `on_invalid` select other results.

    The other fields change results by rounding errors only.

    Attributes that are not options:
        block: rows of a tile; None: the fastest size that fits into the memory budget.
        save_every: seconds between two saves of states to the `resume` folder.

    With precision "auto", float64 is used for float64 input of at most 20,000 rows, and for
    temperatures below 0.02.

    >>> RunOptions(precision="float64", threads=1).on_invalid
    'error'
    """

    device: str = option(
        "cpu",
        Kind("NAME"),
        COMPUTATION,
        "--device",
        "Processor: cpu, or with PyTorch cuda, cuda:0,cuda:1, cuda:all or mps",
        ANALYSING,
    )
    precision: Precision = option(
        "auto",
        Choice(words=("auto", "float32", "float64")),
        COMPUTATION,
        "--precision",
        "Floating-point type of the similarities",
        ANALYSING,
    )
    threads: int | None = option(
        None,
        Whole("N"),
        COMPUTATION,
        "--threads",
        "Number of threads",
        ANALYSING,
        unset="one for each core; one more without compiled kernels",
    )
    memory: int | None = option(
        None,
        Size(),
        COMPUTATION,
        "--memory",
        "Memory to use at most, such as 2GiB",
        ANALYSING,
        unset="a quarter of the free memory",
    )
    block: int | None = None
    on_invalid: OnInvalid = option(
        "error",
        Choice(words=("error", "drop")),
        INPUTS,
        "--on-invalid",
        "What to do with rows that hold NaN or infinity or have length 0",
        ANALYSING,
    )
    unlabelled: str | None = option(
        None, Kind("LABEL"), INPUTS, "--unlabelled", "Label that means: no label, such as -1", EVERY
    )
    definition: str | None = option(
        None,
        Kind("NAME"),
        MEASURED,
        "--definition",
        "Where a metric has a definition of this name, give this one only",
        MEASURING,
    )
    resume: str | Path | None = option(
        None,
        Place("DIR"),
        COMPUTATION,
        "--resume",
        "Save partial results in DIR; the same command then continues from them",
        ANALYSING,
    )
    save_every: float = 20.0
    scheduler: str | None = option(
        None,
        Kind("ADDRESS"),
        COMPUTATION,
        "--scheduler",
        "Compute on the Dask cluster at tcp://HOST:PORT (needs distributed)",
        ANALYSING,
        only_typed="a file that comes with a project must not choose which machine is sent work",
    )
