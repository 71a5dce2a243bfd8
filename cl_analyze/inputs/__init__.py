"""From the paths or arrays of a request to a subject, from which metrics are computed.

companions.py   labels, partners, groups, ids, queue ...: a table of roles, and one loop over it
columns.py      tables in memory: which column is which
checks.py       selection of the valid rows, and warnings about the inputs
memory.py       threads, precision, tile size
prepare.py      the whole path: opens, checks and normalises a request into a subject
names.py        names of checkpoints in the output
entries.py      entries of `inputs` in the document
listener.py     receivers of notes, warnings and progress
progress.py     such receivers for Python programs: bars, or a function
"""
