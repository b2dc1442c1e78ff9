"""The ways to log in at Vault, each against a real server where it knows the method, else against its documented API."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.crypto.plaintext import Plaintext
from shared.documents.connector import ConnectorDocument
from shared.errors import Denied, Malformed, NotFound, NotReady, Unavailable
from tests.fakes.authority import Authority
from tests.fakes.vault import StandIn, VaultWorld, answer, aws_login, ldap_login
from tests.servers.openbao import OpenBao

ENGINE = "two"
RULES = f"""
path "{ENGINE}/data/*" {{ capabilities = ["create", "read", "update"] }}
path "{ENGINE}/metadata/*" {{ capabilities = ["delete"] }}
"""
ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def bao(authority: Authority) -> Iterator[OpenBao]:
    with OpenBao(authority) as server:
        server.root.sys.enable_secrets_engine("kv", path=ENGINE, options={"version": "2"})
        server.root.sys.create_or_update_policy("own", RULES)
        yield server


@pytest_asyncio.fixture
async def vaults(bao: OpenBao, authority: Authority) -> AsyncIterator[VaultWorld]:
    world = VaultWorld(bao.address, secretEngineName=ENGINE, caCertificate=authority.certificate.decode())
    yield world
    await world.close()


@pytest_asyncio.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with StandIn() as server:
        yield server


def write(bao: OpenBao, path: str, **data: Any) -> None:
    bao.root.adapter.post(f"/v1/{path}", json=data)


async def works(vaults: VaultWorld, manager: Any) -> None:
    await manager.check()
    secret = vaults.version()
    stored = await manager.store(secret, Plaintext(b"hunter2"))
    assert (await manager.fetch(secret, stored)).reveal() == b"hunter2"


# ---- a token, and Vault Agent's


async def test_a_token_is_taken_from_a_secret_without_the_line_end_around_it(bao: OpenBao, vaults: VaultWorld) -> None:
    await works(vaults, vaults.with_token(bao.token("own") + "\n"))
    with pytest.raises(Malformed) as caught:
        vaults.with_token("hvs.not one\nhunter2")
    assert caught.value.code == "credential_malformed"
    assert "hunter2" not in repr(caught.value.problem())


def agent(vaults: VaultWorld, sink: Path, policy: str) -> Any:
    return vaults.manager(
        surroundings=vaults.surroundings(policy),
        useVaultAgent=True,
        sinkPath=str(sink),
        delegateSelectors=["d1"],
    )


async def test_vault_agents_sink_is_read_anew_each_time(bao: OpenBao, vaults: VaultWorld, tmp_path: Path) -> None:
    sink = tmp_path / "token"
    sink.write_text(bao.token("own"))
    manager = agent(vaults, sink, f"files = ['{tmp_path}/*']")
    await works(vaults, manager)
    bao.root.auth.token.revoke(sink.read_text())
    with pytest.raises(NotReady) as caught:
        await manager.check()
    assert caught.value.code == "vault_token_dead"
    sink.write_text(bao.token("own"))
    await manager.check()
    assert bao.knows(sink.read_text())
    await manager.close()
    assert bao.knows(sink.read_text())


async def test_a_file_that_the_local_policy_leaves_out_or_that_holds_no_token_goes_nowhere(
    vaults: VaultWorld, tmp_path: Path
) -> None:
    sink = tmp_path / "shadow"
    sink.write_text("root:hunter2:19000:0:99999:7:::")
    with pytest.raises(Denied) as caught:
        await agent(vaults, sink, "").check()
    assert (caught.value.code, caught.value.facts["rule"]) == ("local_policy", "files")
    with pytest.raises(Malformed) as malformed:
        await agent(vaults, sink, f"files = ['{sink}']").check()
    assert "hunter2" not in repr(malformed.value.problem())
    with pytest.raises(NotFound):
        await agent(vaults, tmp_path / "nothing", f"files = ['{tmp_path}/*']").check()


# ---- AppRole


def app_role(bao: OpenBao, **role: Any) -> tuple[str, str, str]:
    """Mount, role id, SecretID."""
    mount = bao.auth("approle")
    write(bao, f"auth/{mount}/role/app", token_policies="own", **role)
    role_id = bao.root.adapter.get(f"/v1/auth/{mount}/role/app/role-id")["data"]["role_id"]
    secret_id = bao.root.adapter.post(f"/v1/auth/{mount}/role/app/secret-id")["data"]["secret_id"]
    return mount, role_id, secret_id


async def test_an_app_role_at_any_mount(bao: OpenBao, vaults: VaultWorld) -> None:
    mount, role_id, secret_id = app_role(bao)
    given: dict[str, Any] = {"appRoleId": role_id, "appRolePath": f"/{mount}/", "secretId": "account.sid"}
    await works(vaults, vaults.manager(credentials={"account.sid": f"{secret_id}\n"}, **given))
    with pytest.raises(Denied) as caught:
        await vaults.manager(credentials={"account.sid": "hunter2"}, **given).check()
    assert caught.value.code == "vault_login_refused"
    assert f"auth/{mount}/login" in caught.value.detail.replace(f"/{mount}/", f"{mount}")
    assert "hunter2" not in repr(caught.value.problem())


# ---- Kubernetes


def review(accounts: dict[str, str]) -> Any:
    """TokenReview, authentication.k8s.io/v1: who a service account's token is of."""

    async def give(request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        name = accounts.get(asked["spec"]["token"])
        status: dict[str, Any] = {"authenticated": name is not None}
        if name is not None:
            status["user"] = {
                "username": f"system:serviceaccount:apps:{name}",
                "uid": "1",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:apps"],
            }
        return web.json_response({**asked, "status": status}, status=201)

    return give


def service_account_token(name: str, key: Any) -> str:
    claims = {
        "iss": "https://kubernetes.default.svc.cluster.local",
        "sub": f"system:serviceaccount:apps:{name}",
        "kubernetes.io": {"namespace": "apps", "serviceaccount": {"name": name, "uid": "1"}},
        "iat": int(time.time()),
        "nbf": int(time.time()) - 60,
        "exp": int(time.time()) + 3600,
    }
    return jwt.encode(claims, key, algorithm="RS256")


async def test_a_kubernetes_service_account(
    bao: OpenBao, vaults: VaultWorld, stand_in: StandIn, tmp_path: Path, authority: Authority
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = service_account_token("delegate", key)
    stand_in.otherwise = review({token: "delegate"})
    mount = bao.auth("kubernetes")
    ca = authority.certificate.decode()
    write(bao, f"auth/{mount}/config", kubernetes_host=stand_in.address, kubernetes_ca_cert=ca)
    bound = {"bound_service_account_names": "delegate", "bound_service_account_namespaces": "apps"}
    write(bao, f"auth/{mount}/role/app", **bound, token_policies="own")
    file = tmp_path / "token"
    file.write_text(token)
    given: dict[str, Any] = {
        "useK8sAuth": True,
        "vaultK8sAuthRole": "app",
        "k8sAuthEndpoint": mount,
        "serviceAccountTokenPath": str(file),
        "delegateSelectors": ["d1"],
    }
    policy = vaults.surroundings(f"files = ['{file}']")
    await works(vaults, vaults.manager(surroundings=policy, **given))
    file.write_text(service_account_token("other", key))
    with pytest.raises(Denied) as caught:
        await vaults.manager(surroundings=policy, **given).check()
    assert caught.value.code == "vault_login_refused"
    file.write_text("no token")
    with pytest.raises(Malformed):
        await vaults.manager(surroundings=policy, **given).check()


# ---- ID tokens of the keyring's issuer


class Issuer:
    """Signs ID tokens as `delegate.secret_managers.interface.Tokens` promises."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public = self._key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    async def mint(self, connector: ConnectorDocument, audience: str) -> str:
        now = int(time.time())
        subject = f"account/{connector.acct}:connector/{connector.identifier}"
        claims = {"iss": "https://issuer.example", "sub": subject, "aud": audience}
        return jwt.encode({**claims, "iat": now, "nbf": now, "exp": now + 600}, self._key, algorithm="RS256")


async def test_an_id_token_of_the_connector_whose_audience_is_the_path(bao: OpenBao, vaults: VaultWorld) -> None:
    issuer, mount = Issuer(), bao.auth("jwt")
    write(bao, f"auth/{mount}/config", jwt_validation_pubkeys=[issuer.public], bound_issuer="https://issuer.example")
    subject = f"account/{vaults.world.id}:connector/vault"
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [mount], "token_policies": "own"}
    write(bao, f"auth/{mount}/role/app", **role, bound_subject=subject)
    write(bao, f"auth/{mount}/role/other", **role, bound_subject="account/other:connector/vault")
    given: dict[str, Any] = {"useJwtAuth": True, "jwtAuthPath": mount}
    surroundings = vaults.surroundings(tokens=issuer)
    await works(vaults, vaults.manager(surroundings=surroundings, jwtAuthRole="app", **given))
    with pytest.raises(Denied) as caught:
        await vaults.manager(surroundings=surroundings, jwtAuthRole="other", **given).check()
    assert "privyseal oidc show" in caught.value.hint
    with pytest.raises(NotReady) as unconfigured:
        await vaults.manager(jwtAuthRole="app", **given).check()
    assert unconfigured.value.code == "oidc_unconfigured"


# ---- certificates and TLS


async def test_a_client_certificate_whose_key_is_a_secret(
    bao: OpenBao, vaults: VaultWorld, authority: Authority
) -> None:
    key, certificate = authority.issue("127.0.0.1")
    mount = bao.auth("cert")
    write(bao, f"auth/{mount}/certs/app", certificate=authority.certificate.decode(), token_policies="own")
    given: dict[str, Any] = {"accessType": "CERT", "certAuthPath": mount, "clientKey": "account.key"}
    roles: list[dict[str, Any]] = [{}, {"certAuthRole": "app"}]
    for role in roles:
        manager = vaults.manager(
            credentials={"account.key": key}, clientCertificate=certificate.decode(), **given, **role
        )
        await works(vaults, manager)
    stranger_key, stranger = Authority("another").issue("127.0.0.1")
    with pytest.raises(Denied) as caught:
        await vaults.manager(
            credentials={"account.key": stranger_key}, clientCertificate=stranger.decode(), **given
        ).check()
    assert caught.value.code == "vault_login_refused"
    for wrong in (stranger_key, b"hunter2"):
        with pytest.raises(Malformed) as malformed:
            await vaults.manager(
                credentials={"account.key": wrong}, clientCertificate=certificate.decode(), **given
            ).check()
        assert malformed.value.code == "client_certificate_malformed"
        assert "hunter2" not in repr(malformed.value.problem())


async def test_without_memory_files_the_key_lies_in_a_private_file_for_a_moment_alone(
    vaults: VaultWorld, authority: Authority, bao: OpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr("os.memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    key, certificate = authority.issue("127.0.0.1")
    credentials = {"account.key": key, "account.token": bao.token("own").encode()}
    shown = {"clientKey": "account.key", "clientCertificate": certificate.decode(), "authToken": "account.token"}
    manager = vaults.manager(credentials=credentials, surroundings=None, accessType="TOKEN", **shown)
    await works(vaults, manager)
    assert list(tmp_path.iterdir()) == []


async def test_certificates_are_verified_against_the_connectors_authority_alone(
    bao: OpenBao, vaults: VaultWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority
) -> None:
    known = tmp_path / "ca.pem"
    known.write_bytes(authority.certificate)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(known))
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "true")
    with pytest.raises(Unavailable) as caught:
        await vaults.manager(
            credentials={"account.token": bao.root.token},
            surroundings=vaults.surroundings(randomness=bytes),
            authToken="account.token",
            caCertificate=Authority("another").certificate.decode(),
        ).check()
    assert caught.value.code == "vault_untrusted"
    pem = "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----"
    with pytest.raises(Malformed) as malformed:
        await vaults.with_token(bao.root.token, caCertificate=pem).check()
    assert malformed.value.code == "ca_malformed"


async def test_nothing_of_the_environment_stands_in_for_what_the_connector_says(
    bao: OpenBao, vaults: VaultWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".vault-token").write_text(bao.root.token)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("VAULT_TOKEN", bao.root.token)
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_NAMESPACE", "nowhere")
    with pytest.raises(NotReady) as caught:
        await vaults.with_token("s.not-a-token-of-this-server").check()
    assert caught.value.code == "vault_token_dead"
    await works(vaults, vaults.with_token(bao.token("own")))


# ---- names and passwords


async def test_a_user_name_and_password(bao: OpenBao, vaults: VaultWorld) -> None:
    mount = bao.auth("userpass")
    write(bao, f"auth/{mount}/users/dele-gate", password=" p\u00e4ss ", token_policies="own")
    given: dict[str, Any] = {
        "accessType": "USERPASS",
        "username": "dele-gate",
        "userpassPath": mount,
        "password": "account.pw",
    }
    await works(vaults, vaults.manager(credentials={"account.pw": " p\u00e4ss "}, **given))
    with pytest.raises(Denied) as caught:
        await vaults.manager(credentials={"account.pw": "hunter2"}, **given).check()
    assert caught.value.code == "vault_login_refused"
    with pytest.raises(Malformed):
        vaults.manager(credentials={"account.pw": b"\xff"}, **given)


def kv(stand_in: StandIn) -> None:
    """What a check looks at, and a revocation, several times."""
    for _ in range(5):
        stand_in.answers["/v1/sys/internal/ui/mounts/two"].append(answer({"type": "kv", "options": {"version": "2"}}))
        stand_in.answers["/v1/auth/token/revoke-self"].append(answer())


async def test_ldap_as_its_api_is_documented(stand_in: StandIn) -> None:
    kv(stand_in)
    stand_in.otherwise = ldap_login({"mitchellh": "right"})
    vaults = VaultWorld(stand_in.address, secretEngineName=ENGINE, readOnly=True)
    given: dict[str, Any] = {
        "accessType": "LDAP",
        "username": "mitchellh",
        "ldapAuthPath": "corp/ldap",
        "password": "account.pw",
    }
    await vaults.manager(credentials={"account.pw": "right"}, **given).check()
    assert stand_in.asked[0][0] == "/v1/auth/corp/ldap/login/mitchellh"
    assert stand_in.asked[1][1]["X-Vault-Token"] == "hvs.ldap-token"
    with pytest.raises(Denied) as caught:
        await vaults.manager(credentials={"account.pw": "hunter2"}, **given).check()
    assert caught.value.code == "vault_login_refused"
    await vaults.close()
    assert stand_in.asked[-1][0] == "/v1/auth/token/revoke-self"


@pytest.mark.parametrize(
    ("region", "host"), [("us-east-1", "sts.amazonaws.com"), ("eu-west-1", "sts.eu-west-1.amazonaws.com")]
)
async def test_aws_iam_as_its_api_is_documented(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, region: str, host: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    kv(stand_in)
    stand_in.otherwise = aws_login("app", {ACCESS_KEY: SECRET_KEY}, "vault.example")
    vaults = VaultWorld(stand_in.address, secretEngineName=ENGINE, readOnly=True)
    given: dict[str, Any] = {
        "useAwsIam": True,
        "awsRegion": region,
        "vaultAwsIamRole": "app",
        "delegateSelectors": ["d1"],
        "xvaultAwsIamServerId": "account.hdr",
    }
    await vaults.manager(credentials={"account.hdr": "vault.example"}, **given).check()
    path, _, body = stand_in.asked[0]
    assert path == "/v1/auth/aws/login"
    assert base64.b64decode(body["iam_request_url"]).decode() == f"https://{host}/"
    assert SECRET_KEY not in json.dumps(body)
    with pytest.raises(Denied) as caught:
        await vaults.manager(credentials={"account.hdr": "other.example"}, **given).check()
    assert caught.value.code == "vault_login_refused"
    assert "xvaultAwsIamServerId" in caught.value.hint
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)
    with pytest.raises(Denied):
        await vaults.manager(credentials={"account.hdr": "vault.example"}, **given).check()
    await vaults.close()


async def test_a_second_factor_is_told_to_be_beyond_a_delegate(stand_in: StandIn) -> None:
    stand_in.otherwise = answer(auth=None)
    vaults = VaultWorld(stand_in.address, secretEngineName=ENGINE)
    given: dict[str, Any] = {"accessType": "USERPASS", "username": "u", "password": "account.pw"}
    with pytest.raises(NotReady) as caught:
        await vaults.manager(credentials={"account.pw": "x"}, **given).check()
    assert caught.value.code == "vault_login_unfinished"
    await vaults.close()
