"""The errors that sunaug raises on purpose, each with the exit code that the command line gives it.

A message says in one sentence what is wrong, where, and what to do. Everything else that is raised is a bug.
"""


class SunaugError(Exception):
    """The work could not be done with what was given (exit code 1)."""

    exit_code = 1


class UsageError(SunaugError):
    """The request itself makes no sense: an unknown channel, a size of zero (exit code 2)."""

    exit_code = 2


class GateRefused(SunaugError):
    """The fidelity gate refused a synthetic cube (exit code 3)."""

    exit_code = 3
