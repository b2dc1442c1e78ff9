"""The issuer end to end: what `oidc publish` writes lies on a static place, and a real OpenBao believes delegates by it alone."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from hvac.exceptions import VaultError  # type: ignore[import-untyped]

from client.dev import DevEnvironment
from client.manifest import parse
from client.sdk import Client
from delegate.clock import Clock
from delegate.tokens import Tokens
from delegate.zone import Zone
from shared import oidc
from shared.crypto.issuer import IssuerKey
from shared.crypto.keyring import Keyring
from shared.documents.connector import ConnectorDocument
from tests.fakes.issuers import ISSUER_KEYS
from tests.servers.openbao import OpenBao
from tests.servers.site import Site

RULES = 'path "kv/*" { capabilities = ["create", "read", "update", "delete"] }'
CONNECTOR = """
connector:
  name: Vault by ID token
  identifier: by_token
  type: Vault
  spec:
    vaultUrl: {address}
    basePath: /by-token
    secretEngineName: kv
    secretEngineVersion: 2
    renewalIntervalMinutes: 0
    useJwtAuth: true
    jwtAuthRole: role
    jwtAuthPath: {path}
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


class At(Clock):
    """So many seconds from now."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def now(self) -> int:
        return super().now() + self._seconds


@dataclass(slots=True)
class Parties:
    """A running installation, the place of its issuer, and an OpenBao that trusts that place for one connector."""

    environment: DevEnvironment
    client: Client
    bao: OpenBao
    site: Site
    path: str
    connector: ConnectorDocument

    def zone(self) -> Zone:
        """That of a delegate with the keyring file as it is now."""
        return Zone(Keyring.parse(self.environment.keyring.read_bytes()), self.client.account.book)

    async def token(self, audience: str | None = None, seconds: int = 0, **changes: Any) -> str:
        """What a delegate mints for the connector."""
        connector = ConnectorDocument(
            **{**{f: getattr(self.connector, f) for f in self.connector.__struct_fields__}, **changes}
        )
        return await Tokens(self.zone(), At(seconds), os.urandom).mint(connector, audience or self.path)

    def login(self, token: str) -> Any:
        """What OpenBao says of a token. Raises VaultError."""
        return self.bao.root.adapter.post(f"/v1/auth/{self.path}/login", json={"role": "role", "jwt": token})

    def refuses(self, token: str) -> str:
        """OpenBao's words on a token that it must refuse."""
        with pytest.raises(VaultError) as caught:
            self.login(token)
        return str(caught.value)


@pytest.fixture(scope="module")
def bao() -> Iterator[OpenBao]:
    with OpenBao() as server:
        server.root.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def parties(bao: OpenBao, site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Parties]:
    async with (
        DevEnvironment(tmp_path_factory.mktemp("oidc") / "dev", delegates=1) as environment,
        environment.client() as client,
    ):
        path = await asyncio.to_thread(bao.auth, "jwt")
        manifests = parse(CONNECTOR.format(address=bao.address, path=path).encode(), "by-token.yaml")
        (connector,) = await client.connectors.apply(await client.connectors.plan(manifests))
        await client.issuers.enable(site.url)
        await client.issuers.publish(site.folder)
        (holder,) = await client.issuers.holders()
        await asyncio.to_thread(_trust, bao, path, site.url, holder.subject, holder.audience)
        yield Parties(environment, client, bao, site, path, connector.document)


def _trust(bao: OpenBao, path: str, issuer: str, subject: str, audience: str) -> None:
    """As an owner of Vault does: the issuer's URL, and of its tokens one subject and audience."""
    post = bao.root.adapter.post
    post(f"/v1/auth/{path}/config", json={"oidc_discovery_url": issuer, "bound_issuer": issuer})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_subject": subject, "bound_audiences": [audience]}
    claims = {
        "bound_claims": {"connector_id": "by_token", "organization_id": ""},
        "token_policies": [bao.policy(RULES)],
    }
    post(f"/v1/auth/{path}/role/role", json={**role, **claims, "token_ttl": "5m"})


async def test_openbao_believes_a_token_of_the_connector_that_its_role_names(parties: Parties) -> None:
    said = await asyncio.to_thread(parties.login, await parties.token())
    metadata = said["auth"]
    assert metadata["metadata"]["role"] == "role"
    assert metadata["lease_duration"] == 300


async def test_a_delegate_logs_in_by_its_token_and_keeps_and_reveals_a_value(parties: Parties) -> None:
    tested = await parties.client.connectors.test("account.by_token")
    assert tested.connector.document.identifier == "by_token"
    await parties.client.store("account.in_vault", b"hunter2", connector="account.by_token")
    assert (await parties.client.reveal("account.in_vault")).reveal() == b"hunter2"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"audience": "sts.amazonaws.com"}, "audience"),
        ({"identifier": "another"}, "sub"),
        ({"scope": "org/o"}, "sub"),
        ({"seconds": -3600}, "expired"),
        ({"seconds": 3600}, "not yet valid"),
    ],
    ids=["another audience", "another connector", "another scope", "expired", "from the future"],
)
async def test_openbao_refuses_a_token_with(parties: Parties, changed: dict[str, Any], words: str) -> None:
    token = await parties.token(**changed)
    assert words in await asyncio.to_thread(parties.refuses, token)


