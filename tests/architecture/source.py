"""Reads the tree's own source for the rules of this folder. Parses, never imports, so that a broken file is still judged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("manager", "delegate", "client")
PACKAGES = ("shared", *PROGRAMS)
GENERATED = ("shared/wire",)
COMPUTED = "<computed>"  # stands for an import whose name the program makes up


@dataclass(frozen=True)
class Imported:
    line: int
    name: str


def lies_in(path: str, places: tuple[str, ...]) -> bool:
    """Whether `path` is one of `places` or below one; both are relative to the root, with slashes."""
    return any(path == place or path.startswith(place + "/") for place in places)


def sources(*folders: str, generated: bool = False) -> Iterator[tuple[str, str]]:
    """Path (relative to the root) and text of each Python file below `folders`."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            if "node_modules" not in path.parts and (generated or not lies_in(relative, GENERATED)):
                yield relative, path.read_text(encoding="utf-8")


def imports(path: str, text: str) -> list[Imported]:
    """Every module that a file names in an import, wherever it stands: in a function, for types only, or by a call.

    `from a import b` counts as `a.b`, for `b` may be a module; relative imports are made absolute.
    """
    package = path.removesuffix(".py").split("/")[:-1]
    found: list[Imported] = []
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            found += [Imported(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *([node.module] if node.module else [])]
            found += [Imported(node.lineno, ".".join([*base, alias.name])) for alias in node.names]
        elif isinstance(node, ast.Call) and _called(node.func) in {"__import__", "import_module"} and node.args:
            (name, *_) = node.args
            constant = isinstance(name, ast.Constant) and isinstance(name.value, str)
            found.append(Imported(node.lineno, str(name.value) if constant else COMPUTED))  # type: ignore[attr-defined]
    return found


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def belongs_to(module: str, names: tuple[str, ...]) -> bool:
    """Whether `module` is one of `names` or inside one."""
    return any(module == name or module.startswith(name + ".") for name in names)
