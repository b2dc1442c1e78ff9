"""Names of inline secrets at Key Vault, whose alphabet is letters, digits and hyphens, and whose letters have no case.

Promises: two secrets never have one name, nor names that differ in case alone; a name starts with a letter and has at most
127 characters. Source: "Azure Key Vault keys, secrets and certificates overview", object identifiers.

    a-z 0-9     themselves            _     --
    A-Z         -a to -z              .     -0      (between organisation, project and identifier)

What doesn't start with a letter then gets `x-1` before it; what is too long is cut and ends with `-9` and a digest.
"""

from __future__ import annotations

from shared.canonical import b32, sha256

LONGEST = 127
SEPARATOR = "."
CHECKED = "privyseal-2check"
"""A name that no secret of ours can have: nothing is written as -2."""

_HEAD = 60


def name_of(text: str) -> str:
    """The name of the secret `ID`, `ORG.ID` or `ORG.PROJECT.ID`."""
    written = "".join(map(_character, text))
    if not written[0].isalpha():
        written = f"x-1{written}"
    if len(written) <= LONGEST:
        return written
    return f"{written[:_HEAD].rstrip('-')}-9{b32(sha256(text.encode()))}"


def _character(one: str) -> str:
    if one == "_":
        return "--"
    if one == SEPARATOR:
        return "-0"
    return f"-{one.lower()}" if one.isupper() else one
