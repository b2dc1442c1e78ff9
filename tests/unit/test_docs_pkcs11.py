"""The page on PKCS#11 says what the kind does: fields, mechanisms, the library's table, errors."""

from __future__ import annotations

import re

import msgspec
import yaml

from delegate.credentials import pkcs11
from delegate.policy import LocalPolicy
from shared.connectors.kinds import settings
from shared.connectors.model import Model
from shared.connectors.pkcs11 import MECHANISMS, Pkcs11Settings
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs/secret-managers/pkcs11.md").read_text()
SOURCES = ("delegate/credentials/pkcs11.py", "delegate/secret_managers/pkcs11.py")
CODE = re.compile(r'(?:Refusal|Malformed|Denied|NotFound|NotReady|Tampered|Unavailable)\(\s*(?:\w+,\s*)?"([a-z0-9_]+)"')


def test_every_field_is_on_the_page_and_its_examples_are_taken() -> None:
    own = {one.encode_name for one in msgspec.structs.fields(Pkcs11Settings)}
    common = {one.encode_name for one in msgspec.structs.fields(Model)}
    assert own - common <= set(re.findall(r"`(\w+)`", PAGE))
    assert set(MECHANISMS) <= set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Mechanisms")[2], re.MULTILINE))
    policy = LocalPolicy.parse("\n".join(re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)), [])
    bodies = [yaml.safe_load(text)["connector"] for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)]
    assert len(bodies) == 2
    for body in bodies:
        told = settings(body["type"], body["spec"])
        assert isinstance(told, Pkcs11Settings)
        assert policy.library(told.library).startswith("/")


def test_every_error_is_in_the_table() -> None:
    codes = {code for path in SOURCES for code in CODE.findall((ROOT / path).read_text())}
    assert {"pkcs11_pin_incorrect", "pkcs11_slow", "pkcs11_unbound", "pkcs11_token_lost", "pkcs11_key_missing"} <= codes
    told = set(re.findall(r"`([a-z0-9_]+)`", PAGE.partition("## Errors")[2]))
    assert sorted(codes - told) == []


def test_the_limits_are_those_of_the_program() -> None:
    assert f"| PIN | {pkcs11.LONGEST_PIN} bytes |" in PAGE
