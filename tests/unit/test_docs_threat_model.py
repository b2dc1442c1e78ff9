"""Every row of the threat model names tests, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.architecture.source import ROOT

PAGE = ROOT / "docs" / "threat-model.md"
HEAD = "| he tries | he gets | why | test |"
NAME = re.compile(r"`(tests/[\w/]+\.py)::((?:\w+::)?test_\w+)`")


def rows() -> list[str]:
    """The rows of its tables of attacks."""
    found: list[str] = []
    inside = False
    for line in PAGE.read_text().splitlines():
        inside = line == HEAD or (inside and line.startswith("|"))
        if inside and line != HEAD and not line.startswith("|-"):
            found.append(line)
    return found


def named_in(path: Path) -> set[str]:
    """The test functions of a file, those of a class and of the classes of ours that it inherits as CLASS::NAME."""
    tree = ast.parse(path.read_text())
    found = {one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    for cls in (one for one in tree.body if isinstance(one, ast.ClassDef)):
        found |= {f"{cls.name}::{name}" for name in _methods(cls, tree)}
    return found


def _methods(cls: ast.ClassDef, tree: ast.Module) -> set[str]:
    found = {one.name for one in cls.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    for base in (one.id for one in cls.bases if isinstance(one, ast.Name)):
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == base:
                found |= _methods(node, tree)
            if isinstance(node, ast.ImportFrom) and node.module and any(one.name == base for one in node.names):
                other = ast.parse((ROOT / f"{node.module.replace('.', '/')}.py").read_text())
                for there in other.body:
                    if isinstance(there, ast.ClassDef) and there.name == base:
                        found |= _methods(there, other)
    return found


def test_every_row_names_a_test() -> None:
    assert len(rows()) > 60
    assert [row for row in rows() if not NAME.search(row.rpartition(" | ")[2])] == []


def test_every_test_that_is_named_exists() -> None:
    gone = []
    for path, name in NAME.findall(PAGE.read_text()):
        if not (ROOT / path).is_file() or name not in named_in(ROOT / path):
            gone.append(f"{path}::{name}")
    assert gone == []


def test_a_test_that_is_gone_is_seen() -> None:
    here = Path(__file__)
    assert "test_a_test_that_is_gone_is_seen" in named_in(here)
    assert "test_that_nobody_wrote" not in named_in(here)


def test_every_attacker_has_his_section() -> None:
    headings = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)
    for word in (
        "manager",
        "database",
        "network",
        "workload",
        "keyring",
        "principal with few rights",
        "identity",
        "root",
        "one-time token",
        "cloud role",
        "supply chain",
        "Known limits",
    ):
        assert any(word in heading for heading in headings), word
