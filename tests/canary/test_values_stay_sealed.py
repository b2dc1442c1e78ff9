"""Random values and keys go through every operation of real processes, and are nowhere at the manager or in any log.

Searched: the manager's memory, its database with journal and log, both directions of both of its ports, the logs of the
delegates, and what commands print. Each surface also has to show something that must be there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from client.transport import bearer
from shared.aad import Aad
from shared.crypto import aead, record
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.documents.jws import parse_as
from shared.documents.task import TaskDocument
from shared.errors import PrivySealError
from shared.labels import WRAP
from shared.values import Wrapped
from tests.canary.tapped import TappedEnvironment
from tests.canary.watch import Watch, files, held, memory

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="memory is searched on Linux only"),
]

TRAFFIC = ("from clients", "to clients", "from delegates", "to delegates")
MANAGER = ("manager's memory", "manager's files", *TRAFFIC)


def values() -> dict[str, bytes]:
    """Of several sizes and alphabets, new in each run."""
    return {
        "short": secrets.token_urlsafe(12).encode(),
        "binary": os.urandom(32),
        "digits": "".join(secrets.choice("0123456789") for _ in range(24)).encode(),
        "awkward": f'"{secrets.token_urlsafe(8)}\\\n\té€😀<&>+/={secrets.token_urlsafe(8)}'.encode(),
        "padded": secrets.token_bytes(300),
        "page": secrets.token_hex(2_500).encode(),
        "large": os.urandom(400_000),
    }


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[TappedEnvironment]:
    one = TappedEnvironment(tmp_path / "dev")
    async with one:
        yield one


def watch_of(environment: TappedEnvironment) -> Watch:
    """All surfaces, none of the values yet."""
    watch = Watch()
    watch.surface("manager's memory", memory(lambda: environment.manager.pid))
    watch.surface("manager's files", files(environment.holdings))
    watch.surface("delegates' logs", files(lambda: [one.log for one in environment.delegates.values()]))
    watch.surface("what commands say", environment.sayings)
    http, grpc = environment.http, environment.grpc
    watch.surface("from clients", held(http.there))
    watch.surface("to clients", held(http.back))
    watch.surface("from delegates", held(grpc.there))
    watch.surface("to delegates", held(grpc.back))
    watch.marker("the account", environment.account.encode(), *MANAGER, "delegates' logs")
    return watch


def keys_of(environment: TappedEnvironment) -> dict[str, bytes]:
    """Every private key of the account that lies on a disk, and what is derived from the keyring's seed."""
    file = environment.keyring.read_bytes()
    keyring = Keyring.parse(file)
    newest = keyring.newest
    found = {
        "keyring seed": newest._seed,
        "keyring kek": newest.kek,
        "keyring mac key": newest.mac_key,
    }
    for name, path in {
        "root": environment.root_key,
        "identity": environment.home.path("identities", "dev.pem"),
    }.items():
        found[f"{name} key"] = load_pem_private_key(path.read_bytes(), None).private_bytes_raw()  # type: ignore[union-attr]
    found["recovery key"] = (environment.folder / "recovery.txt").read_bytes().strip()
    return found


def data_keys_of(environment: TappedEnvironment) -> dict[str, bytes]:
    """The key of each stored record, unwrapped with the keyring file as a delegate does."""
    keyring = Keyring.parse(environment.keyring.read_bytes())
    found = {}
    query = "SELECT secret, n, digest, connector, compact, record FROM versions WHERE record IS NOT NULL"
    with contextlib.closing(sqlite3.connect(f"file:{environment.database}?mode=ro", uri=True)) as database:
        for secret, n, digest, connector, compact, raw in database.execute(query):
            parts = record.unpack(Wrapped(bytes(raw)))
            task = parse_as(TaskDocument, compact).document
            place = Aad("store", task.acct, task.keyring, "account", secret, n, digest, connector)
            key = aead.decrypt(keyring.generation(parts.generation).kek, parts.wrapped_key, place.encode(WRAP))
            found[f"data key of {secret} {n}"] = key.reveal()
    return found


