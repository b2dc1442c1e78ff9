"""Whose a secret at a provider is: the name and the tags that an inline secret gets there, and what they forbid.

Promises, for one account: two secrets of different scopes never have one name, whatever the prefixes of their connectors;
what isn't tagged as this very secret's is neither overwritten nor deleted; what is tagged as any secret's is never read
through a reference, since that would pass by the grants of the secret that it belongs to. Must not call a provider.
"""

from __future__ import annotations

from collections.abc import Mapping

from delegate.secret_managers.interface import SecretVersion
from shared.errors import Conflict, Denied
from shared.names import Scope

ACCOUNT_TAG = "privyseal-account"
SECRET_TAG = "privyseal-secret"  # noqa: S105 (the name of a tag)
CREATOR_TAG = "createdBy"
CREATOR = "PrivySeal"


def inline_name(secret: SecretVersion, separator: str) -> str:
    """`ID`, `ORG.ID` or `ORG.PROJECT.ID`: the last part of an inline secret's name at a provider.

    It is one to one with scope and identifier, since `separator` is a character that no identifier has. A scope in
    several parts, each before a slash, could be had by another scope with a longer prefix.
    """
    document = secret.secret
    scope = Scope.parse(document.scope)
    return separator.join(part for part in (scope.org, scope.project, document.identifier) if part)


def tags_of(secret: SecretVersion) -> dict[str, str]:
    """The tags of origin: account id and secret id, both in a form that every provider takes as a label's value."""
    return {ACCOUNT_TAG: secret.secret.acct, SECRET_TAG: secret.secret.id}


def is_own(secret: SecretVersion, tags: Mapping[str, str]) -> bool:
    """Whether they are this secret's."""
    return tags_of(secret).items() <= tags.items()


def is_of_account(secret: SecretVersion, tags: Mapping[str, str]) -> bool:
    """Whether they are of a secret of the same account. With one name, that is one of the same scope and identifier."""
    return tags.get(ACCOUNT_TAG) == secret.secret.acct


def is_ours(tags: Mapping[str, str]) -> bool:
    """Whether a secret of any account of this program owns it."""
    return ACCOUNT_TAG in tags or SECRET_TAG in tags


def check_owner(secret: SecretVersion, tags: Mapping[str, str]) -> None:
    """Whether it may be written and deleted on behalf of that secret. Raises Conflict."""
    if is_own(secret, tags):
        return
    if is_ours(tags):
        raise Conflict(
            "origin_other",
            f"what the provider keeps under the name of the secret {secret.secret.identifier} belongs to another secret",
            f"its tags {ACCOUNT_TAG} and {SECRET_TAG} say to which: delete it there, or take another prefix or identifier",
        )
    raise Conflict(
        "origin_foreign",
        f"the provider already has something under the name of the secret {secret.secret.identifier}, made by others",
        "refer to it (valueType: Reference), or take another prefix or identifier",
    )


def check_referable(tags: Mapping[str, str]) -> None:
    """Whether a reference may read it. Raises Denied for what a secret of ours owns: that has grants of its own."""
    if is_ours(tags):
        raise Denied(
            "reference_to_inline",
            "the reference names what another secret keeps at the provider, and would pass by that secret's grants",
            "use that secret by its own name",
        )