@pytest.mark.parametrize("kid", ["its own", "the published one"])
async def test_openbao_refuses_a_token_that_another_key_signed(parties: Parties, kid: str) -> None:
    good = await parties.token()
    name = oidc.key_id(ISSUER_KEYS[1].n) if kid == "its own" else jwt.get_unverified_header(good)["kid"]
    told = jwt.decode(good, options={"verify_signature": False})
    forged = jwt.encode(told, ISSUER_KEYS[1].private, algorithm="RS256", headers={"kid": name})
    assert "signature" in await asyncio.to_thread(parties.refuses, forged)


async def test_openbao_refuses_a_token_of_another_issuer(parties: Parties) -> None:
    _, key = parties.zone().issuer()
    told = {
        **jwt.decode(await parties.token(), options={"verify_signature": False}),
        "iss": "https://other.example.test",
    }
    other = jwt.encode(told, key.private, algorithm="RS256", headers={"kid": oidc.key_id(key.n)})
    assert "issuer" in await asyncio.to_thread(parties.refuses, other)


async def test_openbao_believes_the_keys_that_it_was_given_inline(parties: Parties) -> None:
    issuer = await parties.client.issuers.find()
    path = await asyncio.to_thread(parties.bao.auth, "jwt")
    config = {"jwt_validation_pubkeys": [one.pem for one in issuer.keys], "bound_issuer": issuer.url}
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [path], "token_policies": ["default"]}
    for place, said in (("config", config), ("role/role", role)):
        await asyncio.to_thread(parties.bao.root.adapter.post, f"/v1/auth/{path}/{place}", json=said)
    token = {"role": "role", "jwt": await parties.token(audience=path)}
    assert (await asyncio.to_thread(parties.bao.root.adapter.post, f"/v1/auth/{path}/login", json=token))["auth"]


async def test_a_library_that_reads_the_published_keys_believes_it_too(parties: Parties) -> None:
    metadata = json.loads((parties.site.folder / oidc.DISCOVERY_PATH).read_bytes())
    token = await parties.token()
    reader = jwt.PyJWKClient(metadata["jwks_uri"])
    key = await asyncio.to_thread(reader.get_signing_key_from_jwt, token)
    told = jwt.decode(
        token,
        key,
        algorithms=metadata["id_token_signing_alg_values_supported"],
        audience=parties.path,
        issuer=parties.site.url,
        subject=oidc.subject(parties.connector),
        options={"require": metadata["claims_supported"]},
    )
    assert told["exp"] - told["iat"] == oidc.LIFETIME_SECONDS


async def test_a_new_generation_is_believed_once_it_is_published_and_a_compromised_one_no_more(
    parties: Parties,
) -> None:
    client, path = parties.client, parties.environment.keyring
    stolen = parties.zone().issuer()[1]
    await client.keyrings.rotate("main", path, compromised=False)
    unknown = await parties.token()
    assert "signature" in await asyncio.to_thread(parties.refuses, unknown)
    site = await client.issuers.publish(parties.site.folder)
    assert [one.generation for one in site.issuer.keys] == [1, 2]
    await asyncio.to_thread(parties.login, unknown)
    await asyncio.to_thread(parties.login, await _signed(parties, stolen))

    await client.keyrings.rotate("main", path, compromised=True)
    site = await client.issuers.publish(parties.site.folder)
    assert [one.generation for one in site.issuer.keys] == [3]
    # A key that it doesn't know has OpenBao read the keys anew; those that are gone are forgotten with that.
    await asyncio.to_thread(parties.login, await parties.token())
    assert "signature" in await asyncio.to_thread(parties.refuses, await _signed(parties, stolen))

    for delegate in parties.environment.delegates.values():
        await delegate.restart()
    await parties.environment.ready()
    await client.connectors.test("account.by_token")


async def _signed(parties: Parties, key: IssuerKey) -> str:
    told = jwt.decode(await parties.token(), options={"verify_signature": False})
    return jwt.encode(told, key.private, algorithm="RS256", headers={"kid": oidc.key_id(key.n)})


async def test_what_is_published_is_public_halves_and_nothing_else(parties: Parties) -> None:
    files = [file for file in Path(parties.site.folder).rglob("*") if file.is_file()]
    assert {str(one.relative_to(parties.site.folder)) for one in files} == {oidc.DISCOVERY_PATH, oidc.JWKS_PATH}
    keys = json.loads((parties.site.folder / oidc.JWKS_PATH).read_bytes())["keys"]
    assert {frozenset(one) for one in keys} == {frozenset({"kty", "use", "alg", "kid", "n", "e"})}
