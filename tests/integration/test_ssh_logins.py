"""Logging in at OpenSSH's own server: each credential, each way in which a host is known or isn't, and what is refused."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from shared.errors import Denied, Malformed, NotFound, PrivySealError, Unavailable
from shared.known_hosts import fingerprint, parse
from tests.fakes.ssh import HOST, Way, Words
from tests.servers.sshd import PasswordServer, Sshd, keygen, public, run_by_shell, sign_host


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one key of each form."""
    folder = tmp_path_factory.mktemp("keys")
    keygen(folder / "plain")
    keygen(folder / "locked", passphrase="open sesame")
    keygen(folder / "pem", "-m", "PEM", "-b", "2048", kind="rsa", passphrase="open sesame")
    keygen(folder / "pkcs8", "-m", "PKCS8", "-b", "256", kind="ecdsa", passphrase="open sesame")
    keygen(folder / "rsa", "-b", "2048", kind="rsa")
    keygen(folder / "short", "-b", "1024", kind="rsa")
    keygen(folder / "stranger")
    return folder


@pytest.fixture(scope="module")
def sshd(keys: Path) -> Iterator[Sshd]:
    with Sshd() as running:
        for name in ("plain", "locked", "pem", "pkcs8", "rsa", "short"):
            running.authorize(keys / name)
        yield running


@pytest.fixture
def way(sshd: Sshd, keys: Path) -> Way:
    return Way(port=sshd.port, user=sshd.user, key=keys / "plain", known=[sshd.known_hosts])


async def refusal(way: Way) -> PrivySealError:
    """What a login is refused with."""
    with pytest.raises(PrivySealError) as refused:
        await way.target().check()
    return refused.value


async def code(way: Way) -> str:
    return (await refusal(way)).code


# ---- credentials


@pytest.mark.parametrize(
    ("name", "passphrase"),
    [("plain", None), ("locked", "open sesame"), ("pem", "open sesame"), ("pkcs8", "open sesame"), ("rsa", None)],
)
async def test_a_key_logs_in_in_every_form_that_ssh_keygen_writes(
    way: Way, keys: Path, name: str, passphrase: str | None
) -> None:
    await replace(way, key=keys / name, passphrase=passphrase).target().check()


async def test_a_line_end_behind_a_passphrase_is_no_part_of_it(way: Way, keys: Path) -> None:
    await replace(way, key=keys / "locked", passphrase="open sesame\n").target().check()


async def test_a_key_in_a_file_of_the_delegate_logs_in(way: Way, keys: Path) -> None:
    allowed = f'files = ["{keys}/*"]'
    await replace(way, key=None, key_path=keys / "plain", policy=allowed).target().check()
    locked = replace(way, key=None, key_path=keys / "locked", passphrase="open sesame", policy=allowed)
    await locked.target().check()


async def test_a_key_file_that_others_can_read_is_refused(way: Way, keys: Path, tmp_path: Path) -> None:
    file = tmp_path / "id"
    file.write_bytes((keys / "plain").read_bytes())
    allowed = replace(way, key=None, key_path=file, policy=f'files = ["{tmp_path}/*"]')
    file.chmod(0o644)
    assert await code(allowed) == "ssh_key_exposed"
    file.chmod(0o600)
    await allowed.target().check()
    file.write_bytes(bytes(64 * 1024 + 1))
    assert await code(allowed) == "ssh_key_malformed"


async def test_a_key_file_that_is_none_is_told(way: Way, tmp_path: Path) -> None:
    allowed = replace(way, key=None, policy=f'files = ["{tmp_path}/*"]')
    missing = await refusal(replace(allowed, key_path=tmp_path / "none"))
    assert isinstance(missing, NotFound) and missing.code == "ssh_key_not_found"
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("folder", "pipe", "loop"):
        assert await code(replace(allowed, key_path=tmp_path / name)) == "ssh_key_unreadable"


