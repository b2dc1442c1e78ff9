"""What the cases against custom secret managers begin with: a template's script behind a real delegate, and records of its secrets.

    scripted = Scripted(stage, 'secret="$path"')
    version = await scripted.secret("password", {"path": "a"})
    item = await scripted.revealed(version)

The script leaves a file for each of its runs (`scripted.runs`). Records are those that a delegate of the zone would make.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from delegate.secret_managers.interface import stored_bytes
from shared.crypto.output import Item
from shared.crypto.plaintext import Plaintext
from shared.crypto.reference import make
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.documents.template import TemplateInput
from shared.template_inputs import write_inputs
from tests.adversary.stage import Stage
from tests.fakes.world import Version

POLICY = "scripts = true"
TOKEN = '<+secrets.getValue("account.token")>'


class Scripted:
    """One template and one connector that runs it. Needs no delegate yet."""

    def __init__(
        self,
        stage: Stage,
        script: str,
        *,
        inputs: Mapping[str, str | None] | None = None,
        named: Sequence[str] = (),
        spec: Mapping[str, Any] | None = None,
        held: Sequence[str] = (),
        **more: str,
    ) -> None:
        """`named`: the secrets that the template names; `held`: those of the connector besides; `more`: of the template."""
        self.stage = stage
        self.folder = stage.folder / f"runs-{secrets.token_hex(4)}"
        self.folder.mkdir()
        given = {"path": None} if inputs is None else inputs
        content = {
            "script": f'touch "{self.folder}/$$"\n{script}',
            "inputs": tuple(TemplateInput(name=name, value=value) for name, value in given.items()),
            "secrets": tuple(sorted(named)),
            **more,
        }
        self.template = stage.world.template("script", content=content)
        left = [{"name": name} for name, value in given.items() if value is None]
        link = {"templateRef": "account.script", "versionLabel": "1", "templateInputs": {"environmentVariables": left}}
        settings = {"template": link, **(spec or {})}
        self.connector = stage.world.custom("custom", self.template, [*named, *held], spec=settings)

    @property
    def runs(self) -> int:
        """How often the script has begun."""
        return len(list(self.folder.iterdir()))

    async def secret(self, identifier: str, given: Mapping[str, str] | str) -> Version:
        """A secret with these inputs (a text: as they stand), whose documents the delegate has."""
        reference = given if isinstance(given, str) else write_inputs(given)
        world = self.stage.world
        secret = world.secret(identifier, connector=self.connector.document.id, reference=reference)
        version = world.store(secret, b"")
        await self.stage.teach("alpha")
        return version

    def record(self, version: Version) -> bytes:
        """What a delegate of the zone keeps of it."""
        world, document = self.stage.world, version.secret.document
        place = world.place(version.secret, version.n, version.task.digest)
        return stored_bytes(make(world.keyring.newest, place, document.reference, document.metadata, ""))

    def credentials(self, task: Verified[TaskDocument]) -> list[bytes]:
        """The records of a task's credentials; an SSHKey has none."""
        kept = self.stage.world._versions
        return [
            kept[one.secret].record.raw if one.secret in kept else b""
            for one in task.document.credentials
            if one.secret
        ]

    async def given(self, task: Verified[TaskDocument], records: Sequence[bytes]) -> list[Item]:
        """What the delegate answers when the manager hands it that task with these records."""
        result = await self.stage.evil.give("alpha", task.compact, (), records, self.credentials(task))
        return self.stage.opened(task, result)

    async def revealed(self, version: Version) -> Item:
        """The delegate's answer to an honest reveal."""
        task = self.stage.world.reveal([version])
        (item,) = await self.given(task, [self.record(version)])
        return item

    async def value(self, version: Version) -> bytes:
        """The value that an honest reveal gives. Raises the error that it gives instead."""
        item = await self.revealed(version)
        if isinstance(item, Plaintext):
            return item.reveal()
        raise item
