"""Custom secret managers in a world: a template, the connector that runs it, and a manager of it, as a delegate makes one.

    made = Custom(script="secret=$path")
    await made.read({"path": "a/b"})

Values of credentials are said beside, by reference; nothing here resolves them. Must not decide what a script may see.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from delegate.policy import LocalPolicy
from delegate.secret_managers.custom_secret_manager import CustomSecretManager
from delegate.secret_managers.direct import Direct
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.documents.jws import Verified
from shared.documents.template import TemplateDocument, TemplateInput
from shared.template_inputs import write_inputs
from tests.fakes.world import World

ALLOWED = "scripts = true"


FILES: Mapping[str, str] = {
    "script": '[[ -e $folder/$path ]] || exit 0; IFS= read -r -d "" secret < "$folder/$path" || :',
    "write": 'printf %s "$secret" > "$folder/$path"; echo "$path" >> "$folder/.writes"',
    "remove": 'rm -f -- "$folder/$path"',
}
"""Scripts that keep values in files of a folder, and tell of each writing in `.writes`."""

PYTHON_FILES: Mapping[str, str] = {
    "script": "import pathlib\nfile = pathlib.Path(folder, path)\nif file.exists():\n    secret = file.read_bytes()\n",
    "write": "import os, pathlib\npathlib.Path(folder, path).write_bytes(os.fsencode(secret))\n",
    "remove": "import pathlib\npathlib.Path(folder, path).unlink(missing_ok=True)\n",
}
"""The same in Python."""


@dataclass
class Custom:
    """`inputs` are the template's, None where it leaves one open; `variables` what the connector says of those.

    `held` has the credentials' values, `named` those references of the connector's document that aren't in it.
    """

    script: str = 'secret="$path"'
    write: str = ""
    remove: str = ""
    shell: str = "Bash"
    inputs: Mapping[str, str | None] = field(default_factory=lambda: {"path": None})
    variables: Sequence[Mapping[str, Any]] | None = None
    template_secrets: Sequence[str] = ()
    template_scope: str = "account"
    scope: str = "account"
    spec: Mapping[str, Any] = field(default_factory=dict)
    held: Mapping[str, bytes] = field(default_factory=dict)
    policy: str = ALLOWED
    world: World = field(default_factory=World)

    @cached_property
    def template(self) -> Verified[TemplateDocument]:
        """Published."""
        content = {
            "shell": self.shell,
            "script": self.script,
            "write": self.write,
            "remove": self.remove,
            "inputs": tuple(TemplateInput(name=name, value=value) for name, value in self.inputs.items()),
            "secrets": tuple(sorted(self.template_secrets)),
        }
        return self.world.template("script", self.template_scope, content=content)

    @cached_property
    def connector(self) -> Verified[ConnectorDocument]:
        """Published; it leaves to each secret what the template leaves open, unless `variables` say otherwise."""
        left = [{"name": name} for name, value in self.inputs.items() if value is None]
        said = left if self.variables is None else [dict(one) for one in self.variables]
        link = {
            "templateRef": "account.script",
            "versionLabel": self.template.document.version,
            "templateInputs": {"environmentVariables": said},
        }
        spec = {"template": link, **self.spec}
        return self.world.custom("custom", self.template, tuple(self.held), self.scope, spec=spec)

    def surroundings(self, template: TemplateDocument | None) -> Surroundings:
        """Of a delegate that was handed that template with the connector."""
        zone = Zone(self.world.keyring, self.world.book())
        policy = LocalPolicy.parse(self.policy, ["CustomSecretManager"])
        return Surroundings(zone, policy, secrets.token_bytes, template=template)

    def manager(self) -> Direct:
        """A new one. Raises what the kind raises."""
        connector = self.connector.document
        held = {name: Plaintext(value) for name, value in self.held.items()}
        return CustomSecretManager(connector, self.surroundings(self.template.document), held)

    def version(self, given: Mapping[str, str] | str | None = None, n: int = 1, **document: Any) -> SecretVersion:
        """Version `n` of a secret with these inputs, by reference; a text is the reference as it is."""
        reference = given if isinstance(given, str) else write_inputs(given or {})
        fields = {"identifier": "password", "scope": "account", "reference": reference, **document}
        secret = self.world.secret_document(**fields, connector=self.connector.document.id)
        signed = self.world.sign(secret, self.world.administrator)
        aad = self.world.place(signed, n, digest(f"the store task of {secret.id} {n}"))
        return SecretVersion(secret, self.connector.document, n, aad)

    def inline(self, given: Mapping[str, str], n: int = 1, **document: Any) -> SecretVersion:
        """Version `n` of a secret that a script writes."""
        return self.version("", n, metadata=dict(given), **document)

    async def read(self, given: Mapping[str, str] | str | None = None, **document: Any) -> bytes:
        """What the script leaves for these inputs."""
        return (await self.manager().look_up(self.version(given, **document))).reveal()


def files(folder: Path, **changes: Any) -> Custom:
    """Values in files of that folder, by their `path`."""
    return Custom(**{**FILES, "inputs": {"folder": str(folder), "path": None}, **changes})
