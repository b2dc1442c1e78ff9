"""Custom secret managers: what a connector takes of the template that it names, and what its secrets are asked for.

Promises: a connector is bound to the content that was looked at here, by those who may make it run; a secret's inputs fit what
template and connector ask for, before anything is signed. Must not run a script, nor fill in an expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from client.account import Account
from client.defaults import Defaults
from client.descriptions import Description
from client.directory import Directory, Known
from client.manifest import Manifest
from client.tasks import place_of, template_of
from client.templates import Planned, Templates
from shared.connectors.custom_secret_manager import ASKED, CustomSecretManagerSettings
from shared.connectors.kinds import settings as settings_of
from shared.documents.connector import CUSTOM, ConnectorDocument
from shared.documents.fields import Permission
from shared.documents.jws import Verified
from shared.documents.template import TemplateContent, TemplateDocument, TemplateUse, content_digest
from shared.errors import Conflict, Denied, Malformed, NotFound, PrivySealError
from shared.names import Reference, Scope
from shared.references import DirectReference
from shared.selectors import MAXIMUM, normalise_all
from shared.template_inputs import Asked, asked, connector_gap, open_inputs, secret_gap, seen_from, write_inputs
from shared.trust.uses import TEMPLATE_PERMISSIONS

NOTHING: Planned = {}
MOST_SECRETS = 64
_HINT = "give them anew: privyseal secret set --input NAME=VALUE"


class CustomManagers:
    """One account's."""

    def __init__(self, account: Account, directory: Directory, templates: Templates) -> None:
        self._account = account
        self._directory = directory
        self._templates = templates
        self._defaults = Defaults(account, directory)

    # ---- connectors

    async def bound(self, description: Description, planned: Planned = NOTHING) -> dict[str, Any]:
        """The fields of a connector's document that its template decides: `template`, `secrets`, `selectors`; none elsewhere.

        Raises NotFound, Denied or Malformed at the field that names the template or its inputs.
        """
        settings = description.settings
        if not isinstance(settings, CustomSecretManagerSettings):
            return {}
        template = await self._template(description, settings, planned)
        content, scope = template.content, Scope.parse(template.scope)
        if gap := connector_gap(content, settings):
            why = gap.refusal(
                f"the template {template.place_name} and the connector differ",
                "say each of its inputs once: a text, or <+input> to ask each secret for it",
            )
            raise description.refused(
                "spec.template.templateInputs.environmentVariables", why.detail, why.hint, code=why.code
            )
        if settings.default and not content.write:
            raise description.refused(
                "spec.default",
                f"the template {template.place_name} only reads: the connector can't be the default, it takes no new values",
                "leave it out, or give the template a script that writes",
            )
        secrets = tuple(sorted({*settings.references(), *(seen_from(one, scope) for one in content.secrets)}))
        named = {*normalise_all(settings.selectors()), *normalise_all(content.selectors)}
        if len(secrets) > MOST_SECRETS or len(named) > MAXIMUM:
            raise description.refused(
                "spec.template.templateRef", "connector and template name too many secrets or selectors", "name fewer"
            )
        return {
            "template": TemplateUse(id=template.id, content=content_digest(template)),
            "secrets": secrets,
            "selectors": normalise_all(named),
        }

    async def _template(
        self, description: Description, settings: CustomSecretManagerSettings, planned: Planned
    ) -> TemplateDocument:
        """What the settings name, which its signer may have run; one that is to be made has the same signer as the connector."""
        link, path = settings.template, "spec.template.templateRef"
        try:
            place = Reference.parse(link.template_ref, description.place.scope)
        except Malformed as why:
            raise description.refused(path, why.detail, why.hint, code=why.code) from None
        if (new := planned.get((place, link.version_label))) is not None:
            return new
        try:
            template = await self._templates.version(place, link.version_label)
            await self._check_signer(template)
        except (NotFound, Denied) as why:
            placed = description.refused(path, why.detail, why.hint, code=why.code)
            raise type(why)(why.code, placed.detail, why.hint, **placed.facts) from None
        return template.document

    async def _check_signer(self, template: Verified[TemplateDocument]) -> None:
        """Whoever signed it holds now what that takes, over its scope and over each secret that it names."""
        document, scope = template.document, Scope.parse(template.document.scope)
        for permission in TEMPLATE_PERMISSIONS:
            self._check_holds(template, permission, scope, None)
        for reference in document.content.secrets:
            (known,) = await self._directory.find([Reference.parse(reference, scope)], fresh=True)
            if isinstance(known, PrivySealError):
                raise known
            self._check_holds(template, "use", Scope.parse(known.secret.document.scope), known.secret.document.id)

    def _check_holds(
        self, template: Verified[TemplateDocument], permission: Permission, scope: Scope, resource: str | None
    ) -> None:
        account = self._account
        try:
            account.book.authority.chain(template.kid, permission, scope, resource, account.clock())
        except Denied as why:
            raise Denied(
                why.code,
                f"who signed the template {template.document.place_name} may not have it run any more: {why.detail}",
                "somebody who may signs it anew: privyseal grant adopt, or another version of it",
            ) from None

    async def completed(self, manifest: Manifest) -> Manifest:
        """A connector's manifest that also says of each input of its template that secrets are asked for it."""
        body, spec = manifest.body, manifest.body.get("spec")
        if body.get("type") != CUSTOM or not isinstance(spec, dict):
            return manifest
        here = Scope(str(body.get("orgIdentifier") or ""), str(body.get("projectIdentifier") or ""))
        settings = settings_of(CUSTOM, spec)
        assert isinstance(settings, CustomSecretManagerSettings)
        await self._account.sync()
        place = Reference.parse(settings.template.template_ref, here)
        template = (await self._templates.version(place, settings.template.version_label)).document
        said = {one.name for one in settings.variables}
        new = [
            {"name": one, "type": "String", "value": ASKED} for one in open_inputs(template.content) if one not in said
        ]
        if not new:
            return manifest
        link = dict(spec["template"])
        inputs = dict(link.get("templateInputs") or {})
        link["templateInputs"] = {**inputs, "environmentVariables": [*(inputs.get("environmentVariables") or []), *new]}
        return replace(manifest, body={**body, "spec": {**spec, "template": link}})

    # ---- secrets

    async def content_of(
        self, connector: ConnectorDocument, templates: Mapping[str, TemplateDocument] | None = None
    ) -> TemplateContent:
        """What a connector runs, which its signer has seen; `templates` are to be made before, by their ids.

        Raises NotReady where it isn't shown, Denied where it is another than the connector names.
        """
        assert connector.template is not None
        document = (templates or {}).get(connector.template.id)
        if document is None:
            document = template_of(self._account.book, connector).document
        if content_digest(document) != connector.template.content:
            raise Denied(
                "template_changed",
                f"the template {document.identifier} isn't the one that who signed {connector.identifier} has seen",
                "look at it, then: privyseal template reconcile",
            )
        return document.content

    def check_inputs(self, content: TemplateContent, connector: ConnectorDocument, given: Mapping[str, str]) -> None:
        """Whether a secret's inputs are those that it is asked for. Raises Malformed: inputs_unfit."""
        if gap := secret_gap(content, custom_settings(connector), given):
            raise gap.refusal(f"the inputs for the connector {connector.identifier}", _HINT)

    async def asked(self, place: Reference, connector: str | None = None) -> tuple[Asked, ...] | None:
        """What the secret at `place` is asked for, there or to be made at `connector`; None where it takes a value instead.

        Raises NotFound for a connector that isn't there.
        """
        holder, known = await self._holder(place, connector)
        if holder.type != CUSTOM or (known is not None and known.n and not known.secret.document.reference):
            return None
        return asked(await self.content_of(holder), custom_settings(holder))

    async def checked(
        self, place: Reference, given: Mapping[str, str], connector: str | None = None, *, writes: bool = False
    ) -> str:
        """What the document of the secret at `place` says for these inputs; `writes`: a value is to be written there.

        Raises Malformed for what doesn't fit, Denied where the template only reads, NotFound.
        """
        holder, _ = await self._holder(place, connector)
        if holder.type != CUSTOM:
            raise Malformed(
                "inputs_unexpected",
                f"{place_of(holder)} is of the kind {holder.type}, which takes no inputs",
                f"inputs are for a {CUSTOM}: name one with --connector",
            )
        text, content = write_inputs(given), await self.content_of(holder)
        if writes and not content.write:
            raise Denied(
                "connector_read_only",
                f"the template of {holder.identifier} only reads: no value can be kept there",
                "give the inputs alone, without a value",
            )
        self.check_inputs(content, holder, given)
        return text

    async def direct(
        self, template: Verified[TemplateDocument], connector: str, here: Scope, given: Mapping[str, str]
    ) -> DirectReference:
        """What `connector` reads with these inputs without a secret of ours. Raises Conflict where it runs something else."""
        await self._account.sync()
        place = Reference.parse(connector, here)
        holder = (await self._directory.connector(place)).document
        use = TemplateUse(id=template.document.id, content=content_digest(template.document))
        if holder.template != use:
            raise Conflict(
                "template_other",
                f"the connector {place} doesn't run {template.document.place_name} with the content that is there",
                "test the version that it runs, or sign it anew first: privyseal template reconcile",
            )
        text = write_inputs(given)
        if gap := secret_gap(template.document.content, custom_settings(holder), given):
            raise gap.refusal(f"the inputs for the connector {holder.identifier}", "give each with --input NAME=VALUE")
        return DirectReference(place, CUSTOM, text, {})

    async def _holder(self, place: Reference, connector: str | None) -> tuple[ConnectorDocument, Known | None]:
        """The connector of the secret at `place`, there or to be made, and what is there."""
        await self._account.sync()
        (found,) = await self._directory.find([place], fresh=True)
        if isinstance(found, Known):
            return found.connector.document, found
        if not isinstance(found, NotFound):
            raise found
        if connector:
            return (await self._directory.connector(Reference.parse(connector, place.scope))).document, None
        return (await self._defaults.of(place.scope)).document, None


def custom_settings(connector: ConnectorDocument) -> CustomSecretManagerSettings:
    """The settings of a custom secret manager's document."""
    found = settings_of(CUSTOM, connector.spec)
    assert isinstance(found, CustomSecretManagerSettings)
    return found
