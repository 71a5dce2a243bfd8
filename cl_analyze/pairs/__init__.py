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
                       finalize(states in row order) <-- merge in plan order

    backend.py     the dozen array primitives that tiles and reducers use, for NumPy and torch
    tile.py        one tile: what reducers may ask of it, computed at most once
    plan.py        which tiles, in which order: a function of the shape and the block size alone
    engine.py      the only loop over pairs
    executors.py   where tiles run: here, or on threads
    rescoring.py   nearest neighbours scored again in float64, so that rounding decides nothing
    reducers/      one file per reduction

Two plans exist.  The symmetric plan covers the upper triangle of one matrix of rows with itself.
The rectangular plan takes some anchor rows against all columns (of the same rows or of others).

Why the result is the same for any number of threads: tiles and their order come from the plan,
each tile is computed by one thread with single-threaded BLAS, and partial states that arrive early
wait until all earlier ones are merged.
"""
