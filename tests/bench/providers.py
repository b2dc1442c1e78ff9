"""The provider's own call that a use of each kind comes down to, made by the same library against the same server.

    opens = await PROVIDERS["AwsKms at moto"].own(servers)
    async with opens() as call:            # a new client
        await call()                       # the first one logs in, where the provider has a login

A value or key of its own is made there beforehand, as long as those that are measured beside it. A kind joins by a row.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from aiobotocore.session import get_session
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import HttpRequest
from azure.identity.aio import ClientSecretCredential
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.secrets.aio import SecretClient
from google.auth.transport.requests import Request
from google.cloud.kms_v1 import KeyManagementServiceAsyncClient
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcAsyncIOTransport
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcAsyncIOTransport,
)
from google.oauth2.service_account import Credentials
from grpc import aio
from hvac import Client  # type: ignore[import-untyped]

from delegate.secret_managers.azure_key_vault_key import ALGORITHM
from shared.aad import Aad
from shared.canonical import b64u
from shared.labels import WRAP
from tests.bench.child import Unmeasured
from tests.contract.subjects import KEY, ROBOT, Servers
from tests.fakes.google import PROJECT
from tests.fakes.issuers import ISSUER_KEYS
from tests.servers.azure import CLIENT, CLIENT_SECRET, TENANT
from tests.servers.emulators import REGION

Call = Callable[[], Awaitable[object]]
Opens = Callable[[], AbstractAsyncContextManager[Call]]

VALUE = secrets.token_hex(20)
"""A password's length."""

_DATA_KEY = secrets.token_bytes(32)
_PLACE = Aad("store", "a" * 52, "main", "account", "s" * 26, 1, "v" * 43, "c" * 26)
_NAME = "privyseal-bench"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class Provider:
    """`kind`: as connectors name it. `server`: the attribute of `Servers`, "" for none. `own`: its own call, if any."""

    kind: str
    server: str = ""
    own: Callable[[Servers], Awaitable[Opens]] | None = None


def _same(found: object, wanted: object) -> None:
    if found != wanted:
        raise Unmeasured("the provider gave back another value")


# ---- AWS


@asynccontextmanager
async def _aws(servers: Servers, session: Any, service: str) -> AsyncIterator[Any]:
    async with session.create_client(
        service,
        region_name=REGION,
        endpoint_url=servers.moto.url,
        aws_access_key_id=KEY[0],
        aws_secret_access_key=KEY[1],
    ) as client:
        yield client


async def _aws_kms(servers: Servers) -> Opens:
    # One for all clients, as its makers advise: it keeps what it has read of AWS's services.
    session = get_session()
    key, context = servers.kms_key(servers.moto), _PLACE.encryption_context(WRAP)
    async with _aws(servers, session, "kms") as first:
        made = await first.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        async with _aws(servers, session, "kms") as client:

            async def call() -> None:
                answer = await client.decrypt(
                    KeyId=key,
                    CiphertextBlob=made["CiphertextBlob"],
                    EncryptionContext=context,
                    EncryptionAlgorithm="SYMMETRIC_DEFAULT",
                )
                _same(answer["Plaintext"], made["Plaintext"])

            yield call

    return opened


async def _aws_secrets(servers: Servers) -> Opens:
    session = get_session()
    async with _aws(servers, session, "secretsmanager") as first:
        await first.create_secret(Name=_NAME, SecretString=VALUE)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        async with _aws(servers, session, "secretsmanager") as client:

            async def call() -> None:
                _same((await client.get_secret_value(SecretId=_NAME))["SecretString"], VALUE)

            yield call

    return opened


async def _aws_parameters(servers: Servers) -> Opens:
    session = get_session()
    async with _aws(servers, session, "ssm") as first:
        await first.put_parameter(Name=f"/{_NAME}/value", Value=VALUE, Type="SecureString")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        async with _aws(servers, session, "ssm") as client:

            async def call() -> None:
                answer = await client.get_parameter(Name=f"/{_NAME}/value", WithDecryption=True)
                _same(answer["Parameter"]["Value"], VALUE)

            yield call

    return opened


