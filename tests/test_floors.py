"""Who may import whom: an upper floor may import a lower one, never the reverse."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "tmmsrec"
FLOORS = {
    "values": 1, "metrics": 1, "significance": 1, "machine": 1, "data": 1, "nn": 1, "processes": 1,
    "own": 2, "training": 2, "models": 2, "extract": 2,
    "space": 3, "zoo": 3, "scoring": 3, "ranking": 3, "lists": 3, "checkpoint": 3,
    "fit": 4, "loop": 4, "lesson": 4, "sharing": 4, "optimiser": 4, "memory": 4,
    "recommender": 5,
    "study": 6, "export": 6,
    "studies": 7, "cli": 7, "serve": 7, "__main__": 7,
}  # fmt: skip
GROUND_ROOMS_ALONE = {"values", "metrics", "significance", "machine", "data", "nn", "processes"}


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts != ("__init__",):
            found.append((parts[0], path))
    return found


def imports(path: Path) -> list[tuple[str, int]]:
    """Rooms of this package that a file imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" if node.module == "tmmsrec" else node.module for a in node.names]
        found += [(n.split(".")[1], node.lineno) for n in names if n.startswith("tmmsrec.")]
    return found


@pytest.mark.parametrize(("room", "path"), modules(), ids=lambda v: str(v.relative_to(SOURCE)) if isinstance(v, Path) else v)
def test_imports_go_down_only(room, path):
    for other, line in imports(path):
        if other == room or other not in FLOORS:
            continue
        where = f"{path.name}:{line} ({room}) imports {other}"
        assert FLOORS[other] <= FLOORS[room], where
        assert not (room in GROUND_ROOMS_ALONE and other in GROUND_ROOMS_ALONE), f"{where}: ground rooms do not know each other"


def test_every_room_has_a_floor():
    assert {room for room, _ in modules()} <= set(FLOORS), "a new room needs its floor here and in docs/architecture.md"


def test_nothing_is_pickled():
    for _, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "joblib", "cloudpickle", "dill"} & {n.split(".")[0] for n in names}, path
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), path
                assert node.value.value is False, path


def test_models_and_layers_never_touch_the_disk():
    for room, path in modules():
        if room in {"nn", "models", "zoo", "scoring", "ranking", "lists", "metrics", "significance", "values"}:
            words = {n.id for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Name)}
            assert not words & {"open", "Path"}, f"{path} touches the disk"


def test_a_file_holds_one_thought():
    """300 lines are more than one thought needs; split a longer file along its thoughts."""
    long = {path.name: lines for _, path in modules() if (lines := path.read_text(encoding="utf-8").count("\n")) > 300}
    assert not long