async def test_values_and_keys_are_nowhere_but_at_the_edges(environment: TappedEnvironment) -> None:
    watch = watch_of(environment)
    name = f"marker_{secrets.token_hex(12)}"
    kept = values()
    for label, value in kept.items():
        watch.secret(label, value)
    for label, value in keys_of(environment).items():
        watch.secret(label, value)
    watch.marker("a secret's name", name.encode(), "manager's memory", "manager's files", "what commands say")
    watch.marker(
        "a secret's name", name.encode(), *(set(TRAFFIC) - {"from delegates"})
    )  # they are never told names back

    # (1) Stored from standard input, from a file and by a program, in one and in many versions.
    source = environment.folder / "value.bin"
    source.write_bytes(kept["large"])
    await environment.privyseal("secret", "set", f"account.{name}_large", "--file", str(source), "--type", "file")
    source.unlink()
    await environment.privyseal("secret", "set", f"account.{name}_short", "--from-stdin", given=kept["short"])
    newer = secrets.token_urlsafe(24).encode()
    watch.secret("newer", newer)
    async with environment.client() as client:
        for label in kept.keys() - {"short", "large"}:
            await client.store(
                f"account.{name}_{label}", kept[label], type="SecretFile" if label == "binary" else "SecretText"
            )
        await client.store(f"account.{name}_short", newer)

    # (2) Looked at, and revealed through each delegate, in the newest version and in an old one.
    for arguments in (["list"], ["get", f"account.{name}_short"], ["versions", f"account.{name}_short"]):
        await environment.privyseal("secret", *arguments, "--output", "json")
    expected = {**kept, "short": newer}
    async with environment.client() as client:
        for zone in environment.delegates:
            found = await client.reveal_all([f"account.{name}_{one}" for one in expected], selectors=[f"zone:{zone}"])
            assert [one.reveal() for one in found if isinstance(one, Plaintext)] == [*expected.values()]
    for label, options in {"awkward": [], "large": [], "short": ["--version", "1"]}.items():
        revealed = await environment.privyseal("reveal", f"account.{name}_{label}", *options, gives_value=True)
        assert revealed == kept[label]

    # (3) Everything that can go wrong.
    await environment.privyseal("reveal", f"account.{name}_short", "--delegate", "zone:nowhere", status=7)
    await environment.privyseal("reveal", f"account.{name}_short", "--version", "9", status=5)
    await environment.privyseal("reveal", f"account.{name}_unknown", status=5)
    await environment.privyseal("secret", "set", f"nowhere.{name}", "--from-stdin", given=newer, status=2)
    await environment.privyseal(
        "secret", "set", f"account.{name}_short", "--type", "file", "--from-stdin", given=newer, status=2
    )
    mistaken = secrets.token_urlsafe(24)
    watch.secret("given as an argument by mistake", mistaken.encode())
    await environment.privyseal("secret", "set", f"account.{name}_mistake", mistaken, status=2)
    huge = os.urandom(64) * 160_000
    watch.secret("too long", huge[:64])
    await environment.privyseal("secret", "set", f"account.{name}_huge", "--from-stdin", given=huge, status=2)
    await _ask_nonsense(environment)
    await _break_a_record(environment, f"account.{name}_page")

    async with environment.client() as client:
        # Those that no delegate could take never were on that wire.
        given = [one for one in await client.views.tasks() if one["delegate"]]
        assert len(given) > 10
        for one in given:
            # On the wire of delegates both ways, so that the search is known to see what they say and are told.
            watch.marker(f"task {one['task']}", one["task"].encode(), "from delegates", "to delegates")
    watch.search().insist()

    # (4) Restarted, all three, and used again.
    await environment.manager.restart()
    for delegate in environment.delegates.values():
        await delegate.restart()
    await environment.ready()
    assert await environment.privyseal("reveal", f"account.{name}_short", gives_value=True) == newer
    for label, value in data_keys_of(environment).items():
        watch.secret(label, value)

    # (5) Deleted.
    await environment.privyseal("secret", "delete", f"account.{name}_digits", "--yes")
    await environment.privyseal("reveal", f"account.{name}_digits", status=5)
    await environment.privyseal("audit", "verify")
    findings = watch.search()
    findings.insist()
    assert all(findings.searched_bytes[one] > 50_000 for one in MANAGER), findings.searched_bytes


