"""Every row of the page for people who come from Harness has one of three verdicts, and what it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args, get_type_hints

from manager.api.fleet import DelegateRow
from shared.connectors.kinds import KINDS
from shared.documents.fields import Permission
from shared.documents.secret import SecretDocument
from tests.architecture.source import ROOT
from tests.unit.test_docs_links import broken

PAGE = ROOT / "docs" / "parity.md"
HEAD = "| there | here | tests | more |"
NAME = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
VERDICTS = ("matched", "better", "not offered")
VERDICT = re.compile(r"\*\*(.+?)\*\*")
LINK = re.compile(r"\[[^\]]+\]\([^)]+\)")

SECTIONS = {
    "Secret managers": (
        "Catalogue",
        "Wizard and common fields",
        "The default secret manager",
        "Where credentials may live",
        "Disabling the built-in secret manager",
        "Migration and rotation",
        "Caches",
        "Connection test",
        "Timeouts and retries",
        "Operations on the delegate",
        "Envelope encryption",
        "The built-in secret manager",
        "AWS KMS",
        "AWS KMS: fields",
        "AWS KMS: permissions and behaviour",
        "AWS Secrets Manager",
        "AWS Secrets Manager: fields",
        "AWS Secrets Manager: IAM",
        "AWS Secrets Manager: behaviour",
        "Google Cloud KMS",
        "Google Secret Manager",
        "Azure Key Vault",
        "HashiCorp Vault",
        "Vault: fields",
        "Vault: authentication",
        "Vault: policy of the token",
        "Vault: reading and writing",
        "Vault: errors",
        "Custom secret manager",
        "Custom: the connector",
        "Custom: the template",
        "Custom: rules",
        "CyberArk Conjur recipe",
        "FirstGen",
    ),
    "Secrets": (
        "Types of secrets",
        "YAML and validation",
        "Scopes",
        "Reference syntax",
        "JSON values",
        "SSH credentials",
        "WinRM credentials",
        "How a secret reaches a task",
        "Masking of logs",
        "Access control",
        "Error texts",
    ),
    "Delegates": (
        "What a delegate is",
        "Registration",
        "Tokens",
        "Liveness",
        "Status of a delegate",
        "What counts as a selector",
        "Where selectors are set",
        "Matching rules",
        "Scope of a delegate",
        "Life of a task",
        "Capability checks",
        "Load control",
        "Perpetual tasks",
        "Selection log",
        "Graceful shutdown",
        "Upgrade",
        "TLS, certificates, proxy",
        "Init script",
        "Health and metrics",
        "Logs",
        "Environment variables",
        "Helm chart",
        "Newer building blocks",
    ),
    "API, CLI, Terraform": (
        "Conventions",
        "Connectors API",
        "Secrets API",
        "Delegates API",
        "Agent API",
        "Terraform",
    ),
}
"""What has to be said, in its order: the parts of what people come from, and their sections."""


def parts_of(page: str) -> dict[str, list[list[str]]]:
    """The rows of each table of verdicts, by the heading above it: four cells each."""
    found: dict[str, list[list[str]]] = {}
    heading, inside = "", False
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        inside = line == HEAD or (inside and line.startswith("|"))
        if inside and line != HEAD and not line.startswith("|-"):
            cells = [one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(heading, []).append(cells)
    return found


def named_in(path: Path) -> set[str]:
    """The test functions of a file; none where it isn't there."""
    tree = ast.parse(path.read_text() if path.is_file() else "")
    return {one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}


def rows() -> list[list[str]]:
    return [row for part in parts_of(PAGE.read_text()).values() for row in part]


def faults(row: list[str]) -> list[str]:
    """What is wrong with the form of a row."""
    if len(row) != 4 or not row[0]:
        return ["a row has four cells, and the first says what is there"]
    found = []
    verdicts = VERDICT.findall(row[1])
    if not verdicts or not row[1].startswith("**") or not set(verdicts) <= set(VERDICTS):
        found.append("a verdict begins the second cell, and is one of three")
    if "better" in verdicts and not re.search(r"\*\*better\*\*[^:]*: ", row[1]):
        found.append("better says how")
    if any(" because " not in reason for reason in row[1].split("**not offered**")[1:]):
        found.append("not offered says why")
    if set(verdicts) & {"matched", "better"} and not NAME.search(row[2]):
        found.append("what is there has its test")
    if not LINK.search(row[3]):
        found.append("a page tells more")
    return found


def test_every_row_has_a_verdict_with_its_reason_and_its_tests() -> None:
    assert len(rows()) > 300
    assert [(row, wrong) for row in rows() if (wrong := faults(row))] == []


def test_a_row_without_them_is_seen() -> None:
    tested, page = "`tests/unit/test_docs_parity.py::test_a_row_without_them_is_seen`", "[SDK](sdk.md)"
    assert faults(["a", "**matched**", tested, page]) == []
    assert faults(["a", "**not offered** yet, because of b", "", page]) == []
    for row in (
        ["a", "**nearly**", tested, page],
        ["a", "it is **matched**", tested, page],
        ["a", "**better**", tested, page],
        ["a", "**not offered**", "", page],
        ["a", "**matched**", "", page],
        ["a", "**matched**", tested, ""],
        ["", "**matched**", tested, page],
        ["a", "**matched**", tested],
    ):
        assert faults(row), row


def test_every_test_that_is_named_exists() -> None:
    files: dict[str, set[str]] = {}
    gone = []
    for path, name in NAME.findall(PAGE.read_text()):
        if path not in files:
            files[path] = named_in(ROOT / path)
        if name not in files[path]:
            gone.append(f"{path}::{name}")
    assert gone == []
    # Whatever looks like a test is one of those that were looked for.
    assert PAGE.read_text().count("::test_") == len(NAME.findall(PAGE.read_text()))


def test_every_page_and_place_that_is_linked_is_there() -> None:
    assert broken(PAGE) == []


def test_every_section_is_there_in_its_order() -> None:
    headings = re.findall(r"^##+ (.+)$", PAGE.read_text(), re.MULTILINE)
    assert headings == [title for part, below in SECTIONS.items() for title in (part, *below)]
    tables = parts_of(PAGE.read_text())
    empty = [title for below in SECTIONS.values() for title in below if title not in tables]
    assert empty == ["AWS KMS", "AWS Secrets Manager", "HashiCorp Vault", "Custom secret manager"]


def test_every_kind_has_its_row() -> None:
    told = " ".join(" ".join(row[:2]) for row in parts_of(PAGE.read_text())["Catalogue"])
    assert [kind for kind in KINDS if f"`{kind}`" not in told] == []


def test_every_type_of_secret_has_its_row() -> None:
    told = " ".join(row[0] for row in parts_of(PAGE.read_text())["Types of secrets"])
    types = get_args(get_type_hints(SecretDocument)["type"])
    assert len(types) >= 3
    assert [one for one in (*types, "WinRmCredentials") if f"`{one}`" not in told] == []


def test_every_permission_has_its_row() -> None:
    told = " ".join(row[1] for row in parts_of(PAGE.read_text())["Access control"])
    assert [one for one in get_args(Permission) if f"`{one}`" not in told] == []


def test_every_status_of_a_delegate_has_its_row() -> None:
    doc = DelegateRow.__doc__ or ""
    states = re.findall(r"\w+", doc.partition("`state` is ")[2].partition(", `delegate`")[0].replace(" or ", " "))
    told = " ".join(row[1] for row in parts_of(PAGE.read_text())["Status of a delegate"])
    assert len(states) >= 3
    assert [one for one in states if f"`{one}`" not in told] == []
