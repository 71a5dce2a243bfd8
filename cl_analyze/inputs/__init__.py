"""From what the user names to a subject that can be measured.

companions.py   labels, partners, groups, ids, queue ...: one table of roles, one loop over it
checks.py       rows that are left, and warnings
memory.py       threads, precision, tiles
prepare.py      all of it: a request becomes a subject
names.py        what checkpoints are called
entries.py      what the document says of the files
listener.py     who is told how a run goes
"""
