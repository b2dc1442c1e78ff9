"""`privyseal init` and everything that is typed at a terminal: nothing is lost, whatever fails on the way."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from client.ports import HeldPorts
from client.program import clean_environment
from tests.integration.installation import SCRIPT, Desk, Installation

PATIENCE_SECONDS = 30.0


def token(installation: Installation, folder: Path) -> str:
    """The path of a file with a fresh one-time token."""
    database = f"sqlite:///{installation.folder / 'manager.db'}"
    done = subprocess.run(
        [str(SCRIPT.with_name("privyseal-manager")), "account", "add", "--database", database],
        capture_output=True,
        check=True,
        timeout=60,
        env=clean_environment(os.environ),
    )
    path = folder / "token"
    path.write_bytes(done.stdout)
    return str(path)


def url(installation: Installation) -> str:
    return str(installation.data("context", "show")["manager"])


def flags(folder: Path, name: str) -> list[str]:
    return [
        *("--name", name, "--i-have-a-backup", "--no-passphrase"),
        *("--recovery-out", str(folder / "recovery.txt")),
        *("--root-out", str(folder / "root.pem")),
        *("--keyring-out", str(folder / "keyring.json")),
    ]


def test_an_account_is_made_and_its_keys_are_private(installation: Installation, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "home")
    made = desk.data(
        "init", "--manager", url(installation), "--token-file", token(installation, tmp_path), *flags(tmp_path, "mine")
    )
    shown = desk.data("account", "show")
    assert shown["account"] == made["account"]
    assert shown["you_administer"] is True
    assert len(shown["root_keys"]) == 2
    for name in ("root.pem", "recovery.txt", "keyring.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    refused = desk.run("secret", "set", "account.x", "--from-stdin", given=b"x")
    assert refused.status == 7
    assert "no delegate is connected" in refused.err
    doctor = desk.run("doctor", "-o", "json")
    assert doctor.status == 1
    assert [one["subject"] for one in doctor.json if one["level"] == "fail"] == ["delegates of main"]


def test_a_token_works_once(installation: Installation, tmp_path: Path) -> None:
    path = token(installation, tmp_path)
    for name, status in (("first", 0), ("second", 3)):
        folder = tmp_path / name
        folder.mkdir()
        result = Desk(folder / "home").run(
            "init", "--manager", url(installation), "--token-file", path, *flags(folder, name)
        )
        assert result.status == status, result.err
    assert "--resume" in result.err


def test_an_init_that_failed_goes_on_with_the_same_keys(installation: Installation, tmp_path: Path) -> None:
    desk, held = Desk(tmp_path / "home"), HeldPorts()
    dead = f"http://127.0.0.1:{held.take(1)[0]}"
    (tmp_path / "token").write_text("wrong\n")
    failed = desk.run("init", "--manager", dead, "--token-file", str(tmp_path / "token"), *flags(tmp_path, "later"))
    assert failed.status == 9
    assert "--resume" in failed.err
    keyring, founding = (tmp_path / "keyring.json").read_bytes(), tmp_path / "home" / "founding" / "later.json"
    again = desk.run("init", "--manager", dead, "--token-file", str(tmp_path / "token"), *flags(tmp_path, "later"))
    assert again.status == 2
    # The manager is back, here under its own address.
    founding.write_text(founding.read_text().replace(dead, url(installation)))
    resume = ("init", "--resume", "--name", "later", "--i-have-a-backup", "--token-file")
    assert desk.run(*resume, str(tmp_path / "token")).status == 3
    made = desk.data(*resume, token(installation, tmp_path))
    assert (tmp_path / "keyring.json").read_bytes() == keyring
    assert made["account"].encode() in keyring
    assert not founding.exists()
    assert desk.run(*resume, str(tmp_path / "token")).status == 7
    held.let_go()


def test_nothing_is_made_where_nobody_can_confirm(installation: Installation, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "home")
    for left_out in ("--i-have-a-backup", "--recovery-out"):
        given = flags(tmp_path, "quiet")
        at = given.index(left_out)
        del given[at : at + (1 if left_out == "--i-have-a-backup" else 2)]
        refused = desk.run("init", "--manager", url(installation), "--token-file", "/nowhere", *given)
        assert refused.status == 7
        assert left_out in refused.err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused_before_anything_is_made(installation: Installation, tmp_path: Path) -> None:
    refused = installation.run("init", "--manager", url(installation), "--token-file", "x", *flags(tmp_path, "dev"))
    assert refused.status == 2
    assert list(tmp_path.iterdir()) == []


class Terminal:
    """A person at a terminal: reads what is shown and types."""

    def __init__(self, desk: Desk, folder: Path, *arguments: str) -> None:
        self._main, other = pty.openpty()
        self.process = subprocess.Popen(
            [str(SCRIPT), *arguments],
            stdin=other,
            stdout=other,
            stderr=other,
            cwd=folder,
            start_new_session=True,
            env={**os.environ, "PRIVYSEAL_HOME": str(desk.home), "TERM": "dumb"},
        )
        os.close(other)
        self.shown, self.before = "", ""

    def until(self, pattern: str) -> re.Match[str]:
        """Waits until it is shown, after what was waited for before."""
        until = time.monotonic() + PATIENCE_SECONDS
        while (found := re.search(pattern, self.shown)) is None:
            assert time.monotonic() < until, self.shown
            if select.select([self._main], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._main, 65_536).decode("utf-8", "replace")
                except OSError:
                    pytest.fail(f"it ended: {self.shown}")
        self.before += self.shown[: found.end()]
        self.shown = self.shown[found.end() :]
        return found

    def type(self, line: str) -> None:
        """A line, with Return."""
        os.write(self._main, f"{line}\n".encode())

    def end(self) -> tuple[int, str]:
        """Its exit status and what else it showed."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            if not select.select([self._main], [], [], 0.1)[0]:
                continue
            try:
                self.shown += os.read(self._main, 65_536).decode("utf-8", "replace")
            except OSError:
                # On Linux the terminal's last user leaving reads as EIO.
                break
        os.close(self._main)
        return self.process.wait(PATIENCE_SECONDS), self.shown


