"""The kind Pkcs11 against SoftHSM: what tokens refuse, tokens that go away and come back, libraries that hang or crash."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from delegate.credentials.refused import RefusedCredentials
from delegate.policy import LocalPolicy
from delegate.secret_managers.interface import Surroundings
from delegate.secret_managers.pkcs11 import KEY_BYTES, Pkcs11Keys
from delegate.zone import Zone
from shared.aad import Aad
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed, NotFound, NotReady, PrivySealError, Tampered, Unavailable
from tests.fakes.world import World
from tests.servers.softhsm import NAME, POLICY, SoftHsm, Token

PLACE, OTHER = Aad("store", "a", "k", n=1), Aad("store", "a", "k", n=2)
MECHANISMS = ["AES_GCM", "SHA256_HMAC"]


@pytest.fixture(scope="module")
def hsm() -> Iterator[SoftHsm]:
    with SoftHsm() as running:
        yield running


@pytest.fixture(scope="module")
def token(hsm: SoftHsm) -> Token:
    made = hsm.token()
    made.aes("main")
    made.mac("main")
    return made


@asynccontextmanager
async def keys(
    token: Token,
    *,
    pin: str | None = None,
    policy: str = POLICY,
    refused: RefusedCredentials | None = None,
    seconds: float = 30.0,
    **changes: Any,
) -> AsyncIterator[Pkcs11Keys]:
    world = World()
    spec: dict[str, Any] = {"library": NAME, "tokenLabel": token.label, "keyLabel": "main", "pin": "account.pin"}
    spec |= {"delegateSelectors": ["here"], **changes}
    document = world.connector_document("hsm", type="Pkcs11", spec=spec, secrets=("account.pin",))
    surroundings = Surroundings(
        Zone(world.keyring, world.book()),
        LocalPolicy.parse(policy, ["Pkcs11"]),
        secrets.token_bytes,
        call_seconds=seconds,
        refused=refused or RefusedCredentials(),
    )
    made = Pkcs11Keys(document, surroundings, {"account.pin": Plaintext((pin or token.pin).encode())})
    try:
        yield made
    finally:
        await made.close()


def process_of(found: Pkcs11Keys) -> int:
    """The id of the token's process."""
    process = found._session._process
    assert process is not None
    return process.pid


async def told(found: Pkcs11Keys, *hidden: str) -> PrivySealError:
    with pytest.raises(PrivySealError) as caught:
        await found.generate(PLACE)
    text = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    for one in hidden:
        assert one not in text
    return caught.value


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_wrapped_key_opens_at_its_place_and_at_no_other(token: Token, mechanism: str) -> None:
    async with keys(token, mechanism=mechanism) as found:
        await found.check()
        made = await found.generate(PLACE)
        assert made.key.reveal() not in made.wrapped
        assert await found.unwrap(made.key_name, made.wrapped, PLACE) == made.key
        for wrapped, place in (
            (made.wrapped, OTHER),
            (made.wrapped[:-1] + bytes([made.wrapped[-1] ^ 1]), PLACE),
            (bytes([made.wrapped[0] ^ 1]) + made.wrapped[1:], PLACE),
            (made.wrapped[:-1], PLACE),
            (made.wrapped + b"\0", PLACE),
            (b"", PLACE),
        ):
            with pytest.raises(Tampered) as caught:
                await found.unwrap(made.key_name, wrapped, place)
            assert caught.value.code == "decryption_failed"
        # What was refused has cost no login.
        assert await found.unwrap(made.key_name, made.wrapped, PLACE) == made.key


async def test_a_library_is_loaded_in_another_process_than_this(token: Token) -> None:
    async with keys(token) as found:
        await found.check()
        assert "softhsm" not in Path("/proc/self/maps").read_text()
        assert "softhsm" in Path(f"/proc/{process_of(found)}/maps").read_text() or os.geteuid()
        here = "import sys, delegate.secret_managers.pkcs11; sys.exit('pkcs11' in sys.modules)"
        assert (await asyncio.to_thread(subprocess.run, [sys.executable, "-c", here], check=False)).returncode == 0
        line = Path(f"/proc/{process_of(found)}/cmdline").read_bytes()
        assert token.pin.encode() not in line
        environ = Path(f"/proc/{process_of(found)}/environ")
        if os.geteuid() == 0:
            assert token.pin.encode() not in environ.read_bytes()
            assert b"PRIVYSEAL_" not in environ.read_bytes()


