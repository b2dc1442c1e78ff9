"""Figure 5: what an idle delegate costs the manager in memory, over TLS.

A swarm in another process opens one TLS connection and stream for each of 1,000 delegates, each with a certificate signed
by the keyring, the whole hello, credit, and heartbeats both ways. Counted: resident bytes (smaps_rollup) of the manager
once they have settled, less those with the first twenty connected (which load what is loaded once), for each of the
others. Floor: the same for a bare grpc.aio server over TLS, same settings, same event loop, streams that were opened and
do nothing. The figure is the difference of the two.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.bench.child import Child, Unmeasured, free_port, listens
from tests.bench.report import Row, against_value, info
from tests.bench.rig import BUILD, Rig
from tests.bench.swarm import swarming

FIRST = 20
KILOBYTE = 1_000


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    count = 300 if quick else 1000
    BUILD.mkdir(exist_ok=True)
    tls = certificate(BUILD.absolute() / "bench-tls.crt", BUILD.absolute() / "bench-tls.key")
    async with Rig(tls) as rig:
        assert rig.manager is not None
        ours = await _growth(rig, "delegates", rig.manager, rig.delegate_origin, count)
        port = free_port()
        bare = Child(["tests.bench.bare_tls", str(port), *map(str, tls)], rig.folder / "bare.log")
        try:
            await bare.until(lambda: listens(port), "listening")
            floor = await _growth(rig, "bare", bare, f"https://127.0.0.1:{port}", count)
        finally:
            await bare.stop()
    return [
        against_value(
            "manager: memory for an idle delegate, beyond a bare stream", (ours - floor) / KILOBYTE, "KB", 25, "at most"
        ),
        info("manager: memory for an idle delegate, TLS", ours / KILOBYTE, "KB"),
        info("manager: memory for a bare stream, TLS", floor / KILOBYTE, "KB"),
    ]


async def _growth(rig: Rig, mode: str, server: Child, origin: str, count: int) -> float:
    """Bytes for each stream beyond the first ones."""
    target, sizes = origin.partition("://")[2], []
    async with swarming(rig.folder, target, origin, rig.keyring_file, rig.ca_file, mode) as swarm:
        for wanted in (FIRST, FIRST + count):
            connected = await swarm.grow(wanted)
            sizes.append(await server.settled_bytes())
            if connected != wanted:
                raise Unmeasured(f"only {connected} of {wanted} streams are open")
        if await swarm.grow(FIRST + count) != FIRST + count:
            raise Unmeasured("streams were lost while the memory settled")
    return (sizes[1] - sizes[0]) / count


def certificate(at: Path, key_at: Path) -> tuple[Path, Path]:
    """A self-signed certificate for loopback, good for a day, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    at.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_at.touch(mode=0o600)
    key_at.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return at, key_at
