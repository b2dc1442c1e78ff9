"""Files encrypted with age, in a folder of the delegate's machine: they are read there, and never written.

All of it is ours: today's YAML has no such kind.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from shared.connectors.fields import Forms, Refused
from shared.connectors.model import Model
from shared.documents.fields import SecretReference
from shared.errors import Malformed

Directory = Annotated[str, Meta(max_length=1024, pattern=r"^/[^\x00-\x1f\x7f]+$(?!\n)")]

LONGEST_PATH = 1024
DEEPEST = 32
"""Names in a path."""

_PATH = f"a path below the directory: at most {DEEPEST} names with / between them, none of them . or .."
_DIRECTORY = "an absolute path on the delegate, without . and .., such as /etc/privyseal/age"


class AgeFileSettings(Model, frozen=True, kw_only=True):
    """Which folder, and the secret that holds the identities that decrypt what lies there."""

    FORMS: ClassVar[Forms] = Forms(
        forms={
            "directory": _DIRECTORY,
            "identity": "the reference of a secret: account.NAME, org.NAME or NAME; the identity itself goes into that secret",
        },
        missing={
            "directory": "Directory cannot be empty: give the folder on the delegate that has the files",
            "identity": "Identity cannot be empty: give the secret that holds an age identity or an SSH private key",
        },
    )

    directory: Directory
    identity: SecretReference

    def __post_init__(self) -> None:
        try:
            names = below(self.directory[1:].removesuffix("/"))
        except Malformed:
            names = ()
        if not names:
            raise Refused("directory", f"give {_DIRECTORY}")
        if not self.delegate_selectors:
            raise Refused(
                "delegateSelectors", "DelegateSelectors cannot be Empty: name the delegates whose folder is read"
            )
        if self.default:
            raise Refused(
                "default", "files of age are only read: the connector can't be the default, it takes no new secrets"
            )

    @property
    def folder(self) -> str:
        """The directory without a slash at its end."""
        return self.directory.removesuffix("/")


def below(path: str) -> tuple[str, ...]:
    """The names of a relative path. Raises Malformed for an empty one, `.` and `..`, and what isn't printable."""
    names = tuple(path.split("/"))
    if (
        len(path) > LONGEST_PATH
        or len(names) > DEEPEST
        or any(name in {"", ".", ".."} or not name.isprintable() for name in names)
    ):
        raise Malformed("path_malformed", "the path of an age file is malformed", f"give {_PATH}")
    return names