async def test_the_process_ends_with_its_manager(token: Token) -> None:
    async with keys(token) as found:
        await found.check()
        pid = process_of(found)
    await gone(pid)


async def gone(pid: int) -> None:
    async with asyncio.timeout(45):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


async def ended(pid: int) -> None:
    """Gone, or a zombie that nobody in this container reaps."""
    async with asyncio.timeout(45):
        while True:
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                return
            if state == "Z":
                return
            await asyncio.sleep(0.01)


async def test_a_wrong_pin_is_tried_once_whatever_asks(hsm: SoftHsm) -> None:
    token = hsm.token()
    token.aes("main")
    refused = RefusedCredentials()
    async with keys(token, pin="000000", refused=refused) as found:
        why = await told(found, "000000")
        assert (type(why), why.code) == (Denied, "pkcs11_pin_incorrect")
        assert found._session._process is None
        assert (await told(found, "000000")).code == "pkcs11_pin_refused"
    async with keys(token, pin="000000", refused=refused) as again:
        assert (await told(again, "000000")).code == "pkcs11_pin_refused"
        # Not even a process was started.
        assert again._session._process is None
    async with keys(token, refused=refused) as right:
        await right.check()


async def test_two_connectors_with_different_pins_do_not_use_each_others_login(token: Token) -> None:
    async with keys(token) as right, keys(token, pin="000000") as wrong:
        await right.check()
        assert (await told(wrong)).code == "pkcs11_pin_incorrect"
        await right.check()


async def test_a_pin_that_was_changed_is_told_and_the_new_one_taken(hsm: SoftHsm) -> None:
    token = hsm.token()
    token.aes("main")
    async with keys(token) as old:
        await old.check()
        token.change_pin("87654321")
        # Logged in, it goes on until it has to log in anew.
        await old.close()
        assert (await told(old)).code == "pkcs11_pin_incorrect"
    async with keys(token) as new:
        await new.check()


@pytest.mark.parametrize("pin", ["", " \n", "a\0b", "x" * 256])
async def test_what_can_be_no_pin_is_never_shown_to_the_token(token: Token, pin: str) -> None:
    async with keys(token, pin=pin or "\n") as found:
        why = await told(found)
        assert (type(why), why.code) == (Malformed, "pkcs11_pin_malformed")


async def test_a_pin_with_a_line_end_is_the_pin(token: Token) -> None:
    async with keys(token, pin=f"{token.pin}\n") as found:
        await found.check()


async def test_keys_and_tokens_that_are_not_there_are_told(token: Token) -> None:
    async with keys(token, keyLabel="nowhere") as found:
        why = await told(found)
        assert (type(why), why.code) == (NotFound, "pkcs11_key_missing")
    async with keys(token, tokenLabel="nowhere") as found:
        why = await told(found)
        assert (type(why), why.code) == (NotReady, "pkcs11_token_missing")
    async with keys(token, tokenSerial="0" * 16) as found:
        assert (await told(found)).code == "pkcs11_token_missing"
    async with keys(token, keyId="ff") as found:
        assert (await told(found)).code == "pkcs11_key_missing"


async def test_a_token_is_found_by_its_serial_number_and_a_key_by_its_id(hsm: SoftHsm) -> None:
    one, two = hsm.token("twins"), hsm.token()
    one.aes("main", "01")
    one.aes("main", "02")
    async with keys(one, tokenLabel=None, tokenSerial=one.serial, keyId="02") as found:
        await found.check()
    async with keys(one) as found:
        why = await told(found)
        assert (type(why), why.code) == (NotReady, "pkcs11_key_ambiguous")
    async with keys(two, tokenSerial=one.serial) as found:
        assert (await told(found)).code == "pkcs11_token_missing"


async def test_a_key_that_is_too_short_is_unfit(hsm: SoftHsm) -> None:
    token = hsm.token()
    token.aes("main", bits=128)
    async with keys(token) as found:
        why = await told(found)
        assert (type(why), why.code) == (Malformed, "pkcs11_key_unfit")


async def test_a_key_that_was_rotated_opens_as_a_previous_one(hsm: SoftHsm) -> None:
    token = hsm.token()
    token.aes("main")
    async with keys(token) as before:
        made = await before.generate(PLACE)
    token.aes("next", "02")
    async with keys(token, keyLabel="next", previousKeys=["main"]) as after:
        assert after.accepts(made.key_name)
        assert await after.unwrap(made.key_name, made.wrapped, PLACE) == made.key
        assert (await after.generate(PLACE)).key_name != made.key_name
    async with keys(token, keyLabel="next") as without:
        assert not without.accepts(made.key_name)


