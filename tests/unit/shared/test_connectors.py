"""Connectors' settings: today's YAML is read, and what is wrong is told by path and by what is allowed, never by value."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.connectors.aws import AssumeSTSRole
from shared.connectors.aws_kms import AwsKmsSettings
from shared.connectors.fields import Forms, Refused, read
from shared.connectors.kinds import KINDS, settings
from shared.connectors.local import LocalSettings, built_in_disabled
from shared.connectors.model import Model
from shared.documents.template import TemplateUse
from shared.documents.usage import Usage
from shared.errors import Denied, Malformed
from shared.selectors import MAXIMUM
from tests.fakes.world import World

ROLE = "arn:aws:iam::123456789012:role/kms"
KEY = "arn:aws:kms:us-east-1:123456789012:key/mrk-1"
OLD = "arn:aws:kms:us-east-1:123456789012:key/old"
PLAIN = {"kmsArn": None, "kmsArnInPlainText": KEY}
MANUAL = {"type": "ManualConfig", "spec": {"accessKey": "account.awsAccess", "secretKey": "org.awsSecret"}}
BASE: dict[str, Any] = {"credential": MANUAL, "kmsArn": "account.kmsArn", "region": "us-east-1"}


def aws(**changes: Any) -> AwsKmsSettings:
    found = settings("AwsKms", {**BASE, **changes})
    assert isinstance(found, AwsKmsSettings)
    return found


def sts(**changes: Any) -> dict[str, Any]:
    return {"type": "AssumeSTSRole", "spec": {"delegateSelectors": ["d1"], "roleArn": ROLE, **changes}}


def refused(kind: str = "AwsKms", **changes: Any) -> Malformed:
    spec = {**BASE, **changes} if kind == "AwsKms" else changes
    with pytest.raises(Malformed) as caught:
        settings(kind, spec)
    assert caught.value.code == "connector_malformed"
    assert caught.value.hint == "see docs/connectors.md"
    return caught.value


def test_the_fields_are_those_of_todays_yaml() -> None:
    full = aws(
        credential=sts(externalName="ext", assumeStsRoleDuration=3600),
        delegateSelectors=["D2 ", "d1"],
        executeOnDelegate=False,
        ignoreTestConnection=True,
        default=True,
    )
    assert isinstance(full.credential, AssumeSTSRole)
    role = full.credential.spec
    assert (role.role_arn, role.external_name, role.assume_sts_role_duration) == (ROLE, "ext", 3600)
    assert (full.execute_on_delegate, full.ignore_test_connection, full.default) == (False, True, True)
    assert (full.kms_arn, full.kms_arn_in_plain_text) == ("account.kmsArn", None)
    assert aws(**PLAIN).kms_arn_in_plain_text == KEY
    assert aws(previousKmsArns=[OLD]).previous_kms_arns == (OLD,)


@pytest.mark.parametrize(
    "credential",
    [
        MANUAL,
        {"type": "AssumeIAMRole", "spec": {"delegateSelectors": ["d1"]}},
        sts(),
        sts(assumeStsRoleDuration=-1),
        {"type": "OidcAuthentication", "spec": {"iamRoleArn": ROLE}},
    ],
    ids=lambda one: one["type"],
)
def test_each_credential_type_is_read(credential: Any) -> None:
    assert type(aws(credential=credential).credential).__name__ == credential["type"]


def test_what_a_kind_leaves_out_has_its_documented_default() -> None:
    found = settings("Local", {})
    assert found == LocalSettings()
    assert (found.execute_on_delegate, found.ignore_test_connection, found.default) == (True, False, False)
    assert (found.references(), found.selectors()) == ((), ())


def test_only_the_built_in_kind_can_be_disabled() -> None:
    assert (settings("Local", {"disabled": True}), settings("Local", {})) == (
        LocalSettings(disabled=True),
        LocalSettings(disabled=False),
    )
    assert refused("Local", disabled="yes").detail == "spec.disabled of the Local connector: give true or false"
    assert refused(disabled=True).facts["path"] == "spec.disabled"
    world = World()
    told = [
        world.connector_document("one", type=kind, spec=spec).is_disabled
        for kind, spec in (
            ("Local", {"disabled": True}),
            ("Local", {"disabled": False}),
            ("AwsKms", {"disabled": True}),
        )
    ]
    assert told == [True, False, False]


def test_the_older_name_of_default_is_understood() -> None:
    assert settings("Local", {"isDefault": True}).default is True
    assert refused("Local", isDefault=True, default=True).facts == {"path": "spec.isDefault"}
    assert refused("Local", isDefault="yes").facts == {"path": "spec.isDefault"}
    assert refused("Local", default="yes").detail == "spec.default of the Local connector: give true or false"


def test_an_empty_field_counts_as_absent_at_every_depth() -> None:
    assert aws(credential=sts(externalName=None), delegateSelectors=None) == aws(credential=sts())
    assert refused(region=None).detail.endswith("Region cannot be empty")


def test_a_model_names_its_secrets_and_the_fields_that_name_them() -> None:
    assert aws().references() == ("account.awsAccess", "org.awsSecret", "account.kmsArn")
    assert aws().named_references() == {
        "credential.spec.accessKey": "account.awsAccess",
        "credential.spec.secretKey": "org.awsSecret",
        "kmsArn": "account.kmsArn",
    }
    assert aws(credential=sts(), kmsArn=None, kmsArnInPlainText=KEY).references() == ()


def test_selectors_are_those_of_connector_and_credential_together() -> None:
    assert aws(credential=sts(), delegateSelectors=[" Zone:A", "d1"]).selectors() == ("d1", "zone:a")


def test_a_condition_is_kept_in_its_one_form() -> None:
    assert aws(delegateCondition=" EU and (not  TEST)").condition() == "eu and not test"
    assert settings("Local", {}).condition() == settings("Local", {"delegateCondition": None}).condition() == ""


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_takes_a_condition(kind: str) -> None:
    assert "delegateCondition" in {one.encode_name for one in msgspec.structs.fields(KINDS[kind])}


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"region": ""}, "region", "give the code of a region, such as us-east-1"),
        ({"region": 5}, "region", "give the code of a region, such as us-east-1"),
        ({"kmsArn": None}, "kmsArn", "Key Arn cannot be empty"),
        ({"kmsArnInPlainText": KEY}, "kmsArn", "Key Arn cannot be empty"),
        ({"kmsArn": KEY}, "kmsArn", "an ARN itself goes into kmsArnInPlainText"),
        ({"kmsArnInPlainText": "x"}, "kmsArnInPlainText", "give the ARN of a key"),
        ({**PLAIN, "region": "us-east-2"}, "kmsArnInPlainText", "the key is of another region than the field region"),
        ({"previousKmsArns": [OLD, "x"]}, "previousKmsArns[1]", "at most 16 ARNs of keys, none of an alias"),
        ({"previousKmsArns": [OLD] * 17}, "previousKmsArns", "at most 16 ARNs of keys"),
        ({"previousKmsArns": [OLD.replace("key/", "alias/")]}, "previousKmsArns[0]", "none of an alias"),
        ({"previousKmsArns": [OLD, OLD.replace("east", "west")]}, "previousKmsArns[1]", "of another region"),
        ({"credential": None}, "credential", "Invalid credential type: the credential is missing"),
        ({"credential": {"spec": {}}}, "credential.type", "Invalid credential type: give one of ManualConfig, "),
        ({"credential": {"type": "Iam"}}, "credential.type", "Invalid credential type: give one of ManualConfig, "),
        ({"credential": 5}, "credential", "give an object with fields of its own"),
        ({"credential": {"type": "ManualConfig"}}, "credential.spec", "the field is missing"),
        ({"credential": {**MANUAL, "spec": {"secretKey": "x"}}}, "credential.spec.accessKey", "an AccessKey and a SecretKey"),
        ({"credential": {**MANUAL, "spec": {"accessKey": "x"}}}, "credential.spec.secretKey", "an AccessKey and a SecretKey"),
        ({"credential": {**MANUAL, "spec": {"accessKey": "a b"}}}, "credential.spec.accessKey", "the reference of a secret"),
        ({"credential": {"type": "AssumeIAMRole"}}, "credential.spec.delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({"credential": sts(delegateSelectors=[])}, "credential.spec.delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({"credential": sts(roleArn=None)}, "credential.spec.roleArn", "Role Arn cannot be Empty"),
        ({"credential": sts(roleArn="x")}, "credential.spec.roleArn", "give the ARN of a role"),
        ({"credential": sts(externalName=[])}, "credential.spec.externalName", "give a text of 1 to 2,048 characters"),
        ({"credential": sts(assumeStsRoleDuration=899)}, "credential.spec.assumeStsRoleDuration", "give 900 to 3600 seconds"),
        ({"credential": sts(assumeStsRoleDuration=3601)}, "credential.spec.assumeStsRoleDuration", "give 900 to 3600 seconds"),
        ({"credential": sts(assumeStsRoleDuration="x")}, "credential.spec.assumeStsRoleDuration", "give a whole number"),
        ({"credential": {"type": "OidcAuthentication", "spec": {}}}, "credential.spec.iamRoleArn", "Iam Role Arn cannot be Empty"),
        ({"delegateSelectors": "d1"}, "delegateSelectors", "give a list"),
        ({"delegateSelectors": [1]}, "delegateSelectors[0]", "give a text"),
        ({"delegateSelectors": ["d1", "a b"]}, "delegateSelectors[1]", "a selector has 1 to 128 letters"),
        ({"executeOnDelegate": 1}, "executeOnDelegate", "give true or false"),
        ({"delegateCondition": ["eu"]}, "delegateCondition", "give a text"),
        ({"delegateCondition": "eu and"}, "delegateCondition", "needs a tag, not or ( at 7; write it as in: region=eu"),
        ({"delegateCondition": "eu && us"}, "delegateCondition", "needs and, or, or the end at 4"),
        ({"delegateCondition": " "}, "delegateCondition", "needs a tag, not or ( at 1"),
        ({"delegateCondition": "and".join(["(" + "a" * 22 + " or b)"] * 31)}, "delegateCondition", "in its canonical form"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_path(changes: Any, path: str, text: str) -> None:
    why = refused(**changes)
    assert why.facts["path"] == f"spec.{path}"
    assert why.detail.startswith(f"spec.{path} of the AwsKms connector: ")
    assert text in why.detail


def test_an_unknown_field_is_answered_with_those_that_there_are() -> None:
    why = refused(kmsarn="x")
    assert why.facts["path"] == "spec.kmsarn"
    assert "kmsArnInPlainText" in why.facts["allowed"]
    assert refused(credential={**MANUAL, "spec": {"key": "x"}}).facts == {
        "path": "spec.credential.spec.key",
        "allowed": ["accessKey", "secretKey", "delegateSelectors"],
    }
    assert refused(credential={**MANUAL, "arn": "x"}).facts == {
        "path": "spec.credential.arn",
        "allowed": ["type", "spec"],
    }


def test_a_field_whose_name_could_be_a_value_is_not_repeated() -> None:
    why = refused("Local", **{"hunter2 correct horse": 1})
    assert why.facts["path"] == "spec"
    assert "hunter2" not in repr(why.problem())


def test_more_selectors_than_a_task_can_carry_are_refused() -> None:
    many = [f"d{at}" for at in range(MAXIMUM)]
    assert len(settings("Local", {"delegateSelectors": [*many, "D0"]}).selectors()) == MAXIMUM
    assert refused("Local", delegateSelectors=[*many, "more"]).facts["path"] == "spec.delegateSelectors"


def test_an_unknown_kind_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(Malformed) as caught:
        settings("Vault9", {})
    assert (caught.value.code, caught.value.facts) == ("kind_unknown", {"path": "type", "allowed": sorted(KINDS)})


def test_a_refusal_of_the_whole_object_has_an_empty_path() -> None:
    class Odd(Model, frozen=True, kw_only=True):
        def __post_init__(self) -> None:
            raise Refused("", "never", ("this",))

    with pytest.raises(Refused) as caught:
        read(Odd, {}, Forms())
    assert (caught.value.path, caught.value.detail, caught.value.allowed) == ("", "never", ("this",))


def test_a_form_that_nobody_described_is_told_in_general() -> None:
    class Numbered(Model, frozen=True, kw_only=True):
        number: int | str | None = None
        words: dict[str, int] = {}

    for value, path in (({"number": []}, "number"), ({"words": {"a": "b"}}, "words"), ({"words": 5}, "words")):
        with pytest.raises(Refused) as caught:
            read(Numbered, value, Forms())
        assert caught.value.path == path
        assert caught.value.detail.startswith("give ")


def test_no_error_repeats_a_value() -> None:
    for path in ("region", "kmsArn", "kmsArnInPlainText", "credential", "executeOnDelegate", "delegateSelectors"):
        assert "hunter2" not in repr(refused(**{path: "hunter2 correct horse"}).problem())


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(list(BASE)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    kind=st.sampled_from(sorted(KINDS)), spec=st.dictionaries(st.text() | st.sampled_from([*BASE, "isDefault"]), _json)
)
def test_garbage_is_read_or_is_malformed_and_never_anything_else(kind: str, spec: Any) -> None:
    for one in (spec, {**BASE, **spec}):
        try:
            settings(kind, one)
        except Malformed as why:
            assert why.facts["path"].startswith("spec")


def test_a_document_says_whether_it_is_a_default_and_tested_in_both_spellings() -> None:
    world = World()
    for spec, expected in (
        ({}, (False, True)),
        ({"default": True, "ignoreTestConnection": True}, (True, False)),
        ({"isDefault": True}, (True, True)),
        ({"default": False, "ignoreTestConnection": False}, (False, True)),
    ):
        document = world.connector_document("one", spec=spec)
        assert (document.is_default, document.is_tested) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"spec": {"ignoreTestConnection": True}}, False),
        ({"secrets": ("account.key",)}, False),
        ({"usage": Usage(applications=("shop",))}, False),
        ({"type": "CustomSecretManager", "template": TemplateUse(id="a" * 26, content="x" * 43)}, False),
    ],
    ids=str,
)
def test_a_document_says_whether_it_may_be_tested_though_no_task_brought_it(
    changes: dict[str, Any], expected: bool
) -> None:
    assert World().connector_document("one", **changes).needs_no_task is expected


def test_why_the_built_in_one_takes_no_more_secrets_says_what_to_do() -> None:
    why = built_in_disabled()
    assert (type(why), why.code) == (Denied, "built_in_disabled")
    assert "--connector" in why.hint
