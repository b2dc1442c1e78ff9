"""A delegate that uses one kind of secret manager loads the libraries of that kind's provider and of no other."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping

import msgspec
import pytest

from delegate.secret_managers.registry import BUILT_IN
from tests.architecture.source import ROOT, belongs_to
from tests.architecture.test_imports import SDKS
from tests.contract.subjects import EVERY, Servers, Subject
from tests.fakes.lone_kind import VALUE, Use
from tests.fakes.world import World

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    # whose; the packages that nobody loads but for that provider
    "age": ("pyrage",),
    "Amazon": ("aioboto3", "aiobotocore", "boto3", "botocore", "jmespath", "s3transfer"),
    "Google": ("google.api_core", "google.auth", "google.cloud", "google.oauth2", "opentelemetry", "proto"),
    "HashiCorp": ("hvac",),
    "Microsoft": ("azure", "msal"),
}
SUBJECT_OF: Mapping[str, tuple[str, str]] = {
    # kind: whose libraries it may load, and the row of the contract's tables that it is used with
    "AgeFile": ("age", "AgeFile"),
    "AwsKms": ("Amazon", "AwsKms at moto"),
    "AwsParameterStore": ("Amazon", "AwsParameterStore at moto"),
    "AwsSecretManager": ("Amazon", "AwsSecretManager at moto"),
    "AzureKeyVault": ("Microsoft", "AzureKeyVault"),
    "AzureKeyVaultKey": ("Microsoft", "AzureKeyVaultKey"),
    "CustomSecretManager": ("", "CustomSecretManager, Bash"),
    "CyberArkCcp": ("", "CyberArkCcp"),
    "CyberArkConjur": ("", "CyberArkConjur"),
    "GcpKms": ("Google", "GcpKms"),
    "GcpSecretManager": ("Google", "GcpSecretManager"),
    "KubernetesSecrets": ("", "KubernetesSecrets"),
    "Local": ("", "Local"),
    "OnePasswordConnect": ("", "OnePasswordConnect"),
    "Pkcs11": ("", "Pkcs11, AES-GCM"),
    "Vault": ("HashiCorp", "Vault, KV 2"),
    "VaultTransit": ("HashiCorp", "VaultTransit"),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as running:
        yield running


def test_every_kind_and_every_library_has_its_row() -> None:
    assert set(SUBJECT_OF) == set(BUILT_IN)
    assert {whose for whose, _ in SUBJECT_OF.values()} - {""} == set(LIBRARIES)
    known = tuple(name for names in LIBRARIES.values() for name in names)
    assert [name for name in SDKS if not belongs_to(name, known)] == []


@pytest.mark.parametrize("kind", list(SUBJECT_OF))
async def test_a_delegate_that_uses_one_kind_loads_no_other_providers_library(kind: str, servers: Servers) -> None:
    own, row = SUBJECT_OF[kind]
    loaded = await modules_of(EVERY[row](World(), servers))
    for whose, names in LIBRARIES.items():
        found = sorted(one for one in loaded if belongs_to(one, names))
        assert bool(found) == (whose == own), (whose, found[:5])
    assert "asyncssh" not in loaded, "nothing here logs in over SSH"
    others = {BUILT_IN[one].value.partition(":")[0] for one in BUILT_IN if one != kind}
    assert others & loaded <= {"delegate.secret_managers.local"}


async def modules_of(subject: Subject) -> set[str]:
    """What a process has loaded that stored a value with that subject's connector, and fetched it again."""
    told = Use(
        subject.connector,
        {name: value.decode() for name, value in subject.credentials.items()},
        dict(subject.endpoints.urls),
        dict(subject.gcp_endpoints.urls),
        dict(subject.azure_endpoints.urls),
        policy=subject.policy,
        reference=subject.lay(VALUE) if subject.lay else "",
        metadata={} if subject.lay else subject.metadata("any"),
        template=subject.template,
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tests.fakes.lone_kind"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, told_wrong = await asyncio.wait_for(process.communicate(msgspec.json.encode(told)), 100)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, told_wrong.decode()[-2000:]
    return set(out.decode().split())
