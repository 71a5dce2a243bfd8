"""The command line: parse, call the library, print.  Nothing else prints or exits.

entry.py     the console script: every outcome to its exit code
app.py       the commands, one file each
options.py   every option, once
lists.py     --tau 0.07 0.2 0.5
run.py       what the metric commands share: run, write files, print
terminal.py  standard output, notes and progress
"""