async def test_a_task_under_way_shows_no_value_in_the_managers_memory(environment: TappedEnvironment) -> None:
    """The delegates stand still, so that the sealed value waits in the manager while it is searched."""
    value = secrets.token_urlsafe(4_000).encode()
    watch = watch_of(environment)
    watch.secret("value", value)
    async with environment.client() as client:
        await client.store("account.before", b"x" * 20)
        for one in environment.delegates.values():
            one.suspend()
        try:
            client.secrets.wait_seconds = 2.0
            with pytest.raises(PrivySealError):
                await client.store("account.waiting", value)
            watch.marker("the sealed value", _waiting_input(environment), "manager's memory", "from clients")
            watch.search().insist()
        finally:
            for one in environment.delegates.values():
                one.resume()


def _waiting_input(environment: TappedEnvironment) -> bytes:
    """A piece of the sealed value in the last task that a client submitted."""
    raw = bytes(environment.http.there)
    at = raw.index(b"\r\n\r\n", raw.rindex(b"/tasks?wait=", 0, len(raw) - 4_000))
    return raw[at + 3_000 : at + 3_060]


async def _ask_nonsense(environment: TappedEnvironment) -> None:
    """Requests that no client would send, authenticated and not."""
    async with environment.client() as client:
        identity, now = client.account.identity, client.account.clock()
    token = f"Bearer {bearer(identity, environment.account, environment.url, now)}"
    async with aiohttp.ClientSession() as session:
        for method, path, body, media_type in (
            ("POST", "tasks", b"\xff\xfe", "application/x-protobuf"),
            ("POST", "tasks", b"{}", "application/json"),
            ("POST", "documents", b'{"documents":["a.b.c"]}', "application/json"),
            ("POST", "resolve", b"[", "application/json"),
            ("GET", "tasks/nonsense", None, ""),
            ("GET", "documents/secret?limit=-1", None, ""),
            ("DELETE", "tasks/nonsense", None, ""),
        ):
            url = f"{environment.url}/v1/accounts/{environment.account}/{path}"
            for authorization in (token, "Bearer nonsense", ""):
                headers = {"Authorization": authorization, "Content-Type": media_type}
                async with session.request(method, url, data=body, headers=headers) as reply:
                    assert 400 <= reply.status < 500, (method, path, reply.status)
                    assert reply.content_type == "application/problem+json"


async def _break_a_record(environment: TappedEnvironment, reference: str) -> None:
    """A flipped bit in the database: the reveal fails, with the value nowhere in the error."""
    async with environment.client() as client:
        secret = (await client.secrets.find(reference)).secret.document.id
    await environment.manager.stop()
    with contextlib.closing(sqlite3.connect(environment.database)) as database:
        (raw,) = database.execute("SELECT record FROM versions WHERE secret = ?", (secret,)).fetchone()
        broken = raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:]
        database.execute("UPDATE versions SET record = ? WHERE secret = ?", (broken, secret))
        database.commit()
    await environment.manager.start()
    await environment.ready()
    await environment.privyseal("reveal", reference, status=8)
    await environment.manager.stop()
    with contextlib.closing(sqlite3.connect(environment.database)) as database:
        database.execute("UPDATE versions SET record = ? WHERE secret = ?", (raw, secret))
        database.commit()
    await environment.manager.start()
    await environment.ready()
