"""Files below a folder: what lies there is read, what lies elsewhere never, however names and links lead there."""

from __future__ import annotations

import errno
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from delegate.folder import MOST_FOLDERS, MOST_LINKS, FolderMissing, NotFile, Outside, TooLong, read_below

MOST = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the file `a` in it, beside the file `secret`."""
    (tmp_path / "secret").write_bytes(b"outside")
    made = tmp_path / "folder"
    made.mkdir()
    (made / "a").write_bytes(b"inside")
    return made


def read(folder: Path, path: str) -> bytes:
    return read_below(str(folder), path.split("/"), MOST)


def test_a_file_is_read_at_any_depth(folder: Path) -> None:
    (folder / "b" / "c").mkdir(parents=True)
    (folder / "b" / "c" / "d").write_bytes(b"deep")
    assert (read(folder, "a"), read(folder, "b/c/d")) == (b"inside", b"deep")


def test_links_within_the_folder_are_followed_as_kubernetes_mounts_files(folder: Path) -> None:
    (folder / "..2026_07_01").mkdir()
    (folder / "..2026_07_01" / "db").write_bytes(b"mounted")
    (folder / "..data").symlink_to("..2026_07_01")
    (folder / "db").symlink_to("..data/db")
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to("../db")
    (folder / "round").symlink_to("./sub//../sub/up")
    for path in ("db", "sub/up", "round"):
        assert read(folder, path) == b"mounted"


@pytest.mark.parametrize(
    "target", ["../secret", "/etc/hostname", "sub/../../secret", "..", "../folder/a", "/", "within"]
)
def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path, target: str) -> None:
    (folder / "sub").mkdir()
    (folder / "within").symlink_to("../folder/a")
    (folder / "link").symlink_to(target)
    (folder / "sub" / "link").symlink_to(f"../{target}")
    with pytest.raises(Outside):
        read(folder, "link")
    with pytest.raises((Outside, FileNotFoundError, NotFile)):
        read(folder, "sub/link")


def test_a_folder_that_is_a_link_out_of_it_is_refused(folder: Path) -> None:
    (folder / "out").symlink_to("..")
    (folder / "abs").symlink_to(str(folder.parent))
    for path in ("out/secret", "abs/secret", "out/folder/a"):
        with pytest.raises(Outside):
            read(folder, path)


def test_up_is_where_the_way_came_from_and_not_past_the_folder(folder: Path) -> None:
    with pytest.raises(Outside):
        read(folder, "../secret")
    with pytest.raises(FileNotFoundError):
        read(folder, "nowhere/../a")


def test_links_in_a_circle_or_in_a_long_row_end(folder: Path) -> None:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    for number in range(MOST_LINKS + 1):
        (folder / f"link{number}").symlink_to(f"link{number + 1}" if number < MOST_LINKS else "a")
    assert read(folder, "link1") == b"inside"
    for path in ("one", "link0"):
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            read(folder, path)


def test_a_link_that_leads_too_deep_ends(folder: Path) -> None:
    names = ["d"] * (MOST_FOLDERS + 1)
    (folder / Path(*names)).mkdir(parents=True)
    (folder / "deep").symlink_to("/".join([*names, "file"]))
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        read(folder, "deep")


def test_pipes_devices_and_folders_are_no_files_and_nothing_waits_for_them(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "null").symlink_to("/dev/null")
    (folder / "sub").mkdir()
    (folder / "up").symlink_to("sub/..")
    for path in ("pipe", "sub", "a/b", "up"):
        with pytest.raises(NotFile):
            read(folder, path)
    with pytest.raises(Outside):
        read(folder, "null")
    with pytest.raises(NotFile):
        read_below("/dev", ["null"], MOST)


def test_what_is_not_there_is_told_apart_from_a_folder_that_is_not_there(folder: Path) -> None:
    (folder / "dangling").symlink_to("nowhere")
    for path in ("b", "b/c", "dangling"):
        with pytest.raises(FileNotFoundError) as caught:
            read(folder, path)
        assert not isinstance(caught.value, FolderMissing)
    for missing in (folder / "b", folder / "a"):
        with pytest.raises(FolderMissing):
            read(missing, "a")


def test_no_more_is_read_than_is_allowed(folder: Path) -> None:
    (folder / "most").write_bytes(bytes(MOST))
    (folder / "more").write_bytes(bytes(MOST + 1))
    assert read(folder, "most") == bytes(MOST)
    with pytest.raises(TooLong):
        read(folder, "more")
    with pytest.raises((TooLong, NotFile)):
        # A file that says it is empty and isn't.
        read_below("/proc/self", ["environ"], 1) if Path("/proc/self/environ").exists() else read(folder, "more")


def test_descriptors_are_given_back_whatever_happens(folder: Path) -> None:
    (folder / "out").symlink_to("../secret")
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to("../a")
    # What tests before this one have left is closed whenever it is collected.
    gc.collect()
    before = set(os.listdir("/dev/fd"))  # noqa: PTH208 (numbers)
    for path in ("a", "sub/up", "out", "nowhere", "sub", "a/b"):
        try:
            read(folder, path)
        except (OSError, Outside, NotFile):
            pass
    assert set(os.listdir("/dev/fd")) == before  # noqa: PTH208 (numbers)


@pytest.fixture
def swapped(folder: Path) -> Iterator[Path]:
    """The name `moving` is a file, a folder with `a`, and links out of the folder, by turns and without a pause."""
    (folder / "safe").write_bytes(b"inside")
    (folder / "good").mkdir()
    (folder / "good" / "a").write_bytes(b"inside")
    (folder.parent / "bad").mkdir()
    (folder.parent / "bad" / "a").write_bytes(b"outside")
    over = threading.Event()

    def swap() -> None:
        at = 0
        while not over.is_set():
            at += 1
            target = ("good", "../bad", "../secret", "safe")[at % 4]
            (folder / "next").symlink_to(target)
            os.replace(folder / "next", folder / "moving")

    thread = threading.Thread(target=swap)
    thread.start()
    yield folder
    over.set()
    thread.join()


def test_swapping_links_while_they_are_looked_at_never_gives_what_lies_outside(swapped: Path) -> None:
    found: set[bytes] = set()
    rounds = 0
    # Whoever swaps may not have been at it yet, or not for a while.
    while rounds < 2000 or not found:
        rounds += 1
        for path in ("moving", "moving/a"):
            try:
                found.add(read(swapped, path))
            except (OSError, Outside, NotFile):
                pass
    assert found == {b"inside"}
