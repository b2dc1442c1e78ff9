"""What is decided before a host is dialled: the host, the key file, the bundle, and the words of the command line."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.ssh import bundle_of, command_line
from shared.crypto.plaintext import Plaintext
from shared.errors import Denied, Malformed
from shared.ssh import unpack
from tests.fakes.ssh import Way


def way(**others: object) -> Way:
    return Way(**{"port": 22, "user": "deploy", "key": b"key", **others})  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["root@db", "-oProxyCommand=id", "db:22", "db;id", "fe80::1%lo", ""])
def test_what_is_more_than_a_host_is_refused_before_anything_is_dialled(host: str) -> None:
    with pytest.raises(Malformed) as refused:
        way(host=host).target()
    assert refused.value.code == "ssh_host_malformed"


@pytest.mark.parametrize(
    ("host", "policy"),
    [("db.example.com", 'hosts = ["other.example.com"]'), ("::1", "hosts = []"), ("169.254.169.254", "")],
)
def test_a_host_that_the_local_policy_forbids_is_refused_with_its_rule(host: str, policy: str) -> None:
    with pytest.raises(Denied) as refused:
        way(host=host, policy=policy).target()
    assert (refused.value.code, refused.value.facts["rule"]) == ("local_policy", "hosts")


def test_an_address_of_version_6_may_be_a_host() -> None:
    way(host="2001:db8::5", policy='hosts = ["2001:db8::5"]').target()


def test_a_key_file_that_the_local_policy_does_not_name_is_refused() -> None:
    for policy in ("", 'files = ["/etc/privyseal/other"]'):
        with pytest.raises(Denied) as refused:
            way(key_path=Path("/etc/privyseal/id"), policy=policy).target()
        assert (refused.value.code, refused.value.facts["rule"]) == ("local_policy", "files")
    way(key_path=Path("/etc/privyseal/id"), policy='files = ["/etc/privyseal/*"]').target()


def test_a_bundle_holds_the_values_that_the_spec_names() -> None:
    spec = {
        "auth": {"type": "SSH", "spec": {"credentialType": "Password", "spec": {"userName": "u", "password": "org.p"}}}
    }
    bundle = bundle_of(spec, {"org.p": Plaintext(b"word")})
    assert unpack(bundle.reveal()).values == {"org.p": b"word"}
    with pytest.raises(Malformed):
        bundle_of(spec, {})


@given(st.lists(st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"])), max_size=4))
def test_every_word_reaches_the_program_as_it_is(words: list[str]) -> None:
    line = command_line(["printf", "%s|", *words], "")
    done = subprocess.run(["/bin/sh", "-c", line], check=True, capture_output=True)
    assert done.stdout.split(b"\n", 2)[2].decode() == "".join(f"{word}|" for word in words or [""])


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_directory_is_no_code(shell: str, tmp_path: Path) -> None:
    strange = tmp_path / "$(touch x) '; touch y; '"
    strange.mkdir()
    done = subprocess.run([shell, "-c", command_line(["pwd"], str(strange))], check=True, capture_output=True)
    assert done.stdout.decode().split("\n")[2] == str(strange)
    assert list(strange.iterdir()) == []


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_program_on_a_host_leaves_no_core_file_with_its_values(shell: str) -> None:
    line = command_line(["/bin/sh", "-c", "ulimit -c"], "")
    done = subprocess.run([shell, "-c", f"ulimit -S -c unlimited; {line}"], check=True, capture_output=True)
    assert done.stdout.split()[-1] == b"0"


def test_the_command_line_is_one_word_after_another_and_has_no_line_end() -> None:
    line = command_line(["bash", "-c", 'eval "$(cat)"'], "/srv")
    words = shlex.split(line)
    assert words[:3] == ["exec", "/bin/sh", "-c"]
    assert words[4:] == ["privyseal", "privyseal-started", "/srv", "bash", "-c", 'eval "$(cat)"']
    assert "\n" not in line and "'" not in words[3]


@pytest.mark.parametrize("argv", [[], [""], ["-c"], ["a", "b\0"], ["a", "b\nc"]])
def test_a_program_without_a_name_or_with_lines_in_its_words_is_refused(argv: list[str]) -> None:
    with pytest.raises(Malformed) as refused:
        command_line(argv, "")
    assert refused.value.code == "ssh_program_malformed"


@pytest.mark.parametrize("directory", ["tmp", "~", "-", "/a\n/b", "/a\0", "/" + "a" * 4096])
def test_a_directory_that_is_no_absolute_path_is_refused(directory: str) -> None:
    with pytest.raises(Malformed) as refused:
        command_line(["true"], directory)
    assert refused.value.code == "ssh_directory_malformed"
