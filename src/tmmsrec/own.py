"""Parts that are not the package's: what tells one from another of the same name, and from itself before it was edited.

A run's folder is named by all that decides it.  What the package's own classes do changes with its versions only; a class that a
person wrote is another one as soon as its text is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tmmsrec.values import ValueProblem, offered

_PACKAGE = __name__.partition(".")[0]


def own_parts(value: Any) -> list[str]:
    """The name and a hash of the text of every class within a value that is not the package's; sorted, each once.

    Raises:
        ValueProblem: such a class has the name of another one, which would be read back from JSON in its place.
    """
    classes = {type(part) for part in _values_in(value) if type(part).__module__.partition(".")[0] != _PACKAGE}
    for one in classes:
        _must_be_known(one)
    return sorted(f"{one.__qualname__} {hashlib.blake2b(_text(one), digest_size=8).hexdigest()}" for one in classes)


def _values_in(value: Any) -> Iterator[Any]:
    """A value and all that it holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in dataclasses.fields(value):
            yield from _values_in(getattr(value, field.name))
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _values_in(one)


def _must_be_known(one: type) -> None:
    """Raise ValueProblem where a name does not lead to its class: of the package's bases, each one's registry is asked."""
    bases = [base for base in one.__mro__[1:] if base.__module__.partition(".")[0] == _PACKAGE and inspect.isabstract(base)]
    for base in bases:
        there = offered(base).get(one.__name__)
        if there is not None and there is not one:
            whose = (
                "the library's own" if there.__module__.partition(".")[0] == _PACKAGE else f"one defined later ({there.__module__})"
            )
            raise ValueProblem(
                f"the name {one.__name__} of a {base.__name__} from {one.__module__} is taken by {whose}, which would be read back "
                "in its place: give the class another name, or make the value anew"
            )


def _text(one: type) -> bytes:
    """The file of a class, or, in a notebook, the class itself: its text, or its compiled methods where there is none."""
    file = getattr(sys.modules.get(one.__module__), "__file__", None)
    if file and Path(file).is_file():
        return Path(file).read_bytes()
    try:
        return inspect.getsource(one).encode()
    except (OSError, TypeError):
        functions = [f for f in vars(one).values() if inspect.isfunction(f)]
        return b"".join(f.__code__.co_code + repr(f.__code__.co_consts).encode() for f in functions)
