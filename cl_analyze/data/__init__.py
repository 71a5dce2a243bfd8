"""Embeddings, labels and groups of files: opened lazily, checked once, normalised per block.

    formats/        one file per file format, each registered by one line
    rows.py         RowArray: rows of a file or an array, read block by block as real numbers
    ranged.py       rows by byte ranges; joined.py: rows in pieces, decoded when needed
    spec.py         PATH::KEY: from what the user wrote to one array
    in_memory.py    arrays of other libraries in memory; tables_in_memory.py: columns of tables
    opening.py      which array of a file is which: open_embeddings()
    labels.py       labels and groups as integer codes
    validation.py   conditions before any metric: rows are finite and not zero
    unit.py         rows on the unit sphere, block by block

No module here knows of metrics.
"""
