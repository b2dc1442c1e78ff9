"""Drift: where a template, the connectors that run it and their secrets no longer fit together, and signing connectors anew.

Promises: each drift says what, where and how it would look right, as a diff; a connector is bound to another content only after
that was shown. Must not change a secret: who describes it gives its inputs anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import structs

from client.account import Account
from client.connectors import ConnectorChange, Connectors
from client.custom_managers import custom_settings
from client.descriptions import KIND, body_of, yaml_of
from client.directory import Directory
from client.manifest import Manifest
from client.secret_descriptions import secret_body, secret_yaml
from client.secret_inputs import value_of
from client.tasks import place_of, template_of
from client.templates import Templates, template_diff, template_place
from client.yaml_texts import unified
from shared.connectors.custom_secret_manager import ASKED, CustomSecretManagerSettings
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.secret import SecretDocument
from shared.documents.template import TemplateContent, TemplateDocument, content_digest
from shared.errors import Malformed, NotFound, PrivySealError
from shared.names import Reference, Scope
from shared.template_inputs import Gap, asked, connector_gap, open_inputs, read_inputs, secret_gap

FITS = Gap()

Kind = Literal["template", "version", "content", "inputs", "secret"]


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that doesn't fit: `kind` says what, `place` whose (`connector` where it is that of a secret).

    `template`: it isn't there or isn't believed. `version`: the connector runs another version than its YAML names, or not the
    newest. `content`: another than its signer has seen, so that delegates refuse it. `inputs`, `secret`: of the connector or of
    one of its secrets, `missing` and `unnecessary`.
    """

    kind: Kind
    connector: ConnectorDocument
    detail: str
    diff: str = ""
    secret: SecretDocument | None = None
    gap: Gap = FITS

    @property
    def place(self) -> Reference:
        """What has to be changed."""
        return place_of(self.secret or self.connector)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What signing a connector anew comes to: the template's diff, the connector's change, and the secrets that then lack inputs."""

    diff: str
    changes: Sequence[ConnectorChange]
    secrets: tuple[Drift, ...]


class Drifts:
    """One account's."""

    def __init__(self, account: Account, directory: Directory, connectors: Connectors, templates: Templates) -> None:
        self._account = account
        self._directory = directory
        self._connectors = connectors
        self._templates = templates

    async def all(self, scope: Scope, *, below: bool) -> list[Drift]:
        """What doesn't fit of the connectors at `scope`, or at it and below it, as far as this identity sees them."""
        found: list[Drift] = []
        for one in await self._connectors.all(scope, below=below):
            if one.verified is not None and one.document.type == CUSTOM:
                found += await self.of(one.verified)
        return found

    async def of(self, connector: Verified[ConnectorDocument]) -> list[Drift]:
        """What doesn't fit of one connector."""
        document = connector.document
        # It brings the template that it runs.
        await self._directory.connector(place_of(document))
        try:
            template = template_of(self._account.book, document).document
        except PrivySealError as why:
            return [Drift("template", document, why.detail)]
        if template.deleted:
            return [Drift("template", document, f"the template {template.place_name} was deleted")]
        settings = custom_settings(document)
        found = [*await self._versions(document, settings, template)]
        assert document.template is not None
        if content_digest(template) != document.template.content:
            found.append(
                Drift("content", document, "the template isn't the one that who signed the connector has seen")
            )
        if gap := connector_gap(template.content, settings):
            diff = _diff(document, settings.template.version_label, template.content)
            found.append(Drift("inputs", document, gap.refusal("the connector's inputs", "").detail, diff, gap=gap))
        return found + list(await self.secrets(document, template.content, settings))

    async def _versions(
        self, document: ConnectorDocument, settings: CustomSecretManagerSettings, template: TemplateDocument
    ) -> list[Drift]:
        """Whether it runs what its YAML names, and whether that is the newest."""
        place = Reference.parse(settings.template.template_ref, Scope.parse(document.scope))
        label = settings.template.version_label
        if (place, label) != (template_place(template), template.version):
            detail = f"it runs {template_place(template)}@{template.version}, and its YAML names {place}@{label}"
            return [Drift("version", document, detail)]
        newest = (await self._templates.versions(place))[:1]
        if not newest or newest[0].document.version == label:
            return []
        other = newest[0].document
        diff = template_diff(template, other, "") + _diff(document, other.version, other.content)
        return [
            Drift("version", document, f"it runs {label}, and the newest version of {place} is {other.version}", diff)
        ]

    async def secrets(
        self, document: ConnectorDocument, content: TemplateContent, settings: CustomSecretManagerSettings
    ) -> tuple[Drift, ...]:
        """The connector's secrets whose inputs aren't those that they would be asked for."""
        found: list[Drift] = []
        async for one in self._directory.documents("secret", SecretDocument, Scope.parse(document.scope)):
            if not one.verified or one.document.deleted or one.document.connector != document.id:
                continue
            secret = one.document
            try:
                given = read_inputs(secret.reference) if secret.reference else dict(secret.metadata)
            except Malformed as why:
                found.append(Drift("secret", document, why.detail, secret=secret))
                continue
            if gap := secret_gap(content, settings, given):
                detail = gap.refusal(f"the inputs of {place_of(secret)}", "").detail
                diff = _secret_diff(secret, place_of(document), content, settings, given)
                found.append(Drift("secret", document, detail, diff, secret, gap))
        return tuple(
            sorted(found, key=lambda one: (one.place.scope.org, one.place.scope.project, one.place.identifier))
        )

    async def reconciliation(self, reference: str, label: str | None = None) -> Reconciliation:
        """What it comes to to bind a connector to another version of its template, by default the newest.

        Inputs that the version doesn't leave open are dropped from the connector's, those that it adds are asked of each secret.
        Raises Malformed for a connector that runs no template, NotFound, and what `Connectors.plan` raises.
        """
        connector = await self._connectors.find(reference)
        document = connector.document
        if document.type != CUSTOM:
            raise Malformed(
                "connector_without_template", f"{reference} is of the kind {document.type}, which runs no template"
            )
        settings = custom_settings(document)
        place = Reference.parse(settings.template.template_ref, Scope.parse(document.scope))
        if label is None:
            versions = await self._templates.versions(place)
            if not versions:
                raise NotFound(
                    "template_unknown", f"there is no version of the template {place}", "privyseal template list --all"
                )
            target = versions[0].document
        else:
            target = (await self._templates.version(place, label)).document
        wanted = _reconciled(document, target.version, target.content)
        manifest = Manifest(f"version {target.version}", 1, KIND, body_of(wanted, ""))
        changes = await self._connectors.plan([manifest])
        try:
            before: TemplateDocument | None = template_of(self._account.book, document).document
            if before is not None and document.template and content_digest(before) != document.template.content:
                # Not what was signed for, so that nobody has been shown it.
                before = None
        except PrivySealError:
            before = None
        is_same = before is not None and before.id == target.id
        diff = "" if is_same else template_diff(before, target, "")
        secrets = await self.secrets(document, target.content, custom_settings(changes[0].wanted))
        return Reconciliation(diff, changes, secrets)

    async def reconcile(self, plan: Reconciliation) -> Verified[ConnectorDocument]:
        """Signs the connector anew, as it was shown. Raises Conflict when somebody else changed it meanwhile."""
        return (await self._connectors.apply(plan.changes))[0]


