"""The errors that are the user's to mend.

Every message says what must hold, what was found, where, and what to do.  The command line turns
them into one line on stderr and exit code 2; from Python they are ordinary exceptions.
"""


class AnalysisError(Exception):
    """The analysis cannot be done as asked; the message says why and what would help."""


class CheckFailedError(Exception):
    """A check failed: the verdict of a gate, not an error of the program."""


class DataError(AnalysisError):
    """A file or an array does not hold what an analysis needs."""


class ConfigError(AnalysisError):
    """An option or a combination of options makes no sense."""


class DependencyError(AnalysisError):
    """A library that this input needs is not installed."""
