"""Results: records and tables, the document that holds them, and statistics of them.

tables.py             a record is one number with its error; tables for CSV, JSON and pandas
columns.py, declared_tables.py, declared_comparisons.py   the columns of every table, in words
document.py           everything that a run found, as data
stats.py              standard errors, intervals, paired differences, Holm's adjustment
similarity_groups.py  names of the groups of similarities
"""
