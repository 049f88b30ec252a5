"""Imports run one way (DESIGN 1): annotator -> exports, db, pipeline; exports -> pipeline; those know nobody."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "annotator": {"annotator", "exports", "db", "pipeline"},
    "exports": {"exports", "pipeline"},
    "db": {"db"},
    "pipeline": {"pipeline"},
}
# exports turn results into files: they need the types, the hand model and the geometry, never a stage
EXPORTS_MAY_USE = ("pipeline.types", "pipeline.errors", "pipeline.hand_model", "pipeline.geometry", "pipeline.codec")


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        own = {name for name in imported_modules(path) if name.split(".")[0] in ALLOWED}
        wrong = {name for name in own if name.split(".")[0] not in ALLOWED[package]}
        if package == "exports":
            wrong |= {n for n in own if n.startswith("pipeline.") and not n.startswith(EXPORTS_MAY_USE)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize(("engine", "home"), [("dbos", "annotator/jobs"), ("ray", "annotator/on_ray.py")])
def test_an_engine_is_known_in_one_place(engine: str, home: str) -> None:
    files = [path for package in ALLOWED for path in (ROOT / package).rglob("*.py")]
    users = [path for path in files if engine in {name.split(".")[0] for name in imported_modules(path)}]
    assert users
    assert [path for path in users if not path.is_relative_to(ROOT / home)] == []


def test_the_suites_fixtures_ask_for_pytest_alone() -> None:
    """tests/with_torchvision runs in an environment without the product's packages, and conftest.py is loaded there."""
    unread, asked = [ROOT / "tests/conftest.py"], set[str]()
    while unread:
        for node in ast.parse(unread.pop().read_text(encoding="utf-8")).body:
            names = {a.name for a in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {node.module}
            beside = {name for name in names if (ROOT / f"tests/{name}.py").exists()}
            unread += [ROOT / f"tests/{name}.py" for name in beside]
            asked |= {name.split(".")[0] for name in names - beside}
    assert asked - sys.stdlib_module_names == {"pytest"}
