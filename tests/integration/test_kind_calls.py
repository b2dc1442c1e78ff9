"""How often a use asks its provider: what docs/secret-managers/README.md says is what servers count."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.architecture.source import ROOT
from tests.bench.counting import counting
from tests.bench.kinds import Use, counts
from tests.bench.providers import PROVIDERS
from tests.contract.subjects import EVERY, Servers
from tests.fakes.world import World

PAGE = (ROOT / "docs/secret-managers/README.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| (\d+) \| (\d+) \| (\d*) ?\|", re.MULTILINE)
SCRIPTS = re.compile(r"^\| `CustomSecretManager` \| [^|]+ \| the script's \| the script's \|", re.MULTILINE)
WAYS = ("cold", "warm", "cached")


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers() as running:
        yield running


@pytest.mark.parametrize("name", list(PROVIDERS))
async def test_a_use_asks_its_provider_as_often_as_the_page_says(
    name: str, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    provider = PROVIDERS[name]
    told = {kind: dict(zip(WAYS, numbers, strict=True)) for kind, *numbers in ROW.findall(PAGE)}
    if SCRIPTS.search(PAGE):
        # The delegate itself calls nobody.
        told.setdefault("CustomSecretManager", {"cold": "0", "warm": "0", "cached": ""})
    subject = EVERY[name](World(), servers)
    async with counting(servers, provider.server, subject) as calls:
        found = await counts(Use(subject), calls)
    assert {way: str(found.get(way, "")) for way in WAYS} == told[provider.kind]
