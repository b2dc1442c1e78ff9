"""Figure: how fast a command's output is masked, on one core, with 1,000 secrets of 12 to 64 characters and ten of them keys in PEM.

Three outputs of 16 MB, in the pieces in which a delegate reads them: lines of a log in which no secret occurs; the same with
a secret in every hundredth line; and base64 of random bytes, in which every character begins some guise of some secret. The
first is what is bounded.

Compiling, for information: seconds until the first byte can be masked, which happens once for each command.
"""

from __future__ import annotations

import asyncio
import base64
import random
import time

from delegate.masking import MASK, Mask, Patterns
from delegate.processes import READ_BYTES
from shared.crypto.plaintext import Plaintext
from tests.bench.child import Unmeasured
from tests.bench.report import Row, against_value, info, median

SECRETS = 1_000
KEYS = 10
SIZE = 16_000_000


async def measure(quick: bool) -> list[Row]:
    """The figure's rows."""
    return await asyncio.to_thread(_measure, 2 if quick else 5)


def _measure(rounds: int) -> list[Row]:
    chance = random.Random(1)  # noqa: S311 (the same secrets in each run)
    secrets = [_token(chance) for _ in range(SECRETS - KEYS)] + [_pem(chance) for _ in range(KEYS)]
    began = time.perf_counter()
    patterns = Patterns(Plaintext(secret) for secret in secrets)
    compiled = time.perf_counter() - began
    log = _log(chance)
    shown = secrets[:100]
    leaky = b"\n".join(
        line + b" token=" + chance.choice(shown) if at % 100 == 0 else line for at, line in enumerate(log.split(b"\n"))
    )
    dense = base64.b64encode(chance.randbytes(SIZE * 3 // 4))
    rates = {name: median([_rate(patterns, output) for _ in range(rounds)]) for name, output in
             (("log", log), ("leaky", leaky), ("dense", dense))}  # fmt: skip
    masked = _masked(patterns, leaky)
    if any(secret in masked for secret in shown) or MASK not in masked:
        raise Unmeasured("a secret was not masked")
    if _masked(patterns, log) != log:
        raise Unmeasured("an output without a secret was changed")
    return [
        against_value("masking with 1,000 secrets, one core", rates["log"], "MB/s", 50, "at least"),
        info("masking, a secret in every hundredth line", rates["leaky"], "MB/s"),
        info("masking, where everything may begin a secret", rates["dense"], "MB/s"),
        info("masking, compiling 1,000 secrets", compiled * 1000, "ms"),
    ]


def _token(chance: random.Random) -> bytes:
    return base64.b64encode(chance.randbytes(48))[: chance.randint(12, 64)]


def _pem(chance: random.Random) -> bytes:
    body = base64.encodebytes(chance.randbytes(1_200))
    return b"-----BEGIN PRIVATE KEY-----\n" + body + b"-----END PRIVATE KEY-----\n"


def _log(chance: random.Random) -> bytes:
    lines, size = [], 0
    while size < SIZE:
        number = chance.randrange(10**6)
        line = b"2030-01-01T12:00:%02d INFO orders.api handled GET /v1/items/%d in %d ms status=200 request=%s" % (
            number % 60, number, number % 900, chance.randbytes(8).hex().encode()
        )  # fmt: skip
        lines.append(line)
        size += len(line) + 1
    return b"\n".join(lines)


def _masked(patterns: Patterns, output: bytes) -> bytes:
    mask = Mask(patterns)
    pieces = [mask.feed(output[at : at + READ_BYTES]) for at in range(0, len(output), READ_BYTES)]
    return b"".join([*pieces, mask.flush()])


def _rate(patterns: Patterns, output: bytes) -> float:
    """MB in a second of one core's time."""
    began = time.thread_time()
    _masked(patterns, output)
    return len(output) / 1e6 / (time.thread_time() - began)