# ---- Vault: its library blocks, so that it is called in threads here as there


def _in_threads(servers: Servers, use: Callable[[Any], None]) -> Opens:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        client = Client(url=servers.openbao.address, token=servers.openbao.root.token)
        try:
            yield lambda: asyncio.to_thread(use, client)
        finally:
            client.adapter.close()

    return opened


async def _vault(servers: Servers) -> Opens:
    servers.openbao.root.secrets.kv.v2.create_or_update_secret(_NAME, {"value": VALUE}, mount_point="kv-two")

    def read(client: Any) -> None:
        answer = client.secrets.kv.v2.read_secret_version(_NAME, mount_point="kv-two", raise_on_deleted_version=True)
        _same(answer["data"]["data"]["value"], VALUE)

    return _in_threads(servers, read)


async def _transit(servers: Servers) -> Opens:
    plain = base64.b64encode(_DATA_KEY).decode()
    bound = base64.b64encode(_PLACE.encode(WRAP)[:32]).decode()
    given = {"context": bound, "associated_data": bound, "mount_point": "transit"}
    made = servers.openbao.root.secrets.transit.encrypt_data("main", plain, **given)["data"]["ciphertext"]

    def decrypt(client: Any) -> None:
        _same(client.secrets.transit.decrypt_data("main", made, **given)["data"]["plaintext"], plain)

    return _in_threads(servers, decrypt)


# ---- Google: a token by the service account's key, and gRPC


@asynccontextmanager
async def _google(servers: Servers, make: Callable[[aio.Channel, str], Any]) -> AsyncIterator[Callable[..., Any]]:
    urls = dict(one.split("=", 1) for one in servers.google.endpoints.split(","))
    told = msgspec.json.decode(servers.google.http.key_file(ROBOT, ISSUER_KEYS[1].private))
    told["token_uri"] = f"{urls['oauth2']}/token"
    who = Credentials.from_service_account_info(told, scopes=[_SCOPE])  # type: ignore[no-untyped-call]
    target = urls["cloudkms"].removeprefix("http://")
    async with aio.insecure_channel(target) as channel:
        client = make(channel, target)

        async def ask(method: str, request: dict[str, Any]) -> Any:
            if not who.valid:
                await asyncio.to_thread(who.refresh, Request())
            headers = (("authorization", f"Bearer {who.token}"),)
            return await getattr(client, method)(request=request, retry=None, timeout=15.0, metadata=headers)

        yield ask


def _kms_client(channel: aio.Channel, host: str) -> Any:
    return KeyManagementServiceAsyncClient(
        transport=KeyManagementServiceGrpcAsyncIOTransport(channel=channel, host=host)
    )


def _secrets_client(channel: aio.Channel, host: str) -> Any:
    return SecretManagerServiceAsyncClient(
        transport=SecretManagerServiceGrpcAsyncIOTransport(channel=channel, host=host)
    )


async def _google_kms(servers: Servers) -> Opens:
    named = {"name": servers.google.keys.new_key(_NAME), "additional_authenticated_data": _PLACE.encode(WRAP)}
    async with _google(servers, _kms_client) as first:
        made = (await first("encrypt", {**named, "plaintext": _DATA_KEY})).ciphertext

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        async with _google(servers, _kms_client) as ask:

            async def call() -> None:
                _same((await ask("decrypt", {**named, "ciphertext": made})).plaintext, _DATA_KEY)

            yield call

    return opened


async def _google_secrets(servers: Servers) -> Opens:
    path = f"projects/{PROJECT}/secrets/{_NAME}"
    servers.google.secrets.put(path, VALUE.encode())

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        async with _google(servers, _secrets_client) as ask:

            async def call() -> None:
                answer = await ask("access_secret_version", {"name": f"{path}/versions/latest"})
                _same(answer.payload.data, VALUE.encode())

            yield call

    return opened


# ---- Azure: a token by the client secret, asked for when the vault has sent its challenge


