"""The page on AWS KMS is held to the program: its example is taken, its policies parse, its errors are those that there are."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from shared.connectors.kinds import settings
from shared.errors import CLASSES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "secret-managers" / "aws-kms.md").read_text()
SOURCES = (
    "delegate/credentials/aws_calls.py",
    "delegate/credentials/aws_identities.py",
    "delegate/credentials/aws_roles.py",
    "delegate/credentials/aws_session.py",
    "delegate/secret_managers/aws_kms.py",
)


def codes(path: str) -> Iterator[str]:
    """The codes of errors that a file makes: a refusal's second argument, an error's first."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            at = {"Refusal": 1, **dict.fromkeys(CLASSES, 0)}.get(node.func.id)
            if at is not None and at < len(node.args):
                code = node.args[at]
                if isinstance(code, ast.Constant):
                    yield str(code.value)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_error_is_on_the_page_and_no_other_is() -> None:
    made = {code for path in SOURCES for code in codes(path)} | {"key_unlisted", "local_policy"}
    table = PAGE[PAGE.index("## Errors") :]
    told = {
        code for row in re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)
    }
    assert told == made


def test_the_example_is_taken() -> None:
    (example,) = blocks("yaml")
    spec = yaml.safe_load(example)["connector"]["spec"]
    assert settings("AwsKms", spec).selectors() == ("d1",)


def test_the_policies_parse_and_ask_for_no_more_than_is_called() -> None:
    actions = [json.loads(one)["Statement"][0]["Action"] for one in blocks("json")]
    assert actions == [["kms:GenerateDataKey", "kms:Decrypt"], "sts:AssumeRole", "sts:AssumeRoleWithWebIdentity"]
    called = set(re.findall(r'\.ask\(\s*"(\w+)"', "".join((ROOT / path).read_text() for path in SOURCES)))
    assert called == {"GenerateDataKey", "Decrypt", "AssumeRole", "AssumeRoleWithWebIdentity"}
