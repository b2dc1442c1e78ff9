"""An AWS on this machine for the demonstration: moto's server with a KMS key, a user and two roles.

Promises: listens on loopback only and ends with the demonstration. What it can't show is that AWS checks who may do what:
moto lets everybody do everything unless told otherwise; tests/contract hold the kinds against stricter servers.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from client.program import Program

REGION = "eu-central-1"
IDENTITY = {
    # The delegate's own identity, as its machine or container would have it.
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_EC2_METADATA_DISABLED": "true",
}

_TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}


class Aws:
    """Use as an async context manager; inside it the key, user and roles are there."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        server = str(Path(sys.executable).with_name("moto_server"))
        argv = [sys.executable, server, "-H", "127.0.0.1", "-p", str(self._port)]
        self._program = Program("moto's server", argv, folder / "aws.log", self._answers)
        self.key = self.access_key = self.secret_key = self.role = ""

    @property
    def url(self) -> str:
        """Where every service of it is asked."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Aws:
        await self._program.start()
        await asyncio.to_thread(self._populate)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._program.stop()

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        return True

    def _populate(self) -> None:
        kms, iam = self._client("kms"), self._client("iam")
        self.key = kms.create_key(Description="Privy Seal's demonstration")["KeyMetadata"]["Arn"]
        iam.create_user(UserName="privyseal")
        made = iam.create_access_key(UserName="privyseal")["AccessKey"]
        self.access_key, self.secret_key = made["AccessKeyId"], made["SecretAccessKey"]
        role = iam.create_role(RoleName="privyseal", AssumeRolePolicyDocument=json.dumps(_TRUST))
        self.role = role["Role"]["Arn"]

    def _client(self, service: str) -> Any:
        import botocore.session

        return botocore.session.Session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=IDENTITY["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=IDENTITY["AWS_SECRET_ACCESS_KEY"],
        )

    def connectors(self) -> dict[str, str]:
        """YAML of a connector for each credential type, by its identifier."""
        credentials = {
            "kms_manual": {"accessKey": "account.aws_access_key", "secretKey": "account.aws_secret_key"},
            "kms_iam": {"delegateSelectors": ["zone:a"]},
            "kms_sts": {"delegateSelectors": ["zone:b"], "roleArn": self.role, "externalName": "demonstration"},
            "kms_oidc": {"iamRoleArn": self.role},
        }
        types = dict(
            zip(credentials, ("ManualConfig", "AssumeIAMRole", "AssumeSTSRole", "OidcAuthentication"), strict=True)
        )
        return {
            name: json.dumps(
                {
                    "connector": {
                        "name": name,
                        "identifier": name,
                        "type": "AwsKms",
                        "spec": {
                            "credential": {"type": types[name], "spec": spec},
                            "kmsArnInPlainText": self.key,
                            "region": REGION,
                        },
                    }
                }
            )
            for name, spec in credentials.items()
        }
