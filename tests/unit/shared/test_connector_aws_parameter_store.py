"""Settings of AWS Parameter Store: what is left out has its default, and what is wrong is told by its path."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.aws_parameter_store import (
    ARN,
    LONGEST_NAME,
    LONGEST_PATH,
    NAME,
    AwsParameterStoreSettings,
)
from shared.connectors.kinds import settings
from shared.errors import Malformed

ROLE = "arn:aws:iam::123456789012:role/parameters"
MANUAL = {"type": "ManualConfig", "spec": {"accessKey": "account.awsAccess", "secretKey": "org.awsSecret"}}
BASE: dict[str, Any] = {"credential": MANUAL, "region": "us-east-1"}


def aws(**changes: Any) -> AwsParameterStoreSettings:
    found = settings("AwsParameterStore", {**BASE, **changes})
    assert isinstance(found, AwsParameterStoreSettings)
    return found


def of(type: str, **spec: Any) -> dict[str, Any]:
    return {"type": type, "spec": spec}


def test_what_is_left_out_has_its_documented_default() -> None:
    plain = aws()
    assert (plain.parameter_path_prefix, plain.kms_key_id, plain.tier) == ("/privyseal", None, "Standard")
    assert plain.longest_value == 4_096


@pytest.mark.parametrize(
    ("tier", "longest"), [("Standard", 4_096), ("Advanced", 8_192), ("Intelligent-Tiering", 8_192)]
)
def test_a_tier_says_how_long_values_may_be(tier: str, longest: int) -> None:
    assert aws(tier=tier).longest_value == longest


@pytest.mark.parametrize(
    "credential",
    [
        MANUAL,
        of("ManualConfig", accessKeyPlainText="AKIAIOSFODNN7EXAMPLE", secretKey="org.awsSecret"),
        of("AssumeIAMRole", delegateSelectors=["d1"]),
        of("AssumeSTSRole", delegateSelectors=["d1"], roleArn=ROLE, externalId="ext", assumeStsRoleDuration=900),
        of("OidcAuthentication", iamRoleArn=ROLE),
    ],
    ids=["key", "plain", "own", "role", "oidc"],
)
def test_the_credentials_are_those_of_secrets_manager(credential: Any) -> None:
    found = aws(credential=credential)
    assert ("org.awsSecret" in found.references()) == (credential["type"] == "ManualConfig")
    assert found.oidc_audience == ("sts.amazonaws.com" if credential["type"] == "OidcAuthentication" else None)


@pytest.mark.parametrize(
    ("path", "name"),
    [("/devops", "/devops/db"), ("/devops/", "/devops/db"), ("/a/b.c/d_e-f", "/a/b.c/d_e-f/db"), ("/a...", "/a.../db")],
)
def test_the_path_is_joined_with_one_slash(path: str, name: str) -> None:
    assert aws(parameterPathPrefix=path).name("db") == name
    assert NAME.match(name)


def test_the_longest_identifiers_fit_behind_the_longest_path() -> None:
    arn = "arn:aws-us-gov:ssm:us-gov-west-1:123456789012:parameter"
    name = aws(parameterPathPrefix="/" + "p" * (LONGEST_PATH - 1)).name(".".join(["i" * 128] * 3))
    assert len(arn + name) <= LONGEST_NAME
    assert ARN.match(arn + name)


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"region": None}, "region", "Region cannot be empty"),
        ({"credential": None}, "credential", "Invalid credential type: the credential is missing"),
        ({"credential": {"type": "Iam"}}, "credential.type", "Invalid credential type: give one of ManualConfig, "),
        ({"credential": of("ManualConfig", secretKey="s")}, "credential.spec.accessKey", "an AccessKey and a SecretKey"),
        ({"credential": of("AssumeIAMRole")}, "credential.spec.delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({"parameterPathPrefix": "devops"}, "parameterPathPrefix", "give a path such as /devops"),
        ({"parameterPathPrefix": "/"}, "parameterPathPrefix", "give a path such as /devops"),
        ({"parameterPathPrefix": "/a//b"}, "parameterPathPrefix", "give a path such as /devops"),
        ({"parameterPathPrefix": "/a/../b"}, "parameterPathPrefix", "give a path such as /devops"),
        ({"parameterPathPrefix": "/a/.."}, "parameterPathPrefix", "give a path such as /devops"),
        ({"parameterPathPrefix": "/a b"}, "parameterPathPrefix", "give a path such as /devops"),
        ({"parameterPathPrefix": "/a\n"}, "parameterPathPrefix", "give a path such as /devops"),
        ({"parameterPathPrefix": "/a" * 15}, "parameterPathPrefix", "in 1 to 14 parts"),
        ({"parameterPathPrefix": "/" + "p" * 512}, "parameterPathPrefix", "at most 512 letters"),
        ({"parameterPathPrefix": "/aws/prod"}, "parameterPathPrefix", "AWS keeps names that begin with aws or ssm"),
        ({"parameterPathPrefix": "/SSM-prod"}, "parameterPathPrefix", "AWS keeps names that begin with aws or ssm"),
        ({"kmsKeyId": "a key"}, "kmsKeyId", "give the id, the ARN or the alias"),
        ({"tier": "standard"}, "tier", "give one of Standard, Advanced, Intelligent-Tiering"),
        ({"secretNamePrefix": "x"}, "secretNamePrefix", "there is no such field: give one of "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_path(changes: Any, path: str, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        aws(**changes)
    assert caught.value.code == "connector_malformed"
    assert caught.value.facts["path"] == f"spec.{path}"
    assert text in caught.value.detail
