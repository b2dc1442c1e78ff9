"""The wizard asks what the well-known one asks, in its order, and asks again for what can't be right."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from client.cli.wizard import Body, Wizard
from client.descriptions import describe
from client.manifest import Manifest
from shared.names import Scope

ROLE = "arn:aws:iam::123456789012:role/kms"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"


class Typist:
    """Somebody who has written down what to type."""

    def __init__(self, *answers: str) -> None:
        self.left = list(answers)
        self.titles: list[str] = []
        self.told: list[str] = []

    def title(self, text: str) -> None:
        self.titles.append(text)

    def ask(self, question: str, default: str = "", choices: Sequence[str] = ()) -> str:
        answer = self.left.pop(0) or default
        assert not choices or answer in choices
        return answer

    def say(self, text: str) -> None:
        self.told.append(text)


def asked(*answers: str, here: Scope | None = None) -> tuple[Typist, Body]:
    """The body after these answers, an empty one for the default; all of them are asked for."""
    typist = Typist(*answers)
    body = Wizard(typist).ask(here or Scope())
    assert typist.left == []
    describe(Manifest("answers", 1, "connector", body))
    return typist, body


def test_a_local_connector_takes_few_answers() -> None:
    typist, body = asked("My local", "", "", "", "Local", "Zone:A, b")
    assert body == {
        "name": "My local",
        "identifier": "My_local",
        "type": "Local",
        "spec": {"delegateSelectors": ["Zone:A", "b"]},
    }
    assert typist.titles == ["Overview", "Details", "Delegates"]


def test_the_scope_is_where_the_person_is() -> None:
    _, body = asked("x", "", "about", "a:b, c", "Local", "", here=Scope("o", "p"))
    assert (body["orgIdentifier"], body["projectIdentifier"]) == ("o", "p")
    assert (body["description"], body["tags"]) == ("about", ["a:b", "c"])


@pytest.mark.parametrize(
    ("answers", "spec"),
    [
        (
            ("secret", "account.kmsArn", "ManualConfig", "account.a", "account.b", ""),
            {
                "kmsArn": "account.kmsArn",
                "credential": {"type": "ManualConfig", "spec": {"accessKey": "account.a", "secretKey": "account.b"}},
            },
        ),
        (
            ("plain", KEY, "", "d1, d2", ""),
            {
                "kmsArnInPlainText": KEY,
                "credential": {"type": "AssumeIAMRole", "spec": {"delegateSelectors": ["d1", "d2"]}},
            },
        ),
        (
            ("", KEY, "AssumeSTSRole", "d1", ROLE, "ext", "900", "d1"),
            {
                "kmsArnInPlainText": KEY,
                "credential": {
                    "type": "AssumeSTSRole",
                    "spec": {
                        "delegateSelectors": ["d1"],
                        "roleArn": ROLE,
                        "externalName": "ext",
                        "assumeStsRoleDuration": 900,
                    },
                },
                "delegateSelectors": ["d1"],
            },
        ),
        (
            ("", KEY, "OidcAuthentication", ROLE, "platform", ""),
            {
                "kmsArnInPlainText": KEY,
                "credential": {"type": "OidcAuthentication", "spec": {"iamRoleArn": ROLE}},
                "executeOnDelegate": False,
            },
        ),
    ],
    ids=["ManualConfig", "AssumeIAMRole", "AssumeSTSRole", "OidcAuthentication"],
)
def test_each_credential_type_is_asked_for_in_its_own_words(answers: tuple[str, ...], spec: Body) -> None:
    _, body = asked("kms", "", "", "", "", "", *answers)
    assert body["spec"] == {"region": "us-east-1", **spec}


def test_what_can_not_be_right_is_asked_for_again() -> None:
    overview = ("", "?", "kms", "a-b", "", "", "a:1,a:2", "")
    details = ("AwsKms", "Europe", "us-east-1", "", "x", KEY.replace("east", "west"), KEY)
    credential = ("AssumeSTSRole", "", "a b", "d1", "x", ROLE, "", "5", "long", "")
    typist, body = asked(*overview, *details, *credential, "c d", "")
    assert body["spec"]["credential"]["spec"] == {"delegateSelectors": ["d1"], "roleArn": ROLE}
    told = "\n".join(typist.told)
    for part in (
        "an answer is needed", "give a name", "give an identifier", "a tag stands twice", "give the code of a region",
        "give the ARN of a key", "of another region", "a selector has 1 to 128", "give the ARN of a role",
        "give 900 to 3600", "give a whole number",
    ):  # fmt: skip
        assert part in told
