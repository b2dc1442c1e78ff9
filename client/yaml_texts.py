"""YAML that is shown before it is signed, and read again: every text is seen as what it is.

Promises: what would move a terminal's cursor, turn a text around or not be seen at all stands in YAML's own escapes, so that
the text that was shown is the text that is meant. Must not know what is written.
"""

from __future__ import annotations

import difflib
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Texts with characters that aren't seen stand in double quotes, where YAML has escapes."""


class _Literal(_Dumper):
    """Besides, texts of several lines are written as they are read, where YAML can."""


def _is_seen(text: str) -> bool:
    return all(one.isprintable() or one == "\n" for one in text)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if not _is_seen(text) else "|" if isinstance(dumper, _Literal) and "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Literal.add_representer(str, _text)


def yaml_text(value: Any, *, literal: bool = False) -> str:
    """A document of YAML; `literal`: texts of several lines keep their lines."""
    written: str = yaml.dump(
        value, Dumper=_Literal if literal else _Dumper, sort_keys=False, allow_unicode=True, width=120
    )
    # YAML takes many of these as they are; all of them stand in double quotes.
    return "".join(one if one.isprintable() or one == "\n" else f"\\U{ord(one):08x}" for one in written)


def unified(old: str, new: str, left: str, right: str) -> str:
    """A unified diff of two texts that are called `left` and `right`, empty where they are the same."""
    return "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), left, right))
