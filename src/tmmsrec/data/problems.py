"""What can be wrong with what we are given.  Every message says what, where, and what to do."""

from __future__ import annotations


class DataProblem(ValueError):
    """Input that cannot be used as it is."""


class UnknownId(DataProblem, KeyError):
    """A user or item that the data does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])


class JobFailed(RuntimeError):
    """What another process was asked to do could not be done; what that process said is told."""


class NewerFormat(DataProblem):
    """A folder written by a later version of this package."""
