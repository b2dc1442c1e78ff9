"""The page on files of age says what the kind does: fields, limits and errors."""

from __future__ import annotations

import re

import msgspec
import yaml

from delegate import folder
from delegate.policy import LocalPolicy
from delegate.secret_managers import age_file
from shared.connectors.age_file import DEEPEST, LONGEST_PATH, AgeFileSettings
from shared.connectors.kinds import settings
from shared.connectors.model import Model
from tests.architecture.source import ROOT

PAGE = (ROOT / "docs/secret-managers/age-file.md").read_text()
SOURCES = (
    "delegate/secret_managers/age_file.py",
    "shared/connectors/age_file.py",
    "delegate/secret_managers/selection.py",
)
CODE = re.compile(r'(?:Malformed|Denied|NotFound|NotReady|Tampered|Unavailable)(?:\(|,)\s*"([a-z_]+)"')


def test_every_field_is_on_the_page_and_its_examples_are_taken() -> None:
    own = {one.encode_name for one in msgspec.structs.fields(AgeFileSettings)}
    common = {one.encode_name for one in msgspec.structs.fields(Model)}
    assert own - common <= set(re.findall(r"`(\w+)`", PAGE))
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    body = yaml.safe_load(text)["connector"]
    told = settings(body["type"], body["spec"])
    assert isinstance(told, AgeFileSettings)
    (policy,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert LocalPolicy.parse(policy, []).allows_file(f"{told.folder}/payments/db.age")


def test_every_error_is_in_the_table() -> None:
    codes = {code for path in SOURCES for code in CODE.findall((ROOT / path).read_text())}
    assert {"age_tampered", "age_changing", "age_slow", "local_policy", "path_malformed", "key_missing"} <= codes
    told = set(re.findall(r"`([a-z_]+)`", PAGE.partition("## Errors")[2]))
    assert sorted(codes - told) == []


def test_the_limits_are_those_of_the_program() -> None:
    assert age_file.LARGEST_FILE == 16 * 2**20 and "| 16 MiB;" in PAGE
    assert age_file.LARGEST_HEADER == 64 * 2**10 and "| 64 KiB," in PAGE
    assert f"at most {age_file.MOST_IDENTITIES} identities" in PAGE
    assert f"| {age_file.THREADS} for one connector" in PAGE
    assert f"at most {DEEPEST} of them, and {LONGEST_PATH:,} characters" in PAGE
    assert f"at most {folder.MOST_LINKS} on one way" in PAGE
    assert f"`{age_file.CHECKED}`" in PAGE
