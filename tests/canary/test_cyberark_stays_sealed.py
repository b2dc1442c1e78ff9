"""CyberArk's credentials and values, through real processes: nowhere but at the edges, also when what answers repeats them.

Searched as in `test_values_stay_sealed`, and the command lines of all processes of this machine, looked at all the while.
"""

from __future__ import annotations

import base64
import json
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from client.manifest import parse
from tests.canary.arguments import Arguments
from tests.canary.tapped import TappedEnvironment
from tests.canary.test_values_stay_sealed import MANAGER, watch_of
from tests.fakes.authority import Authority
from tests.fakes.ccp import Account, Application, Ccp, Safe
from tests.fakes.conjur import Conjur, Host
from tests.servers.https import Https, Reply

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="memory and command lines are searched on Linux only"),
]

LOGIN = "host/apps/sealed"


@dataclass
class CyberArk:
    """Both services, and what is held as a secret: the API key and the client certificate's key."""

    conjur: Https
    ccp: Https
    variables: Conjur
    api_key: bytes
    certificate: bytes
    key: bytes
    values: dict[str, bytes]


@pytest.fixture
def cyberark() -> Iterator[CyberArk]:
    values = {name: secrets.token_urlsafe(24).encode() for name in ("conjur", "ccp")}
    conjur, ccp, clients = Conjur(hosts={LOGIN: Host()}), Ccp(), Authority("clients")
    conjur.variables["prod/db"] = [values["conjur"]]
    conjur.permit(LOGIN, "prod/db")
    key, certificate = clients.issue()
    ccp.applications["Sealed"] = Application({x509.load_pem_x509_certificate(certificate).serial_number})
    ccp.safes["Databases"] = Safe({"Sealed"}, [Account(values["ccp"].decode(), "db")])
    with Https(conjur) as first, Https(ccp, clients=clients, required=True) as second:
        api_key = conjur.hosts[LOGIN].api_key.encode()
        yield CyberArk(first, second, conjur, api_key, certificate, key, values)


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[TappedEnvironment]:
    one = TappedEnvironment(tmp_path / "dev")
    async with one:
        yield one


async def connect(environment: TappedEnvironment, cyberark: CyberArk) -> None:
    """The connectors `conjur` and `ccp`."""
    conjur = {
        "url": cyberark.conjur.url,
        "account": "acme",
        "caCertificate": cyberark.conjur.trust,
        "credential": {"type": "ApiKey", "spec": {"login": LOGIN, "apiKey": "account.api_key"}},
    }
    ccp = {
        "url": cyberark.ccp.url,
        "appId": "Sealed",
        "caCertificate": cyberark.ccp.trust,
        "clientCertificate": cyberark.certificate.decode(),
        "clientKey": "account.client_key",
    }
    async with environment.client() as client:
        await client.store("account.api_key", cyberark.api_key)
        await client.store("account.client_key", cyberark.key)
        for name, kind, spec in (("conjur", "CyberArkConjur", conjur), ("ccp", "CyberArkCcp", ccp)):
            body = {"connector": {"name": name, "identifier": name, "type": kind, "spec": spec}}
            await client.connectors.apply(await client.connectors.plan(parse(json.dumps(body).encode(), "c.yaml")))


async def test_keys_tokens_and_values_are_nowhere_but_at_the_edges(
    environment: TappedEnvironment, cyberark: CyberArk
) -> None:
    watch, arguments = watch_of(environment), Arguments()
    watch.surface("command lines", arguments.pieces)
    watch.marker("the manager's own command line", str(environment.database).encode(), "command lines")
    watch.secret("the API key", cyberark.api_key)
    for at, line in enumerate(cyberark.key.decode().splitlines()[1:-1]):
        watch.secret(f"line {at} of the client certificate's key", line.encode())
    with arguments.watched():
        await connect(environment, cyberark)
        for name, reference in (("conjur", "prod/db"), ("ccp", "Databases/db")):
            watch.secret(f"value of {name}", cyberark.values[name])
            place = f"account.in_{name}"
            await environment.privyseal("connector", "test", f"account.{name}")
            await environment.privyseal(
                "secret", "set", place, "--connector", f"account.{name}", "--refers-to", reference
            )
            assert await environment.privyseal("reveal", place, gives_value=True) == cyberark.values[name]
        await fail(environment, cyberark)
    for at, header in enumerate({one.headers["authorization"] for one in cyberark.conjur.calls("/secrets")}):
        token = base64.b64decode(header.removeprefix('Token token="').removesuffix('"'))
        watch.secret(f"signature of token {at}", json.loads(token)["signature"].encode())
    findings = watch.search()
    findings.insist()
    assert all(findings.searched_bytes[one] > 20_000 for one in MANAGER), findings.searched_bytes


async def fail(environment: TappedEnvironment, cyberark: CyberArk) -> None:
    """Both say no, and repeat all that they know: what our errors say is searched, too."""
    told = json.dumps({name: value.decode() for name, value in cyberark.values.items()})
    all_of_it = json.dumps({"error": told, "ErrorCode": "APPAP306E", "ErrorMsg": told + cyberark.api_key.decode()})
    # Place, HTTP status and what the command line ends with.
    cases = [
        *((cyberark.conjur, "/secrets", "conjur", status, ends) for status, ends in ((403, 4), (422, 2), (500, 9))),
        *((cyberark.conjur, "/authn", "conjur", status, ends) for status, ends in ((200, 9), (401, 4), (500, 9))),
        *((cyberark.ccp, "/AIMWebService", "ccp", status, ends) for status, ends in ((200, 9), (403, 4))),
    ]
    for site, path, name, status, ends in cases:
        cyberark.variables.end_tokens()
        site.fail(path, Reply(status, all_of_it.encode()), times=100)
        assert await environment.privyseal("reveal", f"account.in_{name}", status=ends) == b""
        site.forgive()
