"""The command line: parse, call the library, print.  Only this package prints or exits.

entry.py       the console script: runs the command line and returns the exit code
app.py         the Typer application
commands.py    every command: name, help text, runner
parameters.py  parameters and help of a command, from the declared options
defaults.py    defaults of options from a project's file
lists.py       list options: --tau 0.07 0.2 0.5
run.py         runner of the metric commands: run, write files, print
gate.py        runner of `check`
inspect.py     runner of `inspect`
supervised.py  a run under a memory limit, in a child process
terminal.py    standard output, notes and progress
"""