async def test_a_token_that_was_removed_is_told_and_used_again_once_it_is_back(hsm: SoftHsm) -> None:
    token = hsm.token()
    token.aes("main")
    async with keys(token) as found:
        made = await found.generate(PLACE)
        hsm.remove()
        try:
            why = await told(found)
            assert why.code in {"pkcs11_token_missing", "pkcs11_token_lost", "pkcs11_failed"}
        finally:
            hsm.insert()
        assert await found.unwrap(made.key_name, made.wrapped, PLACE) == made.key


async def test_a_key_that_was_deleted_meanwhile_is_told(hsm: SoftHsm) -> None:
    token = hsm.token()
    token.aes("main")
    async with keys(token) as found:
        made = await found.generate(PLACE)
        token.delete("main")
        with pytest.raises(NotFound) as caught:
            await found.unwrap(made.key_name, made.wrapped, PLACE)
        assert caught.value.code == "pkcs11_key_missing"


async def test_a_library_that_crashes_costs_a_process_and_no_answer(token: Token) -> None:
    async with keys(token) as found:
        made = await found.generate(PLACE)
        for _ in range(2):
            os.kill(process_of(found), 9)
            assert await found.unwrap(made.key_name, made.wrapped, PLACE) == made.key


async def test_a_library_that_does_not_come_back_is_ended_in_time(token: Token) -> None:
    async with keys(token, seconds=8.0) as found:
        made = await found.generate(PLACE)
        stopped = process_of(found)
        os.kill(stopped, 19)
        why = await told(found)
        assert (type(why), why.code) == (Unavailable, "pkcs11_slow")
        await gone(stopped)
        assert await found.unwrap(made.key_name, made.wrapped, PLACE) == made.key


async def test_who_gives_up_leaves_no_answer_for_the_next(token: Token) -> None:
    async with keys(token) as found:
        made = await found.generate(PLACE)
        for _ in range(3):
            os.kill(process_of(found), 19)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await found.unwrap(made.key_name, made.wrapped, OTHER)
            assert await found.unwrap(made.key_name, made.wrapped, PLACE) == made.key


async def test_many_at_once_wait_for_each_other(token: Token) -> None:
    async with keys(token) as found:
        made = await asyncio.gather(*(found.generate(Aad("store", "a", "k", n=at)) for at in range(50)))
        opened = await asyncio.gather(
            *(
                found.unwrap(one.key_name, one.wrapped, Aad("store", "a", "k", n=at))
                for at, one in reversed(list(enumerate(made)))
            )
        )
        assert opened == [one.key for one in reversed(made)]
        assert all(len(one) == KEY_BYTES for one in opened)


FORKING = """
#include <unistd.h>
#include <stdio.h>
__attribute__((constructor)) static void begin(void) {
  int child = fork();
  if (!child) for (;;) pause();
  FILE *told = fopen(WHERE, "w");
  fprintf(told, "%d", child);
  fclose(told);
}
"""
"""A driver that leaves a process of its own behind when it is loaded."""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler for a library that forks")
async def test_what_a_library_started_ends_with_its_process(token: Token, tmp_path: Path) -> None:
    where, library = tmp_path / "pid", tmp_path / "forks.so"
    (tmp_path / "forks.c").write_text(FORKING.replace("WHERE", f'"{where}"'))
    compiler = ["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "forks.c")]
    await asyncio.to_thread(subprocess.run, compiler, check=True, capture_output=True)
    async with keys(token, policy=f'[libraries]\n{NAME} = "{library}"\n') as found:
        assert (await told(found)).code == "pkcs11_library_unloadable"
    await ended(int(where.read_text()))


@pytest.mark.parametrize("path", ["/nowhere/lib.so", "/etc/passwd", "/lib/x86_64-linux-gnu/libc.so.6"])
async def test_a_library_that_is_none_is_told(token: Token, path: str) -> None:
    async with keys(token, policy=f'[libraries]\n{NAME} = "{path}"\n') as found:
        why = await told(found)
        assert (type(why), why.code) == (NotReady, "pkcs11_library_unloadable")