@pytest.fixture
def at(tmp_path: Path) -> Callable[..., Terminal]:
    return lambda desk, *arguments: Terminal(desk, tmp_path, *arguments)


def test_the_recovery_key_is_shown_once_and_confirmed_by_its_last_group(
    installation: Installation, tmp_path: Path, at: Callable[..., Terminal]
) -> None:
    desk = Desk(tmp_path / "home")
    secret = token(installation, tmp_path)
    terminal = at(desk, "init", "--manager", url(installation), "--name", "typed")
    terminal.until("One-time token")
    terminal.type(Path(secret).read_text().strip())
    terminal.until("Passphrase for the new identity")
    terminal.type("correct horse")
    terminal.until("Once more")
    terminal.type("correct horse")
    key = terminal.until(r"PSR1(-[A-Z2-7]{4}){14}")[0]
    terminal.until("last group")
    terminal.type("WRONG")
    terminal.until("last group")
    terminal.type(key[-4:].lower())
    terminal.until("backup of it in a safe place")
    terminal.type("y")
    terminal.until("The account typed is made")
    status, shown = terminal.end()
    assert status == 0
    assert (terminal.before + shown).count(key) == 1
    assert "ENCRYPTED" in (desk.home / "identities" / "default.pem").read_text()
    assert (tmp_path / "typed-root.pem").exists()
    assert (tmp_path / "typed-keyring-main.json").exists()


def test_a_value_is_typed_twice_and_never_shown(installation: Installation, at: Callable[..., Terminal]) -> None:
    terminal = at(installation, "secret", "set", "account.typed")
    terminal.until("Value")
    terminal.type("hunter2-typed")
    terminal.until("Once more")
    terminal.type("hunter2-mistyped")
    terminal.until("Value")
    terminal.type("hunter2-typed")
    terminal.until("Once more")
    terminal.type("hunter2-typed")
    terminal.until("made typed in account, version 1")
    status, shown = terminal.end()
    assert status == 0
    assert "hunter2" not in terminal.before + shown
    assert installation.ok("reveal", "account.typed").out == b"hunter2-typed"


def test_a_terminal_gets_a_line_break_and_no_bytes_that_garble_it(
    installation: Installation, at: Callable[..., Terminal]
) -> None:
    installation.ok("secret", "set", "account.shown", "--from-stdin", given=b"a line")
    installation.ok("secret", "set", "account.garbled", "--from-stdin", given=b"\x1b[2J\x00")
    terminal = at(installation, "reveal", "account.shown")
    terminal.until("a line\r\n")
    assert terminal.end()[0] == 0
    terminal = at(installation, "reveal", "account.garbled")
    terminal.until("--out FILE")
    status, shown = terminal.end()
    assert status == 2
    assert "\x1b[2J" not in shown


def test_a_delete_that_is_not_confirmed_changes_nothing(
    installation: Installation, at: Callable[..., Terminal]
) -> None:
    installation.ok("secret", "set", "account.spared", "--from-stdin", given=b"x")
    terminal = at(installation, "secret", "delete", "account.spared")
    terminal.until("Delete spared in account with all 1 versions")
    terminal.type("n")
    terminal.until("nothing was changed")
    assert terminal.end()[0] == 2
    assert installation.ok("reveal", "account.spared").out == b"x"