@pytest.mark.parametrize("name", ["locked", "pem", "pkcs8"])
async def test_a_wrong_passphrase_and_a_missing_one_are_each_told_before_the_host_is_dialled(
    way: Way, keys: Path, name: str
) -> None:
    nowhere = replace(way, port=1, key=keys / name)
    wrong = await refusal(replace(nowhere, passphrase="open barley"))
    assert isinstance(wrong, Denied) and wrong.code == "ssh_passphrase_wrong"
    assert await code(nowhere) == "ssh_passphrase_missing"


@pytest.mark.parametrize("text", [b"", b"no key", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END"])
async def test_what_is_no_key_is_told_without_its_text(way: Way, text: bytes) -> None:
    told = await refusal(replace(way, key=text))
    assert isinstance(told, Malformed) and told.code == "ssh_key_malformed"
    assert "AAAA" not in str(told.problem())


async def test_a_public_key_and_a_short_key_are_no_credentials(way: Way, keys: Path) -> None:
    assert await code(replace(way, key=Path(f"{keys}/plain.pub"))) == "ssh_key_malformed"
    assert await code(replace(way, key=keys / "short")) == "ssh_key_weak"


async def test_a_key_that_the_host_does_not_take_is_refused_and_no_other_is_tried(
    way: Way, keys: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The delegate's own user has a key that would be taken, in its home and in its agent.
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_bytes((keys / "plain").read_bytes())
    (home / ".ssh" / "id_ed25519").chmod(0o600)
    (home / ".ssh" / "config").write_text(f"IdentityFile {keys}/plain\nUser {sshd.user}\n")
    monkeypatch.setenv("HOME", str(home))
    agent = await asyncio.create_subprocess_exec(
        *("ssh-agent", "-D", "-a", str(tmp_path / "agent")), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while not (tmp_path / "agent").exists():
                await asyncio.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        added = await asyncio.create_subprocess_exec("ssh-add", "-q", str(keys / "plain"))
        assert await added.wait() == 0
        before = len(sshd.log)
        told = await refusal(replace(way, key=keys / "stranger"))
    finally:
        agent.terminate()
        await agent.wait()
    assert isinstance(told, Denied) and told.code == "ssh_login_refused"
    assert "authorized_keys" in told.hint
    assert "Accepted" not in sshd.log[before:]
    assert sshd.log[before:].count("Failed") <= 1


async def test_another_user_is_refused(way: Way) -> None:
    assert await code(replace(way, user="nobody-by-this-name")) == "ssh_login_refused"


# ---- passwords


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
async def test_a_password_logs_in_and_a_wrong_one_is_shown_once(method: str, way: Way, tmp_path: Path) -> None:
    server = PasswordServer("open sesame", method=method)
    acceptor = await server.listen(run_by_shell, keygen(tmp_path / "host"))
    async with acceptor:
        port = acceptor.get_port()
        known = [f"[{HOST}]:{port} {public(tmp_path / 'host')}"]
        right = replace(way, port=port, key=None, password="open sesame", known=known)
        ran = await right.target().run(Words(b"echo $0"))
        assert ran.stdout.reveal() == b"bash\n"
        assert server.tried == ["open sesame"]
        told = await refusal(replace(right, password="open barley"))
        assert isinstance(told, Denied) and told.code == "ssh_login_refused"
        assert "PasswordAuthentication" in told.hint
        assert server.tried == ["open sesame", "open barley"]


async def test_a_real_sshd_refuses_a_wrong_password_that_it_saw_once(way: Way, keys: Path) -> None:
    with Sshd("PasswordAuthentication yes") as sshd:
        there = replace(way, port=sshd.port, key=None, password="open barley", known=[sshd.known_hosts])
        assert await code(there) == "ssh_login_refused"
        assert sshd.log.count("Failed password") == 1


async def test_a_password_is_not_shown_to_a_host_that_takes_keys_alone(way: Way, sshd: Sshd) -> None:
    before = len(sshd.log)
    assert await code(replace(way, key=None, password="open sesame")) == "ssh_login_refused"
    assert "password" not in sshd.log[before:]


@pytest.mark.parametrize("password", [b"", b"\xff", b"a\0b"])
async def test_a_password_that_can_not_be_one_is_told(way: Way, password: bytes) -> None:
    assert await code(replace(way, key=None, password=password)) == "ssh_credential_malformed"


async def test_a_host_that_lets_anybody_in_has_proved_nothing(way: Way, keys: Path, tmp_path: Path) -> None:
    class Open(PasswordServer):
        def begin_auth(self, username: str) -> bool:
            return False

    acceptor = await Open("").listen(run_by_shell, keygen(tmp_path / "host"))
    async with acceptor:
        known = [f"[{HOST}]:{acceptor.get_port()} {public(tmp_path / 'host')}"]
        assert await code(replace(way, port=acceptor.get_port(), known=known)) == "ssh_login_refused"


# ---- hosts


async def test_an_unknown_host_is_refused_with_the_fingerprint_that_ssh_keygen_prints(way: Way, sshd: Sshd) -> None:
    before = len(sshd.log)
    told = await refusal(replace(way, known=[]))
    assert isinstance(told, Denied) and told.code == "ssh_host_unknown"
    shown = fingerprint(parse(sshd.known_hosts).key)
    assert told.facts["fingerprint"] == shown and shown in told.detail
    assert "ssh-keygen -lf" in told.hint
    assert "publickey" not in sshd.log[before:]


async def test_what_the_delegates_user_knows_in_its_home_counts_for_nothing(
    way: Way, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text(f"{sshd.known_hosts}\n")
    (tmp_path / ".ssh" / "config").write_text("StrictHostKeyChecking no\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert await code(replace(way, known=[])) == "ssh_host_unknown"


async def test_a_host_is_known_by_the_delegates_own_file_which_is_read_anew(
    way: Way, sshd: Sshd, tmp_path: Path
) -> None:
    file = tmp_path / "known_hosts"
    target = replace(way, known=[], known_file=file).target()
    with pytest.raises(NotFound) as missing:
        await target.check()
    assert missing.value.code == "ssh_known_hosts_not_found"
    file.write_text(f"# ours\n{sshd.known_hosts}\n")
    await target.check()
    file.write_text(f"@revoked * {sshd.known_hosts.partition(' ')[2]}\n")
    assert await code(replace(way, known_file=file)) == "ssh_host_revoked"
    file.write_text("\nnot a line\n")
    with pytest.raises(Malformed, match="line 2") as broken:
        await target.check()
    assert broken.value.code == "ssh_known_hosts_malformed"


async def test_a_changed_key_of_a_host_is_refused_and_the_login_does_not_begin(
    way: Way, sshd: Sshd, keys: Path
) -> None:
    before = len(sshd.log)
    told = await refusal(replace(way, known=[f"[{HOST}]:{sshd.port} {public(keys / 'stranger')}"]))
    assert isinstance(told, Denied) and told.code == "ssh_host_changed"
    assert told.facts["fingerprint"] == fingerprint(parse(sshd.known_hosts).key)
    # As well by a key of another type, whichever the host could show.
    assert await code(replace(way, known=[f"{HOST} {public(keys / 'rsa')}"])) == "ssh_host_changed"
    assert "publickey" not in sshd.log[before:] and "Accepted" not in sshd.log[before:]


async def test_who_stands_between_gets_no_password(way: Way, tmp_path: Path, keys: Path) -> None:
    between = PasswordServer("open sesame")
    acceptor = await between.listen(run_by_shell, keygen(tmp_path / "evil"))
    async with acceptor:
        port = acceptor.get_port()
        known = [f"[{HOST}]:{port} {public(keys / 'stranger')}"]
        assert await code(replace(way, port=port, key=None, password="open sesame", known=known)) == "ssh_host_changed"
    assert between.tried == []


async def test_a_host_is_told_by_its_name_and_not_by_the_address_it_leads_to(way: Way, sshd: Sshd) -> None:
    by_name = replace(way, host="localhost")
    assert await code(by_name) == "ssh_host_unknown"
    await replace(by_name, known=[f"localhost {sshd.known_hosts.partition(' ')[2]}"]).target().check()


async def test_a_host_with_several_keys_is_asked_for_the_one_that_is_known(way: Way, keys: Path) -> None:
    with Sshd(f"HostKey {keys}/rsa") as sshd:
        sshd.authorize(keys / "plain")
        there = replace(way, port=sshd.port)
        await replace(there, known=[sshd.known_hosts]).target().check()
        await replace(there, known=[f"{HOST} {public(keys / 'rsa')}"]).target().check()


async def test_a_host_is_known_by_the_authority_that_signed_its_key(way: Way, keys: Path, tmp_path: Path) -> None:
    authority, host = keygen(tmp_path / "ca"), keygen(tmp_path / "host")
    with Sshd(host_key=host, certificate=sign_host(authority, host, HOST, "other")) as sshd:
        sshd.authorize(keys / "plain")
        signed = replace(way, port=sshd.port, known=[f"@cert-authority 127.0.0.* {public(authority)}"])
        await signed.target().check()
        unknown = await refusal(replace(signed, known=[f"@cert-authority * {public(keys / 'stranger')}"]))
        assert unknown.code == "ssh_host_unknown" and unknown.facts["fingerprint"].startswith("SHA256:")
        assert await code(replace(signed, known=[f"@cert-authority db {public(authority)}"])) == "ssh_host_unknown"
        # The authority's key isn't the host's, nor the host's key an authority's.
        assert await code(replace(signed, known=[f"{HOST} {public(authority)}"])) == "ssh_host_changed"
        assert await code(replace(signed, known=[f"@cert-authority * {public(host)}"])) == "ssh_host_unknown"
        for revoked in (authority, host):
            lines = [*signed.known, f"@revoked * {public(revoked)}"]
            assert await code(replace(signed, known=lines)) == "ssh_host_revoked"


@pytest.mark.parametrize(("names", "validity"), [(("other",), "-1h:+1h"), ((HOST,), "-2h:-1h")])
async def test_a_hosts_certificate_for_another_name_or_another_time_is_refused(
    way: Way, keys: Path, tmp_path: Path, names: tuple[str, ...], validity: str
) -> None:
    authority, host = keygen(tmp_path / "ca"), keygen(tmp_path / "host")
    with Sshd(host_key=host, certificate=sign_host(authority, host, *names, validity=validity)) as sshd:
        told = await refusal(replace(way, port=sshd.port, known=[f"@cert-authority * {public(authority)}"]))
    assert isinstance(told, Denied) and told.code == "ssh_host_certificate"


async def test_a_host_without_a_certificate_is_not_known_by_an_authority(way: Way, sshd: Sshd, keys: Path) -> None:
    told = await refusal(replace(way, known=[f"@cert-authority * {public(keys / 'stranger')}"]))
    assert told.code == "ssh_host_unknown" and "none that a known authority signed" in told.detail


async def test_a_weak_key_of_a_host_is_refused_also_where_an_authority_signed_it(
    way: Way, keys: Path, tmp_path: Path
) -> None:
    with Sshd(host_key=keys / "short") as sshd:
        there = replace(way, port=sshd.port, known_file=tmp_path / "known")
        (tmp_path / "known").write_text(sshd.known_hosts)
        assert await code(replace(there, known=[])) == "ssh_host_weak"
    authority = keygen(tmp_path / "ca")
    with Sshd(host_key=keys / "short", certificate=sign_host(authority, keys / "short", HOST)) as sshd:
        sshd.authorize(keys / "plain")
        there = replace(way, port=sshd.port, known=[f"@cert-authority * {public(authority)}"])
        assert await code(there) == "ssh_host_weak"
        assert "Accepted" not in sshd.log


@pytest.mark.parametrize(
    "setting",
    [
        "KexAlgorithms diffie-hellman-group14-sha1",
        "Ciphers aes128-cbc",
        "MACs hmac-sha1\nCiphers aes256-ctr",
    ],
)
async def test_a_host_with_weak_algorithms_alone_is_refused(way: Way, keys: Path, setting: str) -> None:
    with Sshd(setting, host_key=keys / "rsa") as sshd:
        sshd.authorize(keys / "plain")
        told = await refusal(replace(way, port=sshd.port, known=[sshd.known_hosts]))
        assert "Accepted" not in sshd.log
    # Where it hangs up before it has been read, nothing tells why.
    assert told.code in {"ssh_algorithms_weak", "ssh_protocol"}


async def test_a_host_that_signs_by_sha_1_alone_is_refused(way: Way, keys: Path) -> None:
    with Sshd("HostKeyAlgorithms ssh-rsa", host_key=keys / "rsa") as sshd:
        sshd.authorize(keys / "plain")
        told = await refusal(replace(way, port=sshd.port, known=[sshd.known_hosts]))
        # It hangs up by itself, before it has shown its key.
        assert told.code == "ssh_protocol" and "older algorithms" in told.hint
        assert "Unable to negotiate" in sshd.log


async def test_a_host_of_today_negotiates_what_is_strong(sshd: Sshd, way: Way) -> None:
    from delegate.ssh_login import connected

    async with connected(way.target()._login) as connection:
        assert connection.get_extra_info("send_cipher") == "chacha20-poly1305@openssh.com"
        assert "sha1" not in str(connection.get_extra_info("send_mac"))


# ---- what else can be at that port


async def test_nobody_there_is_unavailable(way: Way) -> None:
    told = await refusal(replace(way, port=1))
    assert isinstance(told, Unavailable) and told.code == "ssh_unreachable"
    unnamed = await refusal(replace(way, host="no-such-name.invalid"))
    assert isinstance(unnamed, Unavailable) and unnamed.code == "ssh_unreachable"


@pytest.mark.parametrize(
    ("greeting", "expected"),
    [
        (b"", "ssh_protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "ssh_protocol"),
        (b"SSH-1.5-old\r\n", "ssh_protocol"),
        (b"SSH-2.0-x\r\n" + bytes(64), "ssh_protocol"),
        (b"SSH-2.0-x\r\n\xff\xff\xff\xff" + bytes(64), "ssh_protocol"),
        (b"x" * 1_000_000, "ssh_protocol"),
    ],
)
async def test_what_does_not_speak_ssh_is_told_so(way: Way, greeting: bytes, expected: str) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(greet, HOST, 0)
    async with server:
        assert await code(replace(way, port=server.sockets[0].getsockname()[1])) == expected


async def test_a_host_that_says_nothing_is_given_up_in_time(way: Way) -> None:
    gone = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(wait, HOST, 0)
    async with server:
        told = await refusal(replace(way, port=server.sockets[0].getsockname()[1], seconds=0.3))
        assert isinstance(told, Unavailable) and told.code == "ssh_silent"
        await asyncio.wait_for(gone.wait(), 30)


async def test_a_host_that_hangs_while_it_judges_a_password_is_given_up_in_time(way: Way, tmp_path: Path) -> None:
    class Slow(PasswordServer):
        async def validate_password(self, username: str, password: str) -> bool:  # type: ignore[override]
            await asyncio.Event().wait()
            return True

    acceptor = await Slow("").listen(run_by_shell, keygen(tmp_path / "host"))
    async with acceptor:
        known = [f"[{HOST}]:{acceptor.get_port()} {public(tmp_path / 'host')}"]
        there = replace(way, port=acceptor.get_port(), key=None, password="word", known=known, seconds=1.0)
        assert await code(there) == "ssh_silent"


async def test_a_host_that_ends_the_login_is_told_as_such(way: Way, tmp_path: Path) -> None:
    class Rude(PasswordServer):
        def validate_password(self, username: str, password: str) -> bool:
            raise asyncssh.DisconnectError(asyncssh.DISC_BY_APPLICATION, "a text of the host's choice")

    acceptor = await Rude("").listen(run_by_shell, keygen(tmp_path / "host"))
    async with acceptor:
        known = [f"[{HOST}]:{acceptor.get_port()} {public(tmp_path / 'host')}"]
        told = await refusal(replace(way, port=acceptor.get_port(), key=None, password="word", known=known))
    assert told.code == "ssh_login_broken"
    assert "choice" not in str(told.problem())
