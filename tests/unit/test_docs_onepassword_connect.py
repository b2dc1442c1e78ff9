"""The page on 1Password Connect says what the kind does: fields and errors."""

from __future__ import annotations

import re

import msgspec
import yaml

from delegate.secret_managers import onepassword_connect
from shared.connectors.kinds import settings
from shared.connectors.model import Model
from shared.connectors.onepassword_connect import OnePasswordConnectSettings
from shared.documents.secret import LARGEST_VALUE_BYTES
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs/secret-managers/onepassword-connect.md").read_text()
SOURCES = ("delegate/secret_managers/onepassword_connect.py", "delegate/secret_managers/selection.py")
CODE = re.compile(
    r'(?:Malformed|Denied|NotFound|NotReady|Conflict|Unavailable|Overloaded)(?:\(|,)\s*"([a-z_]+)"', re.DOTALL
)


def test_every_field_is_on_the_page_and_its_example_is_taken() -> None:
    own = {one.encode_name for one in msgspec.structs.fields(OnePasswordConnectSettings)}
    common = {one.encode_name for one in msgspec.structs.fields(Model)}
    assert own - common <= set(re.findall(r"`(\w+)`", PAGE))
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    body = yaml.safe_load(text)["connector"]
    assert isinstance(settings(body["type"], body["spec"]), OnePasswordConnectSettings)


def test_every_error_is_in_the_table() -> None:
    codes = {code for path in SOURCES for code in CODE.findall((ROOT / path).read_text())}
    codes |= {one.code for one in onepassword_connect.REFUSALS.values()}
    # What the connections to it raise, in this kind's name.
    rest = (ROOT / "delegate/credentials/rest.py").read_text()
    ways = set(re.findall(r'_unavailable\(\s*"(\w+)"', rest))
    assert {"slow", "garbled", "untrusted", "unreachable", "cut"} <= ways
    codes |= {f"onepassword_{one}" for one in (*ways, "redirected")}
    told = set(re.findall(r"`([a-z_]+)`", PAGE.partition("## Errors")[2]))
    assert sorted(codes - told) == []


def test_the_limit_is_that_of_the_program() -> None:
    assert LARGEST_VALUE_BYTES == 10_000_000
    assert "| value | 10 MB, field or file |" in PAGE
