"""Who a connector is at Azure: each identity by its own way, and never by another, before a stand-in that verifies it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from shared import oidc
from shared.errors import Denied, Malformed, NotReady, PrivySealError
from tests.fakes.azure import Stage
from tests.fakes.azure_vault import ALL_RIGHTS
from tests.fakes.entra import AUDIENCE, App
from tests.fakes.issuers import speak
from tests.servers.azure import CLIENT, TENANT, Azure
from tests.servers.site import Site

MANAGED = "99999999-2222-4333-8444-555555555555"
APP: dict[str, Any] = {"tenantId": TENANT, "clientId": CLIENT}


@pytest_asyncio.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("delegate.tries.Tries.pause", lambda *_: 0.0)
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with Azure() as azure:
        monkeypatch.setenv("SSL_CERT_FILE", str(azure.authority))
        made = Stage(azure)
        yield made
        await made.close()


async def refusal(stage: Stage, **spec: Any) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await stage.manager(**spec).check()
    return caught.value


# ---- client secret


async def test_a_client_secret_shows_who_asks_a_line_end_after_it_or_not(stage: Stage) -> None:
    await stage.manager().check()
    stage.held["account.azureKey"] += b"\n"
    await stage.manager().check()


async def test_a_tenant_may_be_named_by_its_domain(stage: Stage) -> None:
    stage.azure.entra.tenant = "contoso.onmicrosoft.com"
    await stage.manager(secretKey="account.azureKey", clientId=CLIENT, tenantId="contoso.onmicrosoft.com").check()


async def test_a_wrong_or_expired_client_secret_is_told_apart(stage: Stage) -> None:
    stage.azure.entra.apps[CLIENT].expired_secrets.add("old")
    for value, text in ((b"wrong", "doesn't take the client secret"), (b"old", "has expired")):
        stage.held["account.azureKey"] = value
        why = await refusal(stage)
        assert (type(why), why.code) == (Denied, "azure_credentials_refused")
        assert text in why.detail
        assert CLIENT in why.detail


@pytest.mark.parametrize("value", [b"", b"\n", b"\xff\xfe", b"two\nlines"])
async def test_what_cannot_be_a_client_secret_is_sent_nowhere(stage: Stage, value: bytes) -> None:
    stage.held["account.azureKey"] = value
    why = await refusal(stage)
    assert (type(why), why.code) == (Malformed, "credential_malformed")
    assert "account.azureKey" in why.detail


async def test_an_unknown_app_registration_is_told_with_entra_ids_code(stage: Stage) -> None:
    del stage.azure.entra.apps[CLIENT]
    why = await refusal(stage)
    assert (why.code, "AADSTS700016" in why.detail) == ("azure_credentials_refused", True)


async def test_no_other_identity_is_tried_where_one_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", stage.held["account.azureKey"].decode())
    stage.azure.entra.managed[""] = CLIENT
    stage.held["account.azureKey"] = b"wrong"
    assert (await refusal(stage)).code == "azure_credentials_refused"
    assert stage.azure.entra.tokens == {}


# ---- certificate


def certified(key: Any) -> x509.Certificate:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")]), datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


def pem(key: Any) -> bytes:
    return key.private_bytes(  # type: ignore[no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize("form", ["PEM", "PKCS#12"])
async def test_a_certificate_shows_who_asks(stage: Stage, form: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    certificate = certified(key)
    both = pem(key) + certificate.public_bytes(serialization.Encoding.PEM)
    if form == "PKCS#12":
        both = pkcs12.serialize_key_and_certificates(b"app", key, certificate, None, serialization.NoEncryption())
    stage.held = {"account.azureCert": both}
    given = {**APP, "certificate": "account.azureCert"}
    why = await refusal(stage, **given)
    assert (why.code, "certificate" in why.detail) == ("azure_credentials_refused", True)
    stage.azure.entra.apps[CLIENT].certificates.append(certificate)
    await stage.manager(**given).check()


@pytest.mark.parametrize("what", ["nothing", "no key", "no certificate", "an EC key"])
async def test_what_is_no_certificate_with_its_key_is_told_by_the_secrets_name(stage: Stage, what: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1()) if what == "an EC key" else rsa.generate_private_key(65537, 2048)
    certificate = certified(key).public_bytes(serialization.Encoding.PEM)
    both = {"nothing": b"", "no key": certificate, "no certificate": pem(key), "an EC key": pem(key) + certificate}
    stage.held = {"account.azureCert": both[what]}
    why = await refusal(stage, **APP, certificate="account.azureCert")
    assert (type(why), why.code) == (Malformed, "credential_malformed")
    assert "account.azureCert" in why.detail


# ---- managed identities

SYSTEM: dict[str, Any] = {
    "useManagedIdentity": True,
    "azureManagedIdentityType": "SystemAssignedManagedIdentity",
    "delegateSelectors": ["d"],
}
USER = {**SYSTEM, "azureManagedIdentityType": "UserAssignedManagedIdentity", "managedClientId": MANAGED}


@pytest.mark.parametrize(("spec", "client"), [(SYSTEM, ""), (USER, MANAGED)], ids=["system", "user"])
async def test_a_managed_identity_is_asked_for_at_instance_metadata(
    stage: Stage, spec: dict[str, Any], client: str
) -> None:
    stage.azure.entra.managed[client] = "the machine"
    stage.azure.vault.rights["the machine"] = ALL_RIGHTS
    await stage.manager(**spec).check()
    assert {who for who, _ in stage.azure.entra.tokens.values()} == {"the machine"}


@pytest.mark.parametrize("spec", [SYSTEM, USER], ids=["system", "user"])
async def test_where_there_is_no_such_identity_that_is_said(stage: Stage, spec: dict[str, Any]) -> None:
    stage.azure.entra.managed["another"] = "the machine"
    why = await refusal(stage, **spec)
    assert (type(why), why.code) == (NotReady, "azure_identity_missing")


async def test_where_nothing_answers_for_the_machine_that_is_said(stage: Stage) -> None:
    nowhere = f"vault={stage.azure.url},login={stage.azure.url},identity=http://127.0.0.1:1"
    with pytest.raises(NotReady) as caught:
        await stage.manager(stage.surroundings(endpoints=nowhere), **SYSTEM).check()
    assert caught.value.code == "azure_identity_missing"


async def test_a_host_of_apps_gives_its_identity_by_its_own_variables(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.azure.entra.identity_header = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"
    stage.azure.entra.managed[MANAGED] = "the app"
    stage.azure.vault.rights["the app"] = ALL_RIGHTS
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{stage.azure.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", stage.azure.entra.identity_header)
    await stage.manager(**USER).check()
    assert {who for who, _ in stage.azure.entra.tokens.values()} == {"the app"}


async def test_other_identities_do_not_reach_the_machines_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from delegate.credentials.azure import METADATA, transport

    settings: Any = stage.manager()._store._settings  # type: ignore[attr-defined]
    assert METADATA not in transport(settings, stage.surroundings())._routes


# ---- ID tokens


@pytest.fixture
def issuer(stage: Stage, tmp_path: Path) -> Any:
    """The keyring's issuer, its published files on a static place."""
    with Site(tmp_path / "site") as site:
        document = speak(stage.world, site.url).document
        (site.folder / ".well-known").mkdir(parents=True)
        (site.folder / ".well-known/openid-configuration").write_text(json.dumps(oidc.discovery(site.url)))
        (site.folder / "jwks.json").write_text(json.dumps(oidc.key_set(document)))
        yield site.url


