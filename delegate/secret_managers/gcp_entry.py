"""What a secret of ours looks like in Google Secret Manager: labels, replication, and the annotation that tells which store
task made which version.

Promises: everything is computed from signed documents, and an annotation that somebody else wrote is never more than a hint at
which version a task made. Must not call Google.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from delegate.secret_managers.interface import SecretVersion
from delegate.secret_managers.ownership import tags_of
from shared.canonical import is_digest
from shared.connectors.gcp import PROJECT
from shared.errors import Malformed

TASKS = "privyseal-tasks"
"""The annotation: `DIGEST:VERSION` of the last store tasks, oldest first, with blanks between."""
MOST_TASKS = 64
"""A task can come again for a day; an annotation takes 16 KiB in all."""

CHECKED = "privyseal--check"
"""The name that a check asks for. No secret of ours can have it: there is one hyphen between identifiers."""

OWN_PROJECT = "-"
"""In a locator: the project of the delegate's own identity, which no signed document names."""

NAME = re.compile(r"[A-Za-z0-9_\-]{1,255}\Z")
_PROJECT = re.compile(PROJECT)
_REGION = re.compile(r"[a-z][a-z0-9\-]{0,62}\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}\Z")


def labels_of(secret: SecretVersion) -> dict[str, str]:
    """The labels of origin; Google's take lower case only."""
    return {"created-by": "privyseal", **tags_of(secret)}


def project_of(secret: SecretVersion) -> str:
    """The project that the secret's own document names, "" for none. Raises Malformed."""
    project = secret.secret.metadata.get("gcp_project_id", "")
    if project and not _PROJECT.match(project):
        raise Malformed(
            "metadata_malformed",
            "gcp_project_id in additionalMetadata of the secret isn't the id or number of a project",
            "write the project's id",
        )
    return project


def check_metadata(secret: SecretVersion) -> None:
    """Whether the metadata mean something: `regions` of an inline secret, `version` of a reference. Raises Malformed."""
    known = {"gcp_project_id", "version" if secret.secret.reference else "regions"}
    if not secret.secret.metadata.keys() <= known:
        raise Malformed(
            "metadata_unknown",
            "additionalMetadata of the secret has a value that means nothing to GcpSecretManager here",
            "known are regions for a value that is kept there by us, version for a reference, and gcp_project_id",
        )


def regions_of(secret: SecretVersion) -> tuple[str, ...]:
    """Where its replicas are, sorted; none: Google replicates as it likes. Raises Malformed."""
    given = secret.secret.metadata.get("regions", "")
    regions = sorted({one.strip() for one in given.split(",")} - {""})
    if not all(_REGION.match(one) for one in regions):
        raise Malformed(
            "metadata_malformed",
            "regions in additionalMetadata of the secret isn't a list of regions",
            "write them with commas between, such as europe-west1,europe-west4",
        )
    return tuple(regions)


def chosen(secret: SecretVersion) -> str:
    """The version that a reference's metadata ask for. Raises Malformed."""
    version = secret.secret.metadata.get("version", "") or "latest"
    if version != "latest" and not _NUMBER.match(version):
        raise Malformed(
            "metadata_malformed",
            "Version should be either latest or an integer.",
            "it stands in additionalMetadata of the secret; latest is meant where there is none",
        )
    return version


def is_named(name: str, secret: str) -> bool:
    """Whether that is the secret's resource name. Google answers with the project's number where it was asked by its id."""
    parts, wanted = name.split("/"), secret.split("/")
    if len(parts) != 4 or parts[0] != "projects" or parts[2:] != wanted[2:]:
        return False
    return parts[1] == wanted[1] or parts[1].isdecimal() != wanted[1].isdecimal()


def number_of(name: str, secret: str) -> str | None:
    """The version's number in its resource name; None where that isn't a version of that secret."""
    of, found, number = name.rpartition("/versions/")
    if not found or not is_named(of, secret):
        return None
    return number if _NUMBER.match(number) else None


def tasks_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """Version by the digest of the store task that made it."""
    pairs = (one.partition(":") for one in annotations.get(TASKS, "").split())
    return {task: version for task, _, version in pairs if is_digest(task) and _NUMBER.match(version)}


def tasks_with(annotations: Mapping[str, str], task: str, version: str) -> dict[str, str]:
    """The annotations with one task more."""
    tasks = {**tasks_of(annotations), task: version}
    kept = list(tasks.items())[-MOST_TASKS:]
    return {**annotations, TASKS: " ".join(f"{task}:{version}" for task, version in kept)}
