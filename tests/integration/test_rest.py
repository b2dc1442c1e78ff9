"""What the kinds that speak REST send and take: nobody else's credentials, no other place than their own, no endless answer."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from delegate.credentials.rest import LARGEST_ANSWER, Rest, encoded
from delegate.credentials.tls import client_context
from delegate.policy import LocalPolicy
from shared.errors import Denied, Malformed, PrivySealError, Unavailable
from tests.fakes.authority import Authority
from tests.fakes.proxy import ConnectProxy
from tests.servers.https import Https, Reply, Request, told

ANYWHERE = LocalPolicy.parse("", [])


class Echo:
    """Tells what it was asked."""

    def answer(self, request: Request) -> Reply:
        who = None if request.certificate is None else request.certificate.subject.rfc4514_string()
        return told(200, {"method": request.method, "path": request.path, "body": request.body.decode(), "who": who})


class Said(msgspec.Struct):
    method: str
    path: str
    body: str
    who: str | None


@pytest.fixture
def site() -> Iterator[Https]:
    with Https(Echo()) as running:
        yield running


@pytest_asyncio.fixture
async def rest(site: Https) -> AsyncIterator[Rest]:
    made = Rest(site.url, ANYWHERE, 15.0, authorities=site.trust, name="Acme", code="acme")
    yield made
    await made.close()


async def refused(rest: Rest, path: str = "/x") -> PrivySealError:
    """The error of one call, whose connections are closed then."""
    with pytest.raises(PrivySealError) as caught:
        await rest.ask("GET", path, about="the thing")
    await rest.close()
    assert caught.value.hint and "hunter2" not in str(caught.value)
    return caught.value


async def test_a_request_arrives_as_it_was_made(rest: Rest, site: Https) -> None:
    path = "/api" + encoded("a/b c", "p#q?r", "ü")
    answer = await rest.ask("POST", path, headers={"X-One": "1"}, query={"a&b": "c=d e", "f": ""}, body=b"hunter2")
    said = rest.parsed(answer, Said, "the thing")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert (said.method, said.path, said.body) == ("POST", "/api/a%2Fb%20c/p%23q%3Fr/%C3%BC", "hunter2")
    (asked,) = site.requests
    assert asked.query == {"a&b": "c=d e", "f": ""}
    assert (asked.headers["x-one"], asked.headers["accept-encoding"]) == ("1", "identity")


async def test_after_a_close_it_opens_again(rest: Rest) -> None:
    await rest.ask("GET", "/x")
    await rest.close()
    await rest.close()
    assert (await rest.ask("GET", "/x")).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://example.com",
        "ftp://127.0.0.1",
        "https://",
        "https://user:hunter2@127.0.0.1",
        "https://127.0.0.1/base",
        "https://127.0.0.1?a=b",
        "https://127.0.0.1#c",
        "https://127.0.0.1:99999",
        "https://[::1",
        "127.0.0.1",
    ],
)
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(Malformed) as caught:
        Rest(origin, ANYWHERE, 1.0)
    assert caught.value.code == "origin_malformed"
    assert "hunter2" not in str(caught.value)


def test_an_origin_is_https_or_loopback() -> None:
    for origin in ("https://example.com", "https://example.com:8443/", "http://127.0.0.1:1", "http://localhost:1"):
        assert Rest(origin, ANYWHERE, 1.0).host in origin


@pytest.mark.parametrize(
    "path", ["", "x", "//other.example/x", "/a/../b", "/a/%2e%2E", "/.", "/a?b=c", "/a#b", "/a b", "/a\r\nX: y", "/%zz"]
)
async def test_a_path_that_could_lead_elsewhere_is_never_sent(rest: Rest, site: Https, path: str) -> None:
    assert (await refused(rest, path)).code == "path_malformed"
    assert site.requests == []


@pytest.mark.parametrize("part", ["", ".", "..", "a\nb", "a\x00"])
def test_a_part_that_could_change_a_path_is_refused(part: str) -> None:
    with pytest.raises(Malformed):
        encoded("a", part, "b")


@pytest.mark.parametrize("value", ["a\r\nX-Two: 2", "a\nb", "ü", "\x00"])
async def test_a_header_that_could_begin_another_is_never_sent(rest: Rest, site: Https, value: str) -> None:
    with pytest.raises(Malformed) as caught:
        await rest.ask("GET", "/x", headers={"X-One": value})
    assert caught.value.code == "header_malformed"
    assert site.requests == []


async def test_a_host_that_the_local_policy_forbids_is_not_called(site: Https) -> None:
    rest = Rest(site.url, LocalPolicy.parse('hosts = ["vault.example.com"]', []), 15.0, authorities=site.trust)
    why = await refused(rest)
    assert (why.code, why.facts["rule"]) == ("local_policy", "hosts")
    assert site.requests == []


async def test_a_redirect_is_not_followed(rest: Rest, site: Https) -> None:
    site.fail("/x", Reply(302, b"", {"Location": site.url + "/elsewhere"}))
    why = await refused(rest)
    assert isinstance(why, Denied) and why.code == "acme_redirected"
    assert len(site.requests) == 1


async def test_an_answer_without_an_end_is_not_read_to_it(rest: Rest, site: Https) -> None:
    site.fail("/x", Reply(200, b"x" * (LARGEST_ANSWER + 1)))
    assert (await refused(rest)).code == "value_too_large"
    assert (await rest.ask("GET", "/x")).status == 200


async def test_an_answer_that_is_packed_is_not_unpacked(rest: Rest, site: Https) -> None:
    site.fail("/x", Reply(200, gzip.compress(bytes(1000)), {"Content-Encoding": "gzip"}))
    assert (await refused(rest)).code == "acme_garbled"


async def test_an_answer_that_ends_too_early_is_not_taken_for_one(rest: Rest, site: Https) -> None:
    site.fail("/x", Reply(200, b"hunt", announced=7))
    why = await refused(rest)
    assert isinstance(why, Unavailable) and why.code == "acme_cut"


@pytest.mark.parametrize("headers", [{"X-Long": "x" * 100_000}, {"Content-Length": "many"}])
async def test_an_answer_that_is_no_http_is_told_so(rest: Rest, site: Https, headers: dict[str, str]) -> None:
    site.fail("/x", Reply(200, b"", headers))
    assert (await refused(rest)).code == "acme_garbled"


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[]", b'{"method": 1}', b"[" * 100_000])
async def test_an_answer_of_another_form_is_told_so(rest: Rest, site: Https, body: bytes) -> None:
    site.fail("/x", Reply(200, body))
    answer = await rest.ask("GET", "/x")
    with pytest.raises(Unavailable) as caught:
        rest.parsed(answer, Said, "the thing")
    assert caught.value.code == "acme_garbled"


async def test_who_never_answers_is_given_up(site: Https) -> None:
    site.fail("/x", Reply(hangs=True))
    rest = Rest(site.url, ANYWHERE, 0.3, authorities=site.trust, code="acme")
    why = await refused(rest)
    assert isinstance(why, Unavailable) and why.code == "acme_slow"
    assert rest.slow("the thing").code == "acme_slow"


async def test_a_certificate_of_another_authority_is_not_trusted(site: Https) -> None:
    for trust in ("", Authority("another").certificate.decode()):
        assert (await refused(Rest(site.url, ANYWHERE, 15.0, authorities=trust, code="acme"))).code == "acme_untrusted"
    assert site.requests == []


async def test_a_certificate_for_another_name_is_not_trusted(site: Https, tmp_path: Path) -> None:
    site._context.load_cert_chain(written(tmp_path, b"".join(site.authority.issue("elsewhere.example.com"))))
    assert (await refused(Rest(site.url, ANYWHERE, 15.0, authorities=site.trust))).code == "rest_untrusted"


async def test_the_systems_authorities_count_where_none_is_given(
    site: Https, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(written(tmp_path, site.authority.certificate)))
    rest = Rest(site.url, ANYWHERE, 15.0)
    assert (await rest.ask("GET", "/x")).status == 200
    await rest.close()


async def test_a_client_certificate_is_shown_in_the_handshake() -> None:
    clients = Authority("clients")
    key, certificate = clients.issue()
    with Https(Echo(), clients=clients, required=True) as site:
        rest = Rest(site.url, ANYWHERE, 15.0, authorities=site.trust, certificate=(certificate, key))
        answer = await rest.ask("GET", "/x")
        await rest.close()
        assert rest.parsed(answer, Said, "the thing").who == "CN=manager"


async def test_a_server_that_refuses_our_certificate_is_told_so() -> None:
    with Https(Echo(), clients=Authority("clients"), required=True) as site:
        key, certificate = Authority("others").issue()
        for shown in (None, (certificate, key)):
            why = await refused(Rest(site.url, ANYWHERE, 15.0, authorities=site.trust, certificate=shown))
            # Its alert may be overtaken by the end of the connection.
            assert why.code in {"rest_untrusted", "rest_cut"}
        assert site.requests == []


async def test_a_key_that_is_not_the_certificates_is_refused_without_repeating_it(site: Https) -> None:
    key, certificate = Authority().issue()
    other, _ = Authority().issue()
    for pair in ((certificate, other), (certificate, b"hunter2"), (b"hunter2", key), (b"", b"")):
        why = await refused(Rest(site.url, ANYWHERE, 15.0, authorities=site.trust, certificate=pair))
        assert why.code == "client_certificate_malformed"
    assert (await refused(Rest(site.url, ANYWHERE, 15.0, authorities="hunter2"))).code == "ca_malformed"


async def test_nobody_there_is_told_so() -> None:
    rest = Rest("https://127.0.0.1:1", ANYWHERE, 15.0)
    assert (await refused(rest)).code == "rest_unreachable"
    assert (await refused(Rest("https://nowhere.invalid", ANYWHERE, 15.0))).code == "rest_unreachable"


async def test_something_that_speaks_no_tls_is_told_so() -> None:
    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        assert (await refused(Rest(f"https://127.0.0.1:{port}", ANYWHERE, 15.0))).code == "rest_untrusted"


async def test_the_environments_proxy_is_asked_and_sees_no_plain_text(
    rest: Rest, site: Https, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with ConnectProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert (await rest.ask("GET", "/x")).status == 200
        assert proxy.targets == [site.url.removeprefix("https://")]
        await rest.close()
        proxy.refusing = True
        why = await refused(rest)
        assert (why.code, "proxy" in why.detail) == ("acme_unreachable", True)


async def test_a_netrc_of_the_delegate_speaks_for_nobody(
    rest: Rest, site: Https, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    await rest.ask("GET", "/x")
    assert "authorization" not in site.requests[0].headers


async def test_no_cookie_is_kept(rest: Rest, site: Https) -> None:
    site.fail("/x", Reply(200, b"", {"Set-Cookie": "session=hunter2"}))
    await rest.ask("GET", "/x")
    await rest.ask("GET", "/x")
    assert "cookie" not in site.requests[1].headers


def test_certificates_are_verified_by_name_and_authority() -> None:
    context = client_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def written(folder: Path, pem: bytes) -> Path:
    place = folder / "one.pem"
    place.write_bytes(pem)
    return place
