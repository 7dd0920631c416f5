"""Studies: pages of data.  A new one is one file in this folder with a ``STUDY``."""

from __future__ import annotations

import importlib
import pkgutil

from tmmsrec import values
from tmmsrec.study.study import Study


def names() -> list[str]:
    """Every study by name: "every-method" for every_method.py."""
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def named(name: str) -> Study:
    """A study by its name; raises ValueProblem with the nearest name."""
    if name not in names():
        known = ", ".join(names())
        raise values.ValueProblem(f"unknown study '{name}'{values.nearest(name, names())}; known: {known}")
    study: Study = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").STUDY
    return study
