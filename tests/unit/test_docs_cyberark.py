"""The pages on CyberArk name every field that its kinds take, and every error that their code knows."""

from __future__ import annotations

import re
from typing import get_args

import msgspec
import pytest

from delegate.credentials.rest import LARGEST_ANSWER
from delegate.secret_managers import cyberark_ccp, cyberark_conjur
from shared.connectors.cyberark_ccp import UNSENDABLE, CyberArkCcpSettings
from shared.connectors.cyberark_conjur import AUDIENCE, CREDENTIAL_TYPES, CyberArkConjurSettings
from shared.connectors.model import Model
from tests.architecture.source import ROOT

FOLDER = ROOT / "docs/secret-managers"
PAGES = {name: (FOLDER / f"cyberark-{name}.md").read_text() for name in ("conjur", "ccp")}
CODE = re.compile(
    r'(?:Refusal|Malformed|Denied|NotFound|Conflict|NotReady|Unavailable|Overloaded)\(\s*(?:\w+,\s*)?"([a-z_]+)"'
)
OF_REST = set(re.findall(r'_unavailable\(\s*"([a-z]+)"', (ROOT / "delegate/credentials/rest.py").read_text()))


def fields(model: type[msgspec.Struct]) -> set[str]:
    """Of a model, those of its alternatives included."""
    found = set()
    for one in msgspec.structs.fields(model):
        found.add(one.encode_name)
        for member in get_args(one.type) or (one.type,):
            if isinstance(member, type) and issubclass(member, msgspec.Struct):
                found |= fields(member)
    return found


@pytest.mark.parametrize(("page", "model"), [("conjur", CyberArkConjurSettings), ("ccp", CyberArkCcpSettings)])
def test_every_field_is_on_the_page(page: str, model: type[Model]) -> None:
    named = set(re.findall(r"`([A-Za-z0-9_]+)`", PAGES[page]))
    common = {one.encode_name for one in msgspec.structs.fields(Model)}
    assert sorted(fields(model) - common - named) == []
    assert f"`type: {model.__name__.removesuffix('Settings')}`" in PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_every_error_of_the_code_is_in_the_table(page: str) -> None:
    sources = [*ROOT.glob(f"delegate/*/cyberark_{page}.py"), ROOT / "delegate/credentials/tls.py"]
    codes = {code for path in sources for code in CODE.findall(path.read_text())}
    codes -= {"client_certificate_malformed"} if page == "conjur" else set()
    assert {f"{page}_missing", f"{page}_denied", "ca_malformed"} <= codes
    assert {"slow", "unreachable", "untrusted", "cut"} <= OF_REST
    codes |= {f"{page}_{one}" for one in (*OF_REST, "redirected")} | {"value_too_large", "local_policy"}
    table = PAGES[page].partition("## Errors")[2]
    assert sorted(code for code in codes if f"`{code}`" not in table) == []


def test_every_code_of_the_service_that_is_known_stands_in_the_table() -> None:
    table = PAGES["ccp"].partition("## Errors")[2].replace("APPAP227E to APPAP230E", "227E 228E 229E APPAP230E")
    known = [key for key in cyberark_ccp.REFUSALS if isinstance(key, str)]
    assert "APPAP282E" in known
    assert [code for code in known if code not in table and code.removeprefix("APPAP") not in table] == []


def test_the_numbers_and_words_are_those_of_the_code() -> None:
    assert f"at most {cyberark_conjur.TOGETHER} variables" in PAGES["conjur"]
    assert f"({cyberark_conjur.TOGETHER_SECONDS * 1000:.0f} ms)" in PAGES["conjur"]
    assert f"`{AUDIENCE}`" in PAGES["conjur"] and all(f"`{one}`" in PAGES["conjur"] for one in CREDENTIAL_TYPES)
    assert f"at most {cyberark_ccp.CONCURRENCY} at once" in PAGES["ccp"] and LARGEST_ANSWER == 2**20
    assert " ".join(UNSENDABLE) in PAGES["ccp"] and cyberark_ccp.CHECKED in PAGES["ccp"]
    assert all(f"`{one}`" in PAGES["ccp"] for one in cyberark_ccp.PROPERTIES)
