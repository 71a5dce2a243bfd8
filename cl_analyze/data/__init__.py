"""Embeddings, labels and groups as they come: opened lazily, checked once, normalised per block.

    formats/        one file per file format, each registered by one line
    rows.py         RowArray: rows of a file or an array, read block by block as real numbers
    spec.py         PATH::KEY: from what the user wrote to one array
    in_memory.py    arrays of other libraries in memory
    opening.py      which array of a file is which: open_embeddings()
    labels.py       labels and groups as integer codes
    validation.py   what must hold before any metric: finite, non-zero, at least two rows
    unit.py         rows on the unit sphere, block by block

Nothing here knows what a metric is.
"""
