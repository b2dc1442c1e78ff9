"""TLS contexts of clients: whom they trust, and the certificate that they show.

Promises: certificates and names are always verified, against the given authorities alone where there are some, else against
the system's (and those of SSL_CERT_FILE); a key never stands in a readable file, on Linux in no file at all.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Malformed


def client_context(authorities: str = "", certificate: tuple[bytes, bytes] | None = None) -> ssl.SSLContext:
    """`authorities` is PEM, "" for the system's; `certificate` a chain and its key, both PEM. Raises Malformed."""
    try:
        context = ssl.create_default_context(cadata=authorities or None)
    except (ssl.SSLError, ValueError):
        raise Malformed(
            "ca_malformed", "the connector's caCertificate holds no certificate that can be read", "give it in PEM"
        ) from None
    if certificate is not None:
        try:
            with _file(b"\n".join(certificate)) as place:
                # Without a password from here, the library would ask for one at the terminal.
                context.load_cert_chain(place, password=b"")
        except (ssl.SSLError, ValueError):
            raise Malformed(
                "client_certificate_malformed",
                "the connector's client certificate and its key can't be used together",
                "give a certificate and its own unencrypted key, both in PEM",
            ) from None
    return context


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path to it, since the library under `ssl` reads paths only: in memory on Linux, else in a private file for a moment."""
    in_memory = hasattr(os, "memfd_create") and Path("/proc/self/fd").exists()
    if in_memory:
        file = os.memfd_create("certificate")
        place = f"/proc/self/fd/{file}"
    else:
        file, place = tempfile.mkstemp()
    try:
        os.write(file, content)
        yield place
    finally:
        os.close(file)
        if not in_memory:
            Path(place).unlink()
