"""The servers that tests stand on really start, serve what they are there for, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
import requests
from botocore.exceptions import ClientError
from botocore.utils import InstanceMetadataFetcher

from tests.fakes.authority import Authority
from tests.servers.emulators import MiniStack, Moto
from tests.servers.openbao import OpenBao
from tests.servers.process import Process

LISTENS = """
import signal, socket, sys
{trap}
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    server.accept()[0].close()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def is_running(pid: int) -> bool:
    """Whether it is there and hasn't ended, though nobody may have asked how yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def sockets_of(pid: int) -> list[str]:
    """Local addresses that a process listens on, as Linux writes them."""
    opened = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            opened.add(str(fd.readlink()))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in opened]


def test_a_server_answers_inside_and_is_gone_outside() -> None:
    with Process("listener", lambda port: [*python(LISTENS.format(trap="")), str(port)], listens) as server:
        pid, folder = server.pid, server.folder
        assert listens(server.port)
        assert server.output == "listening\n"
    assert is_gone(pid)
    assert not listens(server.port)
    assert not folder.exists()


def test_a_server_that_ignores_its_end_is_killed() -> None:
    code = LISTENS.format(trap="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    with Process("stubborn", lambda port: [*python(code), str(port)], listens, stop_seconds=0.2) as server:
        pid = server.pid
    assert is_gone(pid)


def test_what_a_server_started_ends_with_it() -> None:
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True);" + LISTENS.format(
        trap=""
    )
    with Process("parent", lambda port: [*python(code), str(port)], listens) as server:
        child = int(server.output.split()[0])
        os.kill(server.pid, signal.SIGKILL)
    # It was sent its end and comes to it as soon as it has the processor; then whoever is its parent now collects it.
    until = time.monotonic() + 30
    while is_running(child):
        assert time.monotonic() < until, "what the server started outlived it"
        time.sleep(0.01)


def test_a_server_that_does_not_start_says_why_and_leaves_nothing() -> None:
    started: list[int] = []

    def argv(port: int) -> list[str]:
        started.append(port)
        return python("print('no such option'); raise SystemExit(2)")

    server = Process("broken", argv, listens)
    with pytest.raises(RuntimeError, match="broken doesn't start:\nno such option"):
        server.__enter__()
    assert len(started) == 3
    assert not server.folder.exists()


def test_a_server_that_never_answers_is_given_up() -> None:
    pids: list[int] = []

    def answers(port: int) -> bool:
        pids.append(server.pid)
        return False

    server = Process("deaf", lambda _: ["sleep", "600"], answers, start_seconds=0.2)
    with pytest.raises(RuntimeError, match="deaf doesn't start"):
        server.__enter__()
    assert pids
    assert is_gone(pids[0])


def test_moto_wraps_checks_rights_when_told_and_forgets() -> None:
    with Moto() as aws:
        assert sockets_of(aws.pid) == [f"0100007F:{aws.port:04X}"]
        kms = aws.client("kms")
        key = kms.create_key()["KeyMetadata"]["Arn"]
        blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"a": "1"})["CiphertextBlob"]
        with pytest.raises(ClientError, match="InvalidCiphertext"):
            kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "2"})
        allowed = aws.user({"Effect": "Allow", "Action": "kms:DescribeKey", "Resource": "*"})
        with aws.enforcing():
            assert aws.client("kms", allowed).describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key
            with pytest.raises(ClientError):
                aws.client("kms", allowed).decrypt(CiphertextBlob=blob, EncryptionContext={"a": "1"})
        assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "1"})["Plaintext"] == b"x"
        aws.reset()
        assert kms.list_keys()["Keys"] == []


def test_ministack_checks_rights_signatures_and_the_metadata_token_on_loopback_alone() -> None:
    environ = {"SERVICES": "iam,kms,sts,ec2,imds", "MINISTACK_IMDS_V2_REQUIRED": "1"}
    with MiniStack(auth=True, environ=environ) as aws:
        assert sockets_of(aws.pid) == [f"0100007F:{aws.port:04X}"]
        allowed = aws.user({"Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*"})
        key = aws.client("kms", allowed).create_key()["KeyMetadata"]["Arn"]
        with pytest.raises(ClientError, match="AccessDenied"):
            aws.client("kms", allowed).describe_key(KeyId=key)
        with pytest.raises(ClientError, match="Signature"):
            aws.client("kms", (allowed[0], "another")).create_key()
        role = "/latest/meta-data/iam/security-credentials/"
        assert requests.get(aws.url + role, timeout=5).status_code == 401
        fetched = InstanceMetadataFetcher(base_url=aws.url + "/").retrieve_iam_role_credentials()
        assert fetched["access_key"]


@pytest.mark.parametrize("authority", [None, Authority()], ids=["http", "tls"])
def test_openbao_keeps_a_value_and_can_be_sealed(authority: Authority | None) -> None:
    with OpenBao(authority) as bao:
        assert {address.split(":")[0] for address in sockets_of(bao.pid)} == {"0100007F"}
        mount = bao.mount("kv", version="2")
        kv = bao.root.secrets.kv.v2
        kv.create_or_update_secret("a", {"b": "c"}, mount_point=mount)
        bao.seal()
        bao.unseal()
        assert kv.read_secret_version("a", mount_point=mount, raise_on_deleted_version=True)["data"]["data"] == {
            "b": "c"
        }
        if authority is not None:
            with pytest.raises(requests.exceptions.SSLError):
                requests.get(bao.address, timeout=5)
