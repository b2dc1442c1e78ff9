"""Links of the documents lead somewhere, and no file names the place that packages come from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

MADE = {
    ".git",
    ".venv",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
    "build",
    "dist",
    "node_modules",
}
# Written in two parts, so that this file names none itself.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs"),
        ("npmjs", "com"),
        ("registry", "yarnpkg"),
    )
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def files(*suffixes: str) -> list[Path]:
    found = []
    for folder, below, names in ROOT.walk() if hasattr(ROOT, "walk") else _walk(ROOT):
        below[:] = [one for one in below if one not in MADE]
        found += [folder / name for name in names if not suffixes or Path(name).suffix in suffixes]
    return sorted(found)


def _walk(root: Path) -> list[tuple[Path, list[str], list[str]]]:
    """`Path.walk` of Python 3.12; the lists of folders are pruned here already."""
    folders = [one for one in root.iterdir() if one.is_dir() and not one.is_symlink() and one.name not in MADE]
    rows = [(root, [one.name for one in folders], [one.name for one in root.iterdir() if one.is_file()])]
    for folder in folders:
        rows += _walk(folder)
    return rows


def anchors(text: str) -> set[str]:
    """The names of a page's headings, as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.strip().lower()).replace(" ", "-") for one in headings}


def broken(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(page.read_text("utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", files(".md"), ids=lambda one: str(one.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, here\n[a](page.md) [b](gone.md) [c](#a-title-here) [d](page.md#gone) [e](https://example.com)"
    )
    assert broken(page) == ["gone.md", "page.md#gone"]


def test_no_file_names_a_registry_of_packages() -> None:
    named = []
    for path in files():
        raw = path.read_bytes().lower()
        named += [str(path.relative_to(ROOT)) for one in REGISTRIES if one.encode() in raw]
    assert named == []
