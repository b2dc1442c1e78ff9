"""Names and places: account ids, identifiers, scopes, and the ways in which people refer to a secret.

    account > organisation > project        written  account | org/ORG | org/ORG/project/PROJECT

A lower scope may use what lies in a higher one, never the reverse. Identifiers are case-sensitive and compared as they
are; nothing is normalised, so that two spellings can't mean one thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from shared.canonical import b32
from shared.errors import Malformed

# `$(?!\n)` is the end of the text in both Python and ECMAScript, so that OpenAPI can show the same patterns.
IDENTIFIER = r"^[a-zA-Z_][0-9a-zA-Z_]{0,127}$(?!\n)"
NAME = r"^[a-zA-Z_0-9\-.][\-0-9a-zA-Z_ .]{0,127}$(?!\n)"
ACCOUNT = r"^[a-z2-7]{52}$(?!\n)"
OPAQUE = r"^[a-z2-7]{26}$(?!\n)"
RESOURCE = r"^([a-z2-7]{26}|connector/[a-z2-7]{26}(/(?!\.\.?(/|$))[^/#\u0000-\u001f\u007f]+)*)$(?!\n)"
PATH = r"^[^/#\u0000-\u001f\u007f]+(/[^/#\u0000-\u001f\u007f]+)*$(?!\n)"
# White space is other characters to Python than to ECMAScript: what only one of them means by \s is named.
VERSION_LABEL = r"^[0-9a-zA-Z][^\s\u0085\ufeff/&\u0000-\u001f\u007f]{0,63}$(?!\n)"
SCOPE = r"^(account|org/[a-zA-Z_][0-9a-zA-Z_]{0,127}(/project/[a-zA-Z_][0-9a-zA-Z_]{0,127})?)$(?!\n)"
SECRET_REFERENCE = r"^((account|org)\.)?[a-zA-Z_][0-9a-zA-Z_]{0,127}$(?!\n)"  # noqa: S105 (a form, no secret)

_identifier = re.compile(IDENTIFIER)
_name = re.compile(NAME)
_account = re.compile(ACCOUNT)
_opaque = re.compile(OPAQUE)
_version_label = re.compile(VERSION_LABEL)
_path = re.compile(PATH)
_scope = re.compile(SCOPE)
_expression = re.compile(r"""^<\+secrets\.getValue\((?P<quote>["'])(?P<reference>[^"'<>]{1,300})(?P=quote)\)>\Z""")


def opaque_id(randomness: bytes) -> str:
    """A random, immutable id from 16 random bytes: 26 characters of base32."""
    if len(randomness) != 16:
        raise ValueError("an id takes 16 random bytes")
    return b32(randomness)


def is_opaque(text: str) -> bool:
    """Whether it has the form of such an id."""
    return _opaque.match(text) is not None


def has_path_form(text: str) -> bool:
    """Whether it is parts joined by `/`, none of them empty, `.` or `..`, without control characters."""
    return _path.match(text) is not None and not {".", ".."} & set(text.split("/"))


def check_identifier(text: str, what: str) -> str:
    """`text` if it is an identifier; `what` names the field. Raises Malformed."""
    if not _identifier.match(text):
        raise Malformed(
            "identifier_malformed",
            f"the {what} is not a valid identifier",
            "an identifier starts with a letter or _ and has up to 128 letters, digits and _",
        )
    return text


def check_version_label(text: str) -> str:
    """`text` if it may be a template's version label. Raises Malformed."""
    if not _version_label.match(text):
        raise Malformed(
            "version_label_malformed",
            "the version label is malformed",
            "a label has up to 64 characters, begins with a letter or digit, and has no spaces, / and &",
        )
    return text


def check_name(text: str, what: str) -> str:
    """`text` if it may be a display name; `what` names the field. Raises Malformed."""
    if not _name.match(text):
        raise Malformed(
            "name_malformed",
            f"the {what} is not a valid name",
            "a name has up to 128 letters, digits, spaces and the characters - _ . and doesn't start with a space",
        )
    return text


def check_account(text: str) -> str:
    """`text` if it has the form of an account id. Raises Malformed."""
    if not _account.match(text):
        raise Malformed(
            "account_malformed", "the account id is malformed", "an account id is 52 characters, a to z and 2 to 7"
        )
    return text


@dataclass(frozen=True, slots=True)
class Scope:
    """A node of the tree: account (both empty), organisation (project empty) or project."""

    org: str = ""
    project: str = ""

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str) -> Scope:
        """The scope that `account`, `org/ORG` or `org/ORG/project/PROJECT` names. Raises Malformed."""
        if not _scope.match(text):
            raise Malformed(
                "scope_malformed", "the scope is malformed", "write account, org/ORG or org/ORG/project/PROJECT"
            )
        parts = text.split("/")
        return Scope(parts[1] if len(parts) > 1 else "", parts[3] if len(parts) > 3 else "")

    def __str__(self) -> str:
        if not self.org:
            return "account"
        return f"org/{self.org}/project/{self.project}" if self.project else f"org/{self.org}"

    def covers(self, other: Scope) -> bool:
        """Whether `other` is this scope or lies below it."""
        return not self.org or (self.org == other.org and (not self.project or self.project == other.project))

    def child(self, identifier: str) -> Scope:
        """The organisation or project of that identifier in this scope. Raises Malformed below a project."""
        check_identifier(identifier, "organisation or project")
        if self.project:
            raise Malformed("scope_too_deep", "a project holds no further scopes", "name an account or an organisation")
        return Scope(self.org, identifier) if self.org else Scope(identifier)


ACCOUNT_SCOPE = Scope()


@dataclass(frozen=True, slots=True)
class Reference:
    """A secret (or connector) by its place: the scope that it lives in and its identifier there."""

    scope: Scope
    identifier: str

    @staticmethod
    def parse(text: str, here: Scope) -> Reference:
        """What `account.x`, `org.x`, `x` or `<+secrets.getValue("...")>` means to somebody at scope `here`.

        Raises Malformed for another form, and for `org.` or a bare name where `here` has no such level.
        """
        if text.startswith("<+"):
            match = _expression.match(text)
            if match is None:
                raise Malformed(
                    "reference_malformed",
                    "the expression is not understood",
                    'write <+secrets.getValue("account.name")>, with the name in quotes',
                )
            text = match["reference"]
        prefix, dot, identifier = text.rpartition(".")
        if not _identifier.match(identifier) or (dot and prefix not in {"account", "org"}):
            raise Malformed(
                "reference_malformed",
                "Invalid Secret Reference: only the prefixes account. and org. exist",
                "write account.NAME, org.NAME, or NAME alone for the scope that you are in",
            )
        if prefix == "account":
            return Reference(ACCOUNT_SCOPE, identifier)
        if prefix == "org":
            if not here.org:
                raise Malformed(
                    "reference_out_of_scope",
                    "org. is used where no organisation is chosen",
                    "choose one with --org, or use account.NAME",
                )
            return Reference(Scope(here.org), identifier)
        return Reference(here, identifier)

    def __str__(self) -> str:
        """The shortest form that means the same in its own scope."""
        if not self.scope.org:
            return f"account.{self.identifier}"
        return self.identifier if self.scope.project else f"org.{self.identifier}"
