"""Cases without number for whatever reads bytes or words that somebody else wrote.

`test_fuzz.py` runs a seeded part of them in the suite; `python -m tests.fuzz` runs as many as asked
for.  A case passes when it is read, or refused with an error of our own.
"""
