"""A value is what a person can choose: a frozen dataclass that goes to JSON and back.

Every dictionary in the JSON carries ``kind``, the name of the dataclass.  The kinds that may stand in a place are the
dataclasses of the package where the place's base class lives: the folder is the registry, read when it is asked.  Beside them
stand those of others that a program has defined or imported, or that an installed package announces by an entry point of the
group "tmmsrec".
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import json
import math
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import ModuleType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class ValueProblem(ValueError):
    """A value cannot be built from what was given; the message says which field and what would do."""


def to_json(value: Any) -> Any:
    """Turn a value, or a tuple, list or dict of values, into plain JSON objects with a ``kind`` for every dataclass."""
    return _plain(value, lambda owner, field: True)


def _plain(value: Any, told: Callable[[Any, dataclasses.Field[Any]], bool]) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if told(value, f)]
        return {"kind": type(value).__name__, **{name: _plain(getattr(value, name), told) for name in names}}
    if isinstance(value, (tuple, list)):
        return [_plain(v, told) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v, told) for k, v in value.items()}
    return value


def from_json(base: type[T], data: Any) -> T:
    """Rebuild a value of class ``base``, or of a class that its package offers in its place.

    Raises:
        ValueProblem: unknown kind, unknown or missing field, or a field of the wrong type; the message names them.
    """
    if not isinstance(data, dict) or "kind" not in data:
        raise ValueProblem(f"expected a {base.__name__} as an object with a 'kind', got {data!r}")
    known = offered(base)
    kind = data["kind"]
    if kind not in known:
        all_known = ", ".join(sorted(known))
        raise ValueProblem(f"unknown {base.__name__} '{kind}'{nearest(kind, known)}; known: {all_known}")
    cls = known[kind]
    hints = get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)}
    extra = sorted(set(data) - names - {"kind"})
    if extra:
        has = ", ".join(sorted(names))
        raise ValueProblem(f"{kind} has no field '{extra[0]}'{nearest(extra[0], names)}; it has: {has}")
    given = {n: _field(kind, n, hints[n], v) for n, v in data.items() if n != "kind"}
    try:
        built: T = cls(**given)
    except TypeError as problem:
        raise ValueProblem(f"{kind}: {problem}") from None
    return built


def _field(kind: str, name: str, hint: Any, data: Any) -> Any:
    part = _without_none(hint)
    if part is not hint and data is None:
        return None
    hint = part
    if isinstance(data, dict) and "kind" in data and isinstance(hint, type):
        return from_json(hint, data)
    try:
        return TypeAdapter(hint).validate_python(data)
    except ValidationError as problem:
        said = "; ".join(e["msg"] for e in problem.errors())
        raise ValueProblem(f"{kind}.{name}: {said} (got {data!r})") from None


def _without_none(hint: Any) -> Any:
    """A part that may be missing, as the part; other hints as they are."""
    members = [member for member in get_args(hint) if member is not type(None)]
    alone = members[0] if get_origin(hint) in (Union, UnionType) and len(members) == 1 else hint
    return alone if dataclasses.is_dataclass(alone) else hint


def offered(base: type) -> dict[str, Any]:
    """Names and classes of the dataclasses that may stand where ``base`` is asked for.

    Read from the module in which ``base`` is defined, or from its whole folder when that is a package's ``__init__`` or
    ``base.py``; a new file in that folder is found without being mentioned anywhere.  Classes from elsewhere stand beside them,
    of two with one name the later; none takes the name of one that is here.

    Raises:
        ValueProblem: an installed package announces parts that cannot be imported.
    """
    found = {c.__name__: c for c in _dataclasses_near(base.__module__) if issubclass(c, base)}
    if dataclasses.is_dataclass(base):
        found[base.__name__] = base
    _import_announced()
    return {c.__name__: c for c in _below(base) if _is_value(c)} | found


def _below(base: type) -> Iterator[type]:
    """All classes that come of one, in the order of their definition."""
    each: list[type] = type.__subclasses__(base)
    for one in each:
        yield one
        yield from _below(one)


@cache
def _import_announced() -> None:
    for one in entry_points(group="tmmsrec"):
        try:
            one.load()
        except Exception as problem:
            said = f"the installed parts '{one.name}' ({one.value}) cannot be imported: {problem!r}"
            raise ValueProblem(f"{said}; mend or uninstall that package") from problem


def _is_value(found: type) -> bool:
    return dataclasses.is_dataclass(found) and not getattr(found, "__abstractmethods__", None)


@cache
def _dataclasses_near(module: str) -> tuple[type, ...]:
    # A base class in a package's __init__ or base.py opens the whole folder; one in an ordinary module, that module.
    here = importlib.import_module(module)
    modules = [here]
    if hasattr(here, "__path__") or module.endswith(".base"):
        folder = here if hasattr(here, "__path__") else importlib.import_module(here.__package__ or module)
        names = [m.name for m in pkgutil.iter_modules(folder.__path__)]
        modules += [_imported(f"{folder.__name__}.{name}") for name in names]
    classes = {c for m in modules for c in vars(m).values() if isinstance(c, type) and _is_value(c)}
    return tuple(sorted(classes, key=lambda c: c.__name__))


def _imported(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        spec = find_spec(module)
        raise ValueProblem(f"{spec.origin if spec else module} cannot be imported: {problem}") from problem


def change(value: T, path: str, text: str) -> T:
    """A variant of a value with one field changed, named by its path and written as text.

        change(method, "width", "126")              a number, true, null: as in JSON; other text stands for itself
        change(method, "time.dropout", "0.2")       a field of a part
        change(method, "time", "Nothing")           a part by the name of its kind, with that kind's defaults
        change(method, "modalities", "id,text")     a list

    Raises:
        ValueProblem: no such field or kind (the nearest name is told), or text that does not fit there.
    """
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise ValueProblem(f"'{path}' leads into {value!r}, which has no fields")
    kind, (name, _, rest) = type(value).__name__, path.partition(".")
    names = [f.name for f in dataclasses.fields(value)]
    if name not in names:
        raise ValueProblem(f"{kind} has no field '{name}'{nearest(name, names)}; it has: {', '.join(names) or 'none'}")
    current = getattr(value, name)
    new = change(current, rest, text) if rest else _read(kind, name, get_type_hints(type(value))[name], text)
    try:
        varied: T = dataclasses.replace(value, **{name: new})
    except (TypeError, ValueError) as problem:
        raise ValueProblem(f"{kind}.{name} = {text}: {problem}") from None
    return varied


def change_all(value: T, assignments: Iterable[str]) -> T:
    """A variant of a value after several changes written ``path=text``, in any order that works.

    The order does not matter where one change is allowed only after another (a width of 128 once TIE is gone).

    Raises:
        ValueProblem: an assignment without "=", or one that cannot be made.
    """
    waiting = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueProblem(f"'{assignment}' is no change: write FIELD=VALUE, like width=126")
        waiting.append((path.strip(), text.strip()))
    while waiting:
        refused, problems = [], []
        for path, text in waiting:
            try:
                value = change(value, path, text)
            except ValueProblem as problem:
                refused.append((path, text))
                problems.append(problem)
        if len(refused) == len(waiting):
            raise problems[0]
        waiting = refused
    return value


def _read(kind: str, name: str, hint: Any, text: str) -> Any:
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        data = tuple(t.strip() for t in text.split(",")) if get_origin(hint) is tuple else text
    hint = _without_none(hint) if data is not None else hint
    # A place for parts is one whose class is a value, or stands above values.
    if isinstance(hint, type) and hint.__module__ != "builtins":
        return from_json(hint, data if isinstance(data, dict) else {"kind": str(data)})
    try:
        found = _field(kind, name, hint, data)
    except ValueProblem:
        if data == text or get_origin(hint) is tuple:
            raise
        found = _field(kind, name, hint, text)
    if isinstance(found, float) and not math.isfinite(found):
        raise ValueProblem(f"{kind}.{name}: needs a finite number (got {text})")
    return found


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces; equal values have equal texts.

    A field that its class got later (``field(metadata={"later": True})``) is left out while it stands at its default, so that
    what was done before is still known by its key.
    """
    return json.dumps(_plain(value, _matters), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _matters(owner: Any, field: dataclasses.Field[Any]) -> bool:
    return not (field.metadata.get("later") and getattr(owner, field.name) == field.default)


def key(*values: Any) -> str:
    """A short name for a combination of values: 12 hexadecimal digits of the BLAKE2 hash of their canonical JSON."""
    return hashlib.blake2b("\n".join(canonical(v) for v in values).encode(), digest_size=6).hexdigest()


def nearest(word: str, known: Iterable[Any]) -> str:
    """A hint for a misspelt word, " (did you mean '...'?)", or "" when nothing is near."""
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
