"""The custom secret manager: a template's scripts read secrets where only they know how, here or on a host over SSH.

Promises: what runs is the content that the connector's signer has seen, and nothing else; a script gets the inputs that
template, connector and secret say, and the secrets that template and connector name, each in a variable; what a secret's
document says is never read as an expression. An SSHKey logs in and is given to no script. What was written counts only as long
as it is what is read (`fingerprint`). Without `scripts` in the delegate's policy nothing runs. Source of the contract:
docs/secret-managers/custom.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from delegate.commands import Commands
from delegate.scripts import BASH, POWERSHELL, PYTHON, Absence, Input, filled, program
from delegate.scripts_local import LocalScripts
from delegate.scripts_remote import RemoteScripts
from delegate.secret_managers.direct import Direct, Found
from delegate.secret_managers.fingerprint import fingerprint, fits
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.ssh import SshTarget
from shared.connectors.custom_secret_manager import CustomSecretManagerSettings
from shared.connectors.model import convert
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Denied, Malformed, NotFound
from shared.names import Reference, Scope
from shared.ssh import is_bundle
from shared.template_inputs import host_of, merged, open_inputs, read_inputs, write_inputs
from shared.templates import secrets_in

CONCURRENCY = 4
"""Scripts of one task at once: each is a process, and perhaps a connection."""

MOST_SCRIPTS = 16
"""Scripts of one connector at once, whatever tasks they are for."""

_SHELLS = {"Bash": BASH[0], "Python": PYTHON[0], "PowerShell": POWERSHELL[0]}


class CustomStore:
    """What one connector's template reads. A locator is the inputs that a secret says, as `write_inputs` has them."""

    def __init__(
        self, connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
    ) -> None:
        self._settings = convert(CustomSecretManagerSettings, connector.spec, connector.type)
        template = surroundings.template
        if template is None:
            raise Malformed(
                "template_unbound",
                f"the connector {connector.identifier} is signed without its template",
                "sign it anew: privyseal apply",
            )
        self._surroundings = surroundings
        self._connector = connector
        self._template = template
        self._commands = Commands(surroundings.variables)
        self._places = asyncio.Semaphore(MOST_SCRIPTS)
        here, login = Scope.parse(connector.scope), self._settings.connector_ref
        places = {Reference.parse(text, here): value for text, value in secrets.items() if text != login}
        if any(is_bundle(value.reveal()) for value in places.values()):
            # What logs in to a host isn't a script's to see; the warrant knows what each of them is, but not where it goes.
            raise Malformed(
                "credential_unfit",
                f"the connector {connector.identifier} would hand an SSHKey to its script",
                "name it in connectorRef alone",
            )
        self._login = secrets.get(login) if login is not None else None
        self._ours = {text: places[Reference.parse(text, here)] for text in secrets if text != login}
        home = Scope.parse(template.scope)
        self._theirs = {
            text: places[place] for text in template.content.secrets if (place := Reference.parse(text, home)) in places
        }

    @property
    def concurrency(self) -> int:
        """A few."""
        return CONCURRENCY

    @property
    def read_only(self) -> bool:
        """Unless the template has a script that writes."""
        return not self._template.content.write

    @property
    def longest_value(self) -> int:
        """As long as a secret may be."""
        return LARGEST_VALUE_BYTES

    def locator(self, secret: SecretVersion) -> str:
        """The inputs of a secret that a script writes are in its metadata."""
        return write_inputs(secret.secret.metadata)

    async def check(self) -> None:
        """The shell is there, or the host lets the SSHKey in; no script runs. Raises Denied, NotFound, Unavailable."""
        self._surroundings.policy.check_scripts()
        if not self._settings.is_remote:
            LocalScripts(self._commands).shell(_SHELLS[self._template.content.shell])
        elif not self._settings.asks_host:
            await self._target(self._settings.host or "").check()

    async def read(self, locator: str, version: str, secret: SecretVersion) -> Found:
        """What the script leaves. Raises NotFound for nothing, or for another value than was written; and what a run raises."""
        if secret.secret.reference and secret.secret.metadata:
            raise Malformed(
                "metadata_unknown",
                "additionalMetadata, or a version, means nothing to a template's script",
                "make an input of it",
            )
        found = await self._run(self._template.content.script, locator)
        if isinstance(found, Absence):
            raise NotFound(
                "secret_empty",
                f"the template {self._template.identifier}@{self._template.version} has no value for the secret "
                f"{secret.secret.identifier} of the account {self._connector.acct}: {found.value}",
                "compare the secret's inputs with what is there; the script's last lines are in the delegate's log",
            )
        if not secret.secret.reference and not fits(version, self._surroundings.zone, secret.aad, locator, found):
            raise NotFound(
                "version_replaced",
                f"what the template {self._template.identifier}@{self._template.version} reads isn't what was stored as version "
                f"{secret.n} of the secret {secret.secret.identifier}",
                "a newer version or somebody else has replaced it: read the newest version, or store it again",
            )
        return Found(found, "")

    async def write(self, locator: str, secret: SecretVersion, value: Plaintext) -> str:
        """Runs the script that writes, with the value in `secret`; it has to be harmless twice. Gives the value's fingerprint.

        Raises Malformed for a value that would be none when it is read.
        """
        if value in (Plaintext(b""), Plaintext(b"null")):
            raise Malformed(
                "value_unfit",
                "the value is empty or the text null, which mean that there is none where a script reads",
                "store another value",
            )
        await self._run(self._template.content.write, locator, value)
        return fingerprint(self._surroundings.zone, secret.aad, locator, value)

    async def remove(self, locator: str, secret: SecretVersion, version: str) -> None:
        """Runs the script that removes, for the whole secret. Raises Denied for one version, and without such a script."""
        if secret.n:
            raise Denied(
                "version_kept",
                "a template's script keeps one value for a secret, and removes no single version",
                "delete the secret, or store a new version",
            )
        if not self._template.content.remove:
            raise Denied(
                "template_cannot_remove",
                f"the template {self._template.identifier}@{self._template.version} has no script that removes",
                "give the template one in a new version, and sign the connector anew: privyseal template reconcile",
            )
        await self._run(self._template.content.remove, locator)

    async def close(self) -> None:
        """Nothing stays open."""

    async def _run(self, script: str, locator: str, value: Plaintext | None = None) -> Plaintext | Absence:
        self._surroundings.policy.check_scripts()
        content, given = self._template.content, read_inputs(locator)
        texts = merged(content, self._settings, given)
        inputs = self._inputs(texts)
        # A secret may be a part of an input, and the script print that part alone.
        parts = [self._ours[name] for text in texts.values() for name in secrets_in(text) if name in self._ours]
        given_out = (*inputs.values(), *parts, *self._theirs.values(), value)
        known = [one for one in given_out if isinstance(one, Plaintext)]
        started = program(content.shell, script, inputs, self._theirs, value)
        about = {"connector": self._connector.identifier, "kind": self._connector.type}
        settings = self._settings
        patterns = self._surroundings.mask_patterns
        runner: LocalScripts | RemoteScripts = LocalScripts(self._commands, patterns)
        if settings.is_remote:
            runner = RemoteScripts(self._target(host_of(settings, given) or ""), patterns)
        async with self._places:
            return await runner.run(
                started,
                known,
                settings.timeout,
                settings.working_directory or "",
                is_read=value is None and script is content.script,
                about=about,
            )

    def _inputs(self, texts: Mapping[str, str]) -> dict[str, Input]:
        """Every input, its expressions filled in: with the template's secrets where that says it, else with the connector's."""
        content = self._template.content
        left = set(open_inputs(content))
        inputs: dict[str, Input] = {}
        for name, text in texts.items():
            # What a secret says holds no expression.
            inputs[name] = filled(text, self._ours if name in left else self._theirs)
        return inputs

    def _target(self, host: str) -> SshTarget:
        if self._login is None:
            raise Malformed(
                "credential_unfit",
                f"the connector {self._connector.identifier} is signed without its SSHKey",
                "sign it anew: privyseal apply",
            )
        around = self._surroundings
        return SshTarget(host, self._login, around.policy, around.call_seconds, around.ssh_known_hosts)


def CustomSecretManager(  # noqa: N802 (a kind, by its name in YAML)
    connector: ConnectorDocument, surroundings: Surroundings, secrets: Mapping[str, Plaintext]
) -> Direct:
    """The kind `CustomSecretManager`."""
    return Direct(CustomStore(connector, surroundings, secrets), surroundings.zone)
