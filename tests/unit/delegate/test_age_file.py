"""Files of age: what is wrong with a file, an identity or a folder is told as what it is, and gives no value."""

from __future__ import annotations

import errno
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as held
from hypothesis import strategies as st

from delegate.policy import LocalPolicy
from delegate.secret_managers.age_file import (
    CHECKED,
    LARGEST_FILE,
    MOST_IDENTITIES,
    AgeFile,
    _check_header,
    _decrypted,
    _file_error,
)
from delegate.secret_managers.interface import SecretVersion, Surroundings
from delegate.zone import Zone
from shared.canonical import digest
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, NotReady, PrivySealError, Tampered, Unavailable
from tests.fakes.age import age_file, armored, new_identity
from tests.fakes.world import World

RECIPIENT, IDENTITY = new_identity()


class Stage:
    """A folder, a policy and an identity; managers of the kind over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = IDENTITY.encode()
        self.policy = f'files = ["{folder}/*"]'
        self.world = World()
        self.seconds: float = 15
        self.opened: list[AgeFile] = []

    def manager(self) -> AgeFile:
        spec = {"directory": str(self.folder), "identity": "account.key", "delegateSelectors": ["here"]}
        connector = self.world.connector_document("age", type="AgeFile", spec=spec, secrets=("account.key",))
        surroundings = Surroundings(
            Zone(self.world.keyring, self.world.book()),
            LocalPolicy.parse(self.policy, ["AgeFile"]),
            bytes,
            call_seconds=self.seconds,
        )
        self.opened.append(AgeFile(connector, surroundings, {"account.key": Plaintext(self.identity)}))
        return self.opened[-1]

    async def read(self, reference: str, **document: Any) -> bytes:
        """What a secret with that reference has."""
        secret = self.world.secret_document("password", "org/acme", reference=reference, **document)
        place = self.world.place(self.world.sign(secret, self.world.administrator), 1, digest("task"))
        manager = self.manager()
        version = SecretVersion(secret, self.world.connector.document, 1, place)
        stored = await manager.store(version, Plaintext(b""))
        return (await manager.fetch(version, stored)).reveal()

    async def refusal(self, reference: str, kind: type[PrivySealError], **document: Any) -> str:
        """The code of the error that reading gives."""
        with pytest.raises(kind) as caught:
            await self.read(reference, **document)
        assert type(caught.value) is kind and (caught.value.hint or kind is NotFound)
        assert IDENTITY not in f"{caught.value.detail} {caught.value.hint}"
        return caught.value.code


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    folder = tmp_path / "age"
    folder.mkdir()
    made = Stage(folder)
    yield made
    for one in made.opened:
        await one.close()


def put(stage: Stage, name: str, content: bytes) -> None:
    path = stage.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# ---- files


async def test_binary_and_armored_files_are_read_at_any_depth(stage: Stage) -> None:
    put(stage, "a.age", age_file(b"binary", RECIPIENT))
    put(stage, "payments/db prod.age", armored(age_file(b'{"password": "text"}', RECIPIENT)))
    assert await stage.read("a.age") == b"binary"
    assert await stage.read("payments/db prod.age#password") == b"text"


async def test_a_file_for_several_recipients_opens_with_one_of_several_identities(stage: Stage) -> None:
    other, others = new_identity()
    put(stage, "a.age", age_file(b"both", other, RECIPIENT))
    put(stage, "b.age", age_file(b"other", other))
    stage.identity = f"# created: today\n\n{IDENTITY}\r\n  {others}\n".encode()
    assert (await stage.read("a.age"), await stage.read("b.age")) == (b"both", b"other")


async def test_a_file_for_somebody_else_says_so(stage: Stage) -> None:
    put(stage, "a.age", age_file(b"x", new_identity()[0]))
    assert await stage.refusal("a.age", Denied) == "age_other_recipient"


async def test_what_was_altered_or_cut_off_gives_no_value(stage: Stage) -> None:
    good = age_file(secrets.token_bytes(100_000), RECIPIENT)
    header = good.index(b"\n---")
    for content in (
        good[:-1],
        good[: header + 70],
        good[:-34_500],
        good + b"x",
        good[:-1] + bytes([good[-1] ^ 1]),
        good[: header + 6] + b"AAAA" + good[header + 10 :],
    ):
        put(stage, "a.age", content)
        assert await stage.refusal("a.age", Tampered) == "age_tampered"
        put(stage, "a.age", armored(content))
        assert await stage.refusal("a.age", Tampered) == "age_tampered"


async def test_what_is_no_file_of_age_says_so(stage: Stage) -> None:
    for content in (
        b"",
        b"hunter2",
        b"age-encryption.org/v2\n",
        b"\x00" * 100,
        b"-----BEGIN AGE ENCRYPTED FILE-----\n",
    ):
        put(stage, "a.age", content)
        assert await stage.refusal("a.age", Malformed) == "age_malformed"
    put(stage, "a.age", b"-----BEGIN AGE ENCRYPTED FILE-----\n!!!!\n-----END AGE ENCRYPTED FILE-----\n")
    assert await stage.refusal("a.age", Malformed) == "age_malformed"


async def test_a_header_that_is_cut_off_or_too_long_to_work_on_is_refused(stage: Stage) -> None:
    good = age_file(b"x", RECIPIENT)
    many = age_file(b"x", RECIPIENT, stanzas=["-> X25519 " + "A" * 43, "A" * 43] * 1_000)
    for content in (good[:30], good[: good.index(b"\n---")], many, armored(many)):
        put(stage, "a.age", content)
        assert await stage.refusal("a.age", Malformed) == "age_header_malformed"


async def test_a_file_with_a_passphrase_is_refused_before_any_work(stage: Stage) -> None:
    made = age_file(b"x", RECIPIENT, stanzas=["-> scrypt bBjlhJVYZeE4aqUdmtRHfw 22", "A" * 43])
    for content in (made, armored(made)):
        put(stage, "a.age", content)
        assert await stage.refusal("a.age", Malformed) == "age_passphrase"


async def test_links_out_of_the_folder_pipes_and_folders_are_refused(stage: Stage) -> None:
    (stage.folder.parent / "out.age").write_bytes(age_file(b"outside", RECIPIENT))
    (stage.folder / "link.age").symlink_to("../out.age")
    (stage.folder / "round.age").symlink_to("round.age")
    os.mkfifo(stage.folder / "pipe.age")
    (stage.folder / "sub.age").mkdir()
    for name in ("link.age", "round.age"):
        assert await stage.refusal(name, Denied) == "age_link_refused"
    for name in ("pipe.age", "sub.age"):
        assert await stage.refusal(name, Malformed) == "age_not_file"


@pytest.mark.parametrize(
    "path", ["../out.age", "a/../../out.age", "/etc/passwd", "./a.age", "a//b", "a\nb.age", "a.age/"]
)
async def test_a_reference_that_climbs_is_refused_before_anything_is_opened(stage: Stage, path: str) -> None:
    (stage.folder.parent / "out.age").write_bytes(age_file(b"outside", RECIPIENT))
    assert await stage.refusal(path, Malformed) == "path_malformed"


async def test_the_local_policy_decides_over_each_file(stage: Stage) -> None:
    put(stage, "a.age", age_file(b"a", RECIPIENT))
    put(stage, "b.age", age_file(b"b", RECIPIENT))
    stage.policy = f'files = ["{stage.folder}/a.age"]'
    assert await stage.read("a.age") == b"a"
    assert await stage.refusal("b.age", Denied) == "local_policy"
    await stage.manager().check()
    for policy in ("", f'files = ["{stage.folder}"]', f'files = ["{stage.folder}b/*"]'):
        stage.policy = policy
        assert await stage.refusal("a.age", Denied) == "local_policy"
        with pytest.raises(Denied) as caught:
            await stage.manager().check()
        assert caught.value.code == "local_policy" and caught.value.facts["rule"] == "files"


async def test_a_missing_file_a_long_one_and_metadata_are_told(stage: Stage) -> None:
    with (stage.folder / "long.age").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    assert await stage.refusal("nowhere.age", NotFound) == "age_missing"
    assert await stage.refusal("long.age", Malformed) == "value_too_large"
    assert await stage.refusal("long.age", Malformed, metadata={"version": "1"}) == "metadata_unknown"


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.EACCES, Denied, "age_unreadable"),
        (errno.ENOENT, NotFound, "age_missing"),
        (errno.ENOTDIR, NotFound, "age_missing"),
        (errno.ELOOP, Denied, "age_link_refused"),
        (errno.ENAMETOOLONG, Denied, "age_link_refused"),
        (errno.EIO, Unavailable, "age_unavailable"),
        (errno.ESTALE, Unavailable, "age_unavailable"),
        (errno.EMFILE, Unavailable, "age_unavailable"),
    ],
)
def test_what_the_system_says_of_a_file_has_its_error(number: int, kind: type[PrivySealError], code: str) -> None:
    # Built as the system's calls build it: root, who runs some tests, is refused nothing.
    found = _file_error(OSError(number, os.strerror(number)), "/srv/age/a.age")
    assert (type(found), found.code) == (kind, code) and "/srv/age/a.age" in found.detail


async def test_a_folder_that_is_not_there_is_this_delegates_lack(stage: Stage) -> None:
    stage.folder.rmdir()
    assert await stage.refusal("a.age", NotReady) == "age_directory_missing"
    with pytest.raises(NotReady):
        await stage.manager().check()


async def test_a_file_system_that_does_not_answer_is_given_up(stage: Stage) -> None:
    put(stage, "a.age", age_file(b"a", RECIPIENT))
    stage.seconds = 0
    assert await stage.refusal("a.age", Unavailable) == "age_slow"


# ---- identities


def ssh_key(folder: Path, *arguments: str) -> tuple[bytes, str]:
    """A private key of `ssh-keygen`, and its public line."""
    path = folder / f"key{secrets.token_hex(4)}"
    subprocess.run(["ssh-keygen", "-q", "-f", str(path), *arguments], check=True, stdin=subprocess.DEVNULL)
    return path.read_bytes(), path.with_suffix(".pub").read_text()


@pytest.mark.parametrize("kind", [("-t", "ed25519"), ("-t", "rsa", "-b", "2048")], ids=["ed25519", "rsa"])
async def test_ssh_keys_decrypt_beside_identities_of_age(stage: Stage, tmp_path: Path, kind: tuple[str, ...]) -> None:
    import pyrage  # type: ignore[import-untyped]

    private, public = ssh_key(tmp_path, *kind, "-N", "")
    put(stage, "a.age", pyrage.encrypt(b"by ssh", [pyrage.ssh.Recipient.from_str(public)]))
    put(stage, "b.age", age_file(b"by age", RECIPIENT))
    for identity in (private + IDENTITY.encode(), f"{IDENTITY}\n".encode() + private):
        stage.identity = identity
        assert (await stage.read("a.age"), await stage.read("b.age")) == (b"by ssh", b"by age")


async def test_an_ssh_key_with_a_passphrase_says_what_to_do(stage: Stage, tmp_path: Path) -> None:
    stage.identity = ssh_key(tmp_path, "-t", "ed25519", "-N", "correct horse")[0]
    with pytest.raises(Malformed) as caught:
        await stage.manager().check()
    assert caught.value.code == "age_identity_locked" and "ssh-keygen -p" in caught.value.hint


@pytest.mark.parametrize(
    "identity",
    [
        b"",
        b"# only a comment\n",
        b"hunter2",
        b"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        IDENTITY[:-1].encode(),
        f"{IDENTITY}\nhunter2".encode(),
        b"AGE-PLUGIN-YUBIKEY-1QYPQXPQ9QCRSSZG2PVXQ6RS0ZQG3YYC5Z5TPWXQERGD3C8G7RUSQJLJ2Q8",
        "AGE-SECRET-KEY-1\u00e4".encode(),
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
        f"{IDENTITY}\n".encode() * (MOST_IDENTITIES + 1),
        f"{IDENTITY}\n".encode() + b"#" * 70_000,
        b"\xff\x00",
    ],
    ids=lambda identity: str(len(identity)),
)
async def test_what_is_no_identity_is_refused_without_repeating_it(stage: Stage, identity: bytes) -> None:
    stage.identity = identity
    with pytest.raises(Malformed) as caught:
        await stage.manager().check()
    assert caught.value.code == "age_identity_malformed"
    told = f"{caught.value.detail} {caught.value.hint}"
    assert "account.key" in told and "hunter2" not in told and IDENTITY not in told
    assert caught.value.__cause__ is None and caught.value.__context__ is None


async def test_a_check_reads_no_file(stage: Stage) -> None:
    await stage.manager().check()
    os.mkfifo(stage.folder / "other.age")
    await stage.manager().check()
    # Whatever has the name that is asked for needn't be readable.
    put(stage, CHECKED, b"whatever")
    await stage.manager().check()


# ---- garbage


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda one: age_file(b"x", RECIPIENT)[:-20] + one))
@held(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_garbage_is_malformed_tampered_or_somebody_elses(content: bytes) -> None:
    for one in (content, armored(content)):
        try:
            _check_header(one, "a.age")
            found = _decrypted(one, [], "a.age")
        except (Malformed, Tampered, Denied):
            continue
        raise AssertionError(found)
