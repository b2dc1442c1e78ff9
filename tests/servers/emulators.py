"""Emulators of AWS on loopback, one process each: moto for breadth, MiniStack for stages, policies and signatures.

    with Moto() as aws:                          # or MiniStack(), MiniStack(auth=True)
        aws.url                                  # every service is there
    with MiniStack(auth=True) as aws:
        key_id, key = aws.user({"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"})

Each keeps its state in memory and loses it with its process. What neither does is in docs/secret-managers.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import botocore.session
import pytest
import requests

START_SECONDS = 30.0
REGION = "us-east-1"
ROOT = ("test", "test")
"""The access key that may do everything."""

_MINISTACK = Path(__file__).parents[2] / "build" / "ministack" / "bin" / "python"


class Emulator:
    """A server process; its address is `url`."""

    def __init__(self, argv: list[str], environ: Mapping[str, str], health: str) -> None:
        self._argv = argv
        self._environ = environ
        self._health = health
        self._folder = tempfile.TemporaryDirectory(prefix="emulator-")
        self._process: subprocess.Popen[bytes] | None = None
        self._names = count(1)
        self.port = 0

    @property
    def url(self) -> str:
        """Where every service is asked."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.port = _free_port()
        folder = Path(self._folder.name)
        port = str(self.port)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [port if part == "PORT" else part for part in self._argv],
                stdout=log,
                stderr=log,
                cwd=folder,
                env={
                    "HOME": str(folder),
                    "TMPDIR": str(folder),
                    "PATH": "/usr/bin:/bin",
                    "GATEWAY_PORT": port,
                    **self._environ,
                },
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        self._folder.cleanup()

    def client(self, service: str, key: tuple[str, str] = ROOT) -> Any:
        """AWS's own library, as whoever has that access key."""
        return botocore.session.Session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
        )

    def user(self, *statements: Mapping[str, Any]) -> tuple[str, str]:
        """The access key of a new user who may do what these statements of a policy say."""
        iam, name = self.client("iam"), f"user-{next(self._names)}"
        iam.create_user(UserName=name)
        policy = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_user_policy(UserName=name, PolicyName="given", PolicyDocument=json.dumps(policy))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    def _wait(self) -> None:
        assert self._process is not None
        ends = time.monotonic() + START_SECONDS
        while True:
            try:
                if requests.get(self.url + self._health, timeout=5).status_code == 200:
                    return
            except requests.exceptions.ConnectionError:
                pass
            if self._process.poll() is not None or time.monotonic() > ends:
                log = (Path(self._folder.name) / "log").read_text()
                raise RuntimeError(f"the emulator doesn't start:\n{log[-2000:]}")
            time.sleep(0.05)


class Moto(Emulator):
    """moto's server, which checks no signatures and no policies."""

    def __init__(self) -> None:
        server = str(Path(sys.executable).with_name("moto_server"))
        super().__init__([sys.executable, server, "-H", "127.0.0.1", "-p", "PORT"], {}, "/moto-api/data.json")


class MiniStack(Emulator):
    """MiniStack; `auth` has it check signatures and policies as AWS does, `environ` are settings of its own."""

    def __init__(self, *, auth: bool = False, environ: Mapping[str, str] | None = None) -> None:
        if not _MINISTACK.exists():
            pytest.skip("MiniStack isn't there: make setup")
        given = {
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "iam,kms,secretsmanager,sts",
            "AUTH": "true" if auth else "false",
            "LOG_LEVEL": "WARNING",
            # Its other listeners bind all interfaces.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        }
        super().__init__([str(_MINISTACK), "-m", "ministack"], {**given, **(environ or {})}, "/_ministack/health")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
