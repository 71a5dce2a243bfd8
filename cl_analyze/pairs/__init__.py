"""One exact blocked pass over all pairs.

Everything the tool measures on pairs is a reduction over the N x N matrix of cosine similarities,
which is never held.  The matrix is cut into tiles, each tile is computed once, and every reducer
takes from it what it needs:

             cols 0    cols 1    cols 2            tile (I, J), J >= I
           +---------+---------+---------+
    rows 0 |  0,0    |  0,1    |  0,2    |        rows of I get their row sums
           +---------+---------+---------+        rows of J get its column sums
    rows 1 |         |  1,1    |  1,2    |        from the same exponentials
           +---------+---------+---------+
    rows 2 |         |         |  2,2    |
           +---------+---------+---------+

    unit rows --> Tile (similarities, masks, exponentials) --> reducer.reduce --> partial states
                                                                      |
                                              a unit merges its tiles' states in their order
                                                                      |
                       finalize(states in row order) <-- merge of units in plan order

    backend.py     the array primitives that NumPy and torch do not share
    torch_backend.py
                   those of torch, for GPUs
    device_memory.py
                   what gives way where a GPU's memory is full
    kernels/       compiled sweeps over a tile: in C, and for GPUs in Triton
    tile.py        one tile: what reducers may ask of it, computed at most once
    plan.py        which tiles, in which order: a function of the shape and the block size alone;
                   gathered into units, which are what runs at a time
    engine.py      the only loop over pairs
    threads.py     threads that an interruption cannot leave waiting for ever
    devices.py     several GPUs, with a process for each
    executors.py   where units run: here, on threads, in other processes or on a cluster
    cluster.py     a Dask cluster by its address
    saved.py       states on disk, so that a pass that was cut off goes on
    rescoring.py   nearest neighbours scored again in float64, so that rounding decides nothing
    reducers/      one file per reduction
    strips.py      whole rows at a time, for losses that keep a share of the negatives
    positive_ranks.py
                   how many negatives are nearer than each positive
    ranking.py     measures of a ranking: recall, nDCG, MAP@R
    rank_effects.py
                   what each row adds to measures of a ranking
    distance_kernels.py
                   kernels of the squared distance

Three plans exist.  The symmetric plan covers the upper triangle of one matrix of rows with itself,
the class plan only tiles that hold pairs of one class, in rows sorted by class, whose blocks end
where classes end.  The
rectangular plan takes some anchor rows against all columns (of the same rows or of others).

Why the result is the same wherever it runs: units, tiles and their order come from the plan, each
unit is computed by one thread with single-threaded BLAS, and units that arrive early wait until all
earlier ones are merged.  The instruction set of the compiled kernels is part of a run: a worker
that does not have it refuses.
"""
