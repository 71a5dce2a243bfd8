"""Results: records and tables, the document that holds them, and statistics of them.

tables.py             a record is one number with its error; tables for CSV, JSON and pandas
document.py           everything that a run found, as data
stats.py              standard errors, intervals, paired differences, Holm's adjustment
similarity_groups.py  names of the groups of similarities
"""
