"""The client's folder: private, replaced whole, and one writer at a time."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from client.home import Home, read_private, write_private
from shared.errors import Denied, Malformed, NotReady


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_named_by_flag_then_variable_then_custom(tmp_path: Path) -> None:
    environ = {"PRIVYSEAL_HOME": str(tmp_path / "b"), "XDG_CONFIG_HOME": str(tmp_path / "c")}
    assert Home.find(environ, str(tmp_path / "a")).root == tmp_path / "a"
    assert Home.find(environ).root == tmp_path / "b"
    del environ["PRIVYSEAL_HOME"]
    assert Home.find(environ).root == tmp_path / "c" / "privyseal"
    assert Home.find({}).root == Path.home() / ".config" / "privyseal"


def test_folders_and_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    path = home.write(b"x", "one", "two", "file")
    assert mode(path) == 0o600
    assert [mode(folder) for folder in (path.parent, path.parent.parent, home.root)] == [0o700] * 3


def test_a_file_is_replaced_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.write(b"old", "file")
    home.write(b"new", "file")
    assert home.read("file") == b"new"
    assert [one.name for one in home.root.iterdir()] == ["file"]


def test_what_must_be_written_once_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    write_private(path, b"first", once=True)
    with pytest.raises(Malformed, match="not overwritten"):
        write_private(path, b"second", once=True)
    assert path.read_bytes() == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["root.pem"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Denied, match="can't be written"):
        write_private(tmp_path / "nowhere" / "file", b"x")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"secret")
    assert read_private(path, "key") == b"secret"
    path.chmod(0o640)
    with pytest.raises(Denied, match="may be read by others") as caught:
        read_private(path, "key")
    assert "chmod 600" in caught.value.hint
    with pytest.raises(NotReady):
        read_private(tmp_path / "missing", "key")


def test_a_second_writer_waits_until_the_first_has_left(tmp_path: Path) -> None:
    home, order = Home(tmp_path / "home"), list[str]()
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with home.lock("file.json"):
            order.append("second")

    thread = threading.Thread(target=second)
    with home.lock("file.json"):
        thread.start()
        assert entered.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_folder_in_the_place_of_a_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir(mode=0o700)
    with pytest.raises(Malformed, match="is a folder"):
        read_private(tmp_path / "key", "key")


def test_the_first_two_writers_of_a_new_folder_do_not_both_enter(tmp_path: Path) -> None:
    """Each of them may find no lock file: whoever makes it second must not replace what the first one has locked."""
    for attempt in range(25):
        home, inside, most = Home(tmp_path / str(attempt)), list[int](), list[int]()
        together = threading.Barrier(6)

        def write(home: Home, inside: list[int], most: list[int], together: threading.Barrier) -> None:
            together.wait(10)
            for _ in range(3):
                with home.lock("file.json"):
                    inside.append(1)
                    most.append(len(inside))
                    home.write(b"x", "file.json")
                    inside.pop()

        threads = [threading.Thread(target=write, args=(home, inside, most, together)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert most == [1] * 18


def test_a_lock_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.write(b"x", "file.json")
    (home.root / "file.lock").mkdir()
    with pytest.raises(Denied, match="can't be written"), home.lock("file.json"):
        pass
