"""Keys of small order: a signature that anybody can make fits under them, so they verify nothing."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import structs

from shared.canonical import b64u
from shared.crypto.identity import Identity
from shared.documents.grant import Principal
from shared.documents.jws import VerifyingKey
from shared.errors import Malformed
from tests.fakes.world import World

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


def x_of(y: int) -> int | None:
    """The x of a point of the curve with that y (RFC 8032, section 5.1.3)."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return None if (x * x - square) % P else x


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    (x, y), (u, v) = one, other
    k = D * x * u * y * v % P
    return (x * v + u * y) * pow(1 + k, -1, P) % P, (y * v + x * u) * pow(1 - k, -1, P) % P


def times(number: int, point: tuple[int, int]) -> tuple[int, int]:
    result = (0, 1)
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


def small_order_encodings() -> list[bytes]:
    """Every 32 bytes that decode to a point whose order divides eight, found by arithmetic and not from a list."""
    ys, at = {1}, 2
    while len(ys) < 5:
        x = x_of(at)
        if x is not None:
            point = times(ORDER, (x, at))
            for _ in range(8):
                ys.add(point[1])
                point = add(point, point)
        at += 1
    spelt = {y + more for y in ys for more in (0, P) if y + more < 2**255}
    return sorted((y | sign << 255).to_bytes(32, "little") for y in spelt for sign in (0, 1))


WEAK = small_order_encodings()


def test_there_are_fourteen_encodings_of_small_order() -> None:
    assert len(WEAK) == 14


@pytest.mark.parametrize("raw", WEAK, ids=bytes.hex)
def test_a_key_of_small_order_is_refused(raw: bytes) -> None:
    for make in (lambda: VerifyingKey(raw), lambda: VerifyingKey.of(b64u(raw))):
        with pytest.raises(Malformed) as caught:
            make()
        assert caught.value.code == "key_weak"


def test_the_refusal_is_needed_since_the_library_accepts_such_a_key() -> None:
    # R is the neutral point and S zero: fits any message under the neutral point as the key.
    neutral = bytes([1]) + bytes(31)
    Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything at all")


def test_an_honest_key_is_taken() -> None:
    identity = Identity.generate()
    assert VerifyingKey(identity.public.raw).kid == identity.kid


def test_a_grant_to_a_weak_key_leaves_the_book_as_it_was() -> None:
    world = World()
    grant = world.grant(world.identity("reader"), ["reveal"]).document
    weak = structs.replace(grant, id="a" * 26, principal=Principal("nobody", b64u(WEAK[0]), "person"))
    book = world.book()
    before = set(book.grants)
    with pytest.raises(Malformed, match="anybody can sign"):
        book.admit(world.administrator.sign_document(weak), world.now)
    assert set(book.grants) == before