async def test_an_id_token_of_the_keyring_shows_who_asks_by_issuer_subject_and_audience(
    stage: Stage, issuer: str
) -> None:
    stage.held = {}
    given = {**APP, "useOidc": True}
    app = stage.azure.entra.apps[CLIENT] = App(CLIENT)
    subject = oidc.subject(stage.connector(**given))
    for federated in (set(), {(issuer, f"{subject}x")}, {("https://another.example", subject)}):
        app.federated = federated
        why = await refusal(stage, **given)
        assert (type(why), why.code) == (Denied, "azure_credentials_refused")
        assert "AADSTS" in why.detail
    app.federated = {(issuer, subject)}
    await stage.manager(**given).check()


async def test_a_pod_with_workload_identity_gives_its_own(
    stage: Stage, issuer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AKS gives pods these variables and that file; any issuer's token will do here."""
    tokens, pod = stage.surroundings().tokens, stage.connector()
    assert tokens is not None
    (tmp_path / "token").write_text(await tokens.mint(pod, AUDIENCE))
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.evil.example")
    stage.azure.entra.apps[MANAGED] = App(MANAGED, federated={(issuer, oidc.subject(pod))})
    stage.azure.vault.rights[MANAGED] = ALL_RIGHTS
    await stage.manager(**USER).check()
    assert {who for who, _ in stage.azure.entra.tokens.values()} == {MANAGED}


async def test_an_issuer_that_publishes_another_key_is_not_believed(stage: Stage, issuer: str, tmp_path: Path) -> None:
    stage.held = {}
    given = {**APP, "useOidc": True}
    stage.azure.entra.apps[CLIENT] = App(CLIENT, federated={(issuer, oidc.subject(stage.connector(**given)))})
    (tmp_path / "site/jwks.json").write_text('{"keys": []}')
    assert (await refusal(stage, **given)).code == "azure_credentials_refused"


async def test_a_keyring_without_an_issuer_says_so(stage: Stage) -> None:
    stage.held = {}
    why = await refusal(stage, **APP, useOidc=True)
    assert (type(why), why.code) == (NotReady, "oidc_unconfigured")