@asynccontextmanager
async def _azure(servers: Servers, kind: Any) -> AsyncIterator[Any]:
    # Told by `connection_verify`, the library would read the authorities anew for each request.
    context = ssl.create_default_context(cafile=str(servers.azure.authority))
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), auto_decompress=False) as session,
        AioHttpTransport(session=session, session_owner=False) as transport,
        ClientSecretCredential(
            *(TENANT, CLIENT, CLIENT_SECRET),
            authority=servers.azure.url,
            disable_instance_discovery=True,
            transport=transport,
        ) as who,
        kind(servers.azure.url, who, verify_challenge_resource=False, transport=transport) as client,
    ):
        yield client


async def _azure_secrets(servers: Servers) -> Opens:
    servers.azure.vault.put(_NAME, VALUE)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        async with _azure(servers, SecretClient) as client:

            async def call() -> None:
                _same((await client.get_secret(_NAME)).value, VALUE)

            yield call

    return opened


async def _azure_keys(servers: Servers) -> Opens:
    async def asked(client: KeyClient, verb: str, value: str) -> str:
        # Its CryptographyClient asks for the public key besides: this is the one call that is needed.
        body = {"alg": ALGORITHM, "value": value}
        answer: Any = await client.send_request(HttpRequest("POST", f"keys/main/{verb}", json=body))
        answer.raise_for_status()
        return str(answer.json()["value"])

    plain = b64u(_DATA_KEY + _DATA_KEY)
    async with _azure(servers, KeyClient) as first:
        made = await asked(first, "wrapkey", plain)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        async with _azure(servers, KeyClient) as client:

            async def call() -> None:
                _same(await asked(client, "unwrapkey", made), plain)

            yield call

    return opened


# ---- Kubernetes: one request of plain HTTPS, as its own client would send it


async def _kubernetes(servers: Servers) -> Opens:
    site = servers.kubernetes
    token = site.api.account("bench", "reader", verbs=("get",))
    site.api.put("bench", _NAME, {"value": VALUE.encode()})
    url = f"{site.url}/api/v1/namespaces/bench/secrets/{_NAME}"
    context = ssl.create_default_context(cadata=site.trust)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        who = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), headers=who) as session:

            async def call() -> None:
                async with session.get(url) as answer:
                    told = msgspec.json.decode(await answer.read())
                _same(base64.b64decode(told["data"]["value"]), VALUE.encode())

            yield call

    return opened


# ---- scripts: a shell that is started and prints the value


async def _bash(_: Servers) -> Opens:
    argv = ("bash", "--noprofile", "--norc", "-c", f"printf %s {VALUE}")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Call]:
        async def call() -> None:
            process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
            out, _ = await process.communicate()
            _same(out.decode(), VALUE)

        yield call

    return opened


PROVIDERS = {
    # The row of the contract's table that it is measured with.
    "Local": Provider("Local"),
    "AgeFile": Provider("AgeFile"),
    "Pkcs11, AES-GCM": Provider("Pkcs11"),
    "AwsKms at moto": Provider("AwsKms", "moto", _aws_kms),
    "AwsParameterStore at moto": Provider("AwsParameterStore", "moto", _aws_parameters),
    "AwsSecretManager at moto": Provider("AwsSecretManager", "moto", _aws_secrets),
    "AzureKeyVault": Provider("AzureKeyVault", "azure", _azure_secrets),
    "AzureKeyVaultKey": Provider("AzureKeyVaultKey", "azure", _azure_keys),
    "CustomSecretManager, Bash, reading": Provider("CustomSecretManager", "", _bash),
    "CyberArkCcp": Provider("CyberArkCcp", "ccp"),
    "CyberArkConjur": Provider("CyberArkConjur", "conjur"),
    "GcpKms": Provider("GcpKms", "google", _google_kms),
    "GcpSecretManager": Provider("GcpSecretManager", "google", _google_secrets),
    "OnePasswordConnect": Provider("OnePasswordConnect", "onepassword"),
    "KubernetesSecrets": Provider("KubernetesSecrets", "kubernetes", _kubernetes),
    "Vault, KV 2": Provider("Vault", "openbao", _vault),
    "VaultTransit": Provider("VaultTransit", "openbao", _transit),
}
