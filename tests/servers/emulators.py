"""Emulators of AWS on loopback, one process each: moto for breadth, MiniStack for stages, policies and signatures.

    with Moto() as aws:                          # or MiniStack(), MiniStack(auth=True)
        aws.url                                  # every service is there
    with MiniStack(auth=True) as aws:
        key_id, key = aws.user({"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"})

Each keeps its state in memory and loses it with its process. What neither does is in docs/secret-managers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest import SkipTest

import botocore.session
import requests

from tests.servers.process import Process

CALL_SECONDS = 5.0
"""For one look at whether it answers; there is another."""

PATIENCE_SECONDS = 60.0
"""For what is asked once."""
REGION = "us-east-1"
ROOT = ("test", "test")
"""The access key that may do everything."""

_MINISTACK = Path(__file__).parents[2] / "build" / "ministack" / "bin" / "python"


class Emulator:
    """A server process; its address is `url`."""

    def __init__(
        self, name: str, argv: Callable[[int], Sequence[str]], environ: Mapping[str, str], health: str
    ) -> None:
        self._process = Process(name, argv, self._answers, lambda port: {"GATEWAY_PORT": str(port), **environ})
        self._health = health
        self._names = count(1)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self._process.port

    @property
    def pid(self) -> int:
        """Of the process, while it runs."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where every service is asked."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._process.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, traceback)

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

    def _answers(self, port: int) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}{self._health}", timeout=CALL_SECONDS).status_code == 200
        except requests.exceptions.RequestException:
            return False


class Moto(Emulator):
    """moto's server, which checks no signatures and no policies until it is told to."""

    def __init__(self) -> None:
        server = str(Path(sys.executable).with_name("moto_server"))
        super().__init__(
            "moto",
            lambda port: [sys.executable, server, "-H", "127.0.0.1", "-p", str(port)],
            {},
            "/moto-api/data.json",
        )

    def reset(self) -> None:
        """It forgets everything that was made there."""
        requests.post(f"{self.url}/moto-api/reset", timeout=PATIENCE_SECONDS).raise_for_status()

    @contextmanager
    def enforcing(self) -> Iterator[None]:
        """Meanwhile signatures and policies are checked; users and roles have to be there before."""
        self._let_pass("0")
        try:
            yield
        finally:
            self._let_pass("inf")

    def _let_pass(self, calls: str) -> None:
        requests.post(f"{self.url}/moto-api/reset-auth", data=calls, timeout=PATIENCE_SECONDS).raise_for_status()


class MiniStack(Emulator):
    """MiniStack; `auth` has it check signatures and policies as AWS does, `environ` are settings of its own."""

    def __init__(self, *, auth: bool = False, environ: Mapping[str, str] | None = None) -> None:
        if not _MINISTACK.exists():
            raise SkipTest("MiniStack isn't there: make setup")
        given = {
            "BIND_HOST": "127.0.0.1",
            "SERVICES": "iam,kms,secretsmanager,ssm,sts",
            "AUTH": "true" if auth else "false",
            "LOG_LEVEL": "WARNING",
            # Its other listeners bind all interfaces.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        }
        super().__init__(
            "ministack",
            lambda _: [str(_MINISTACK), "-m", "ministack"],
            {**given, **(environ or {})},
            "/_ministack/health",
        )
