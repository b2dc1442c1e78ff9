"""Settings of age files: which folders may be named, and what is said of those that may not."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.age_file import DEEPEST, LONGEST_PATH, AgeFileSettings, below
from shared.connectors.kinds import settings
from shared.errors import Malformed

SPEC: dict[str, Any] = {"directory": "/srv/age", "identity": "account.ageKey", "delegateSelectors": ["vm"]}


def refusal(**changes: Any) -> tuple[str, str]:
    spec = {key: value for key, value in {**SPEC, **changes}.items() if value is not None}
    with pytest.raises(Malformed) as caught:
        settings("AgeFile", spec)
    assert caught.value.code == "connector_malformed"
    return str(caught.value.facts["path"]), caught.value.detail


@pytest.mark.parametrize("directory", ["/srv/age", "/srv/age/"])
def test_the_folder_and_the_identitys_secret_are_read(directory: str) -> None:
    found = settings("AgeFile", {**SPEC, "directory": directory})
    assert isinstance(found, AgeFileSettings)
    assert found.folder == "/srv/age"
    assert found.references() == ("account.ageKey",)
    assert found.oidc_audience is None


@pytest.mark.parametrize(
    "directory",
    ["", "/", "//", "srv/age", "/srv/../age", "/srv/./age", "/srv//age", "/srv/age//", "/srv/a\nb", "/" + "x" * 1024],
)
def test_only_an_absolute_path_without_detours_is_a_directory(directory: str) -> None:
    path, detail = refusal(directory=directory)
    assert path == "spec.directory" and "an absolute path on the delegate" in detail
    assert directory == "" or directory not in {"/srv/../age"} or directory not in detail


def test_what_is_missing_is_told_with_what_it_is_for() -> None:
    assert "Directory cannot be empty" in refusal(directory=None)[1]
    assert "Identity cannot be empty" in refusal(identity=None)[1]
    assert "the identity itself goes into that secret" in refusal(identity="AGE-SECRET-KEY-1QQQ")[1]
    assert refusal(delegateSelectors=[])[0] == "spec.delegateSelectors"


def test_a_kind_that_only_reads_is_no_default() -> None:
    path, detail = refusal(default=True)
    assert path == "spec.default" and "only read" in detail


def test_a_path_below_the_directory_has_plain_names() -> None:
    assert below("a.age") == ("a.age",)
    assert below("payments/db prod/a.age") == ("payments", "db prod", "a.age")
    assert len(below("/".join(["a"] * DEEPEST))) == DEEPEST


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a\0b", "a\nb", "a\u202eb"),
        "/".join(["a"] * (DEEPEST + 1)),
        "a" * (LONGEST_PATH + 1),
    ],
)
def test_a_path_that_could_mean_another_file_is_malformed(path: str) -> None:
    with pytest.raises(Malformed) as caught:
        below(path)
    assert caught.value.code == "path_malformed"