def _reconciled(document: ConnectorDocument, label: str, content: TemplateContent) -> ConnectorDocument:
    """The connector with that label and the inputs that its template leaves open: its own where it has them."""
    link: dict[str, Any] = dict(document.spec["template"])
    variables = (link.get("templateInputs") or {}).get("environmentVariables") or []
    names = open_inputs(content)
    kept = [one for one in variables if one["name"] in names]
    have = {one["name"] for one in kept}
    kept += [{"name": name, "type": "String", "value": ASKED} for name in names if name not in have]
    link |= {"versionLabel": label, "templateInputs": {"environmentVariables": kept}}
    return structs.replace(document, spec={**document.spec, "template": link})


def _diff(document: ConnectorDocument, label: str, content: TemplateContent) -> str:
    """How the connector's YAML would change to fit a version of its template."""
    wanted = _reconciled(document, label, content)
    place = f"{document.scope}/{document.identifier}"
    return _unified(yaml_of(body_of(document, "")), yaml_of(body_of(wanted, "")), place)


def _secret_diff(
    secret: SecretDocument,
    connector: Reference,
    content: TemplateContent,
    settings: CustomSecretManagerSettings,
    given: dict[str, str],
) -> str:
    """How a secret's inputs would look: what nobody asks for is gone, and what is missing is asked for."""
    wanted = {
        one.name: given.get(one.name, ASKED)
        for one in asked(content, settings)
        if one.name in given or one.default is None
    }
    body = secret_body(secret, connector)

    def said(inputs: dict[str, str]) -> dict[str, Any]:
        if secret.reference:
            return {**body, "spec": {**body["spec"], "value": value_of(inputs)}}
        return {**body, "spec": {**body["spec"], "additionalMetadata": {"values": inputs}}}

    old, new = said(given), said(wanted)
    return _unified(secret_yaml(old), secret_yaml(new), f"{secret.scope}/{secret.identifier}")


def _unified(old: str, new: str, place: str) -> str:
    return unified(old, new, place, f"{place} (reconciled)")
