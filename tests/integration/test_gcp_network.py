"""Google's kinds with everything in between: YAML applied, a key file from the built-in manager or an ID token, a real delegate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from requests import get

from client.dev import DevEnvironment
from client.manifest import parse
from client.sdk import Client
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict, Denied, Malformed, NotFound
from tests.fakes.google import NUMBER, PROJECT, Google
from tests.fakes.google_stage import ROBOT, USE_KEYS, USE_SECRETS
from tests.fakes.google_tokens import Provider
from tests.fakes.issuers import ISSUER_KEYS
from tests.servers.site import Site

POOL = f"projects/{NUMBER}/locations/global/workloadIdentityPools/pool-1"
CONNECTORS = f"""
connector:
  name: keys by key file
  identifier: keys
  type: GcpKms
  spec: {{projectId: {PROJECT}, region: europe-west1, keyRing: ring, keyName: main, credentials: account.robot}}
---
connector:
  name: secrets by key file
  identifier: secrets
  type: GcpSecretManager
  spec: {{credentialsRef: account.robot}}
---
connector:
  name: keys by ID token
  identifier: tokens
  type: GcpKms
  spec:
    projectId: {PROJECT}
    region: europe-west1
    keyRing: ring
    keyName: main
    oidcDetails:
      workloadPoolId: pool-1
      providerId: privyseal
      gcpProjectId: "{NUMBER}"
      serviceAccountEmail: {ROBOT}
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def google() -> Iterator[Google]:
    with Google() as one:
        one.keys.new_key("main")
        one.allow(f"serviceAccount:{ROBOT}", *USE_KEYS, *USE_SECRETS)
        yield one


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(google: Google, site: Site) -> AsyncIterator[Client]:
    options = {"*": ["--gcp-endpoints", google.endpoints]}
    async with DevEnvironment(delegates=1, delegate_options=options) as environment, environment.client() as one:
        await one.store("account.robot", google.http.key_file(ROBOT, ISSUER_KEYS[1].private))
        await one.connectors.apply(await one.connectors.plan(parse(CONNECTORS.encode(), "here")))
        await one.issuers.enable(site.url)
        await one.issuers.publish(site.folder)
        yield one


async def test_a_value_under_a_key_of_google_is_stored_and_revealed(client: Client, google: Google) -> None:
    await client.connectors.test("account.keys")
    await client.store("account.db", b"hunter2", connector="account.keys")
    assert await client.reveal("account.db") == Plaintext(b"hunter2")
    assert {call.who for call in google.calls} == {f"serviceAccount:{ROBOT}"}
    assert not any(b"hunter2" in call.request.plaintext for call in google.calls if call.method == "Encrypt")


async def test_a_value_is_stored_read_by_version_and_deleted_at_google(client: Client, google: Google) -> None:
    await client.connectors.test("account.secrets")
    for value in (b"old", b"new"):
        await client.store("account.pw", value, connector="account.secrets")
    assert google.secrets.of(f"projects/{PROJECT}/secrets/pw").values == {1: b"old", 2: b"new"}
    assert await client.reveal("account.pw") == Plaintext(b"new")
    assert await client.reveal("account.pw", version=1) == Plaintext(b"old")
    await client.delete("account.pw")
    assert not [name for name in google.secrets.kept if name.endswith("/pw")]


async def test_an_existing_secret_is_referred_to_and_outlives_the_reference(client: Client, google: Google) -> None:
    name = f"projects/{PROJECT}/secrets/prod-db"
    google.secrets.put(name, b'{"user": {"name": "sa"}}')
    with pytest.raises(NotFound):
        await client.store("account.user", b"", connector="account.secrets", refers_to="prod-db#user.none")
    await client.store("account.user", b"", connector="account.secrets", refers_to="prod-db#user.name")
    assert await client.reveal("account.user") == Plaintext(b"sa")
    await client.delete("account.user")
    assert google.secrets.of(name)


async def test_what_google_cannot_take_is_told_to_the_person_who_stores_it(client: Client, google: Google) -> None:
    with pytest.raises(Malformed, match="65,536 bytes"):
        await client.store("account.large", bytes(70_000), connector="account.secrets")
    google.secrets.put(f"projects/{PROJECT}/secrets/taken", b"theirs")
    with pytest.raises(Conflict, match="made by others"):
        await client.store("account.taken", b"mine", connector="account.secrets")


async def test_a_delegates_id_token_is_believed_by_what_was_published_and_for_its_connector_alone(
    client: Client, google: Google, site: Site
) -> None:
    (holder,) = [one for one in await client.issuers.holders() if one.subject.endswith("/tokens")]
    assert holder.audience == f"https://iam.googleapis.com/{POOL}/providers/privyseal"

    def keys() -> dict[str, object]:
        place = get(f"{site.url}/.well-known/openid-configuration", timeout=5).json()["jwks_uri"]
        found: dict[str, object] = get(place, timeout=5).json()
        return found

    provider = Provider(site.url, keys, lambda claims: claims["sub"] == "another")
    google.http.providers[f"{POOL}/providers/privyseal"] = provider
    google.allow(
        f"principal://iam.googleapis.com/{POOL}/subject/tokens",
        "iam.serviceAccounts.getAccessToken",
        on=f"serviceAccounts/{ROBOT}",
    )
    with pytest.raises(Denied) as caught:
        await client.connectors.test("account.tokens")
    assert caught.value.code == "oidc_refused"
    provider.condition = lambda claims: claims["sub"] == holder.subject
    await client.connectors.test("account.tokens")
    await client.store("account.kept", b"hunter2", connector="account.tokens")
    assert await client.reveal("account.kept") == Plaintext(b"hunter2")
