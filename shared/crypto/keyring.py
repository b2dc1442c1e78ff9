"""A keyring: the secrets of one trust zone, derived from one 32-byte seed a generation, and the file that holds the seeds.

HKDF-SHA-512(ikm = seed, salt = none, info = LP(label, account, keyring, generation as eight bytes)), 32 bytes each:
    keyring-seal     seed of the sealing key        keyring-certify  Ed25519 key that certifies delegates
    keyring-kek      key of the built-in `Local`    keyring-mac      key of the records' HMAC

Beside its seed a generation has an RSA key that signs ID tokens; those of older files have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.canonical import b64u, lp, unb64u
from shared.crypto.aead import derive
from shared.crypto.identity import Identity
from shared.crypto.issuer import IssuerKey
from shared.crypto.seal import SealingKey
from shared.documents.fields import Account, Digest, Identifier, Number
from shared.documents.keyring import Certifier, KeyringDocument, Oidc, OidcKey
from shared.errors import Malformed, NotReady
from shared.labels import KEYRING_CERTIFY, KEYRING_KEK, KEYRING_MAC, KEYRING_SEAL

SEED_BYTES = 32
MOST_GENERATIONS = 64
LAST_GENERATION = 2**32 - 1
"""A record has four bytes for it."""


class Generation:
    """One generation's keys, derived when first needed; `oidc` is the one that isn't derived, None in older files."""

    def __init__(self, account: str, keyring: str, number: int, seed: bytes, oidc: IssuerKey | None = None) -> None:
        if len(seed) != SEED_BYTES:
            raise Malformed("keyring_malformed", "a keyring's seed has 32 bytes")
        self.number = number
        self.oidc = oidc
        self._seed = seed
        self._place = (account.encode(), keyring.encode(), number.to_bytes(8, "big"))

    def _derive(self, label: bytes) -> bytes:
        return derive(self._seed, b"", lp(label, *self._place), 32)

    @cached_property
    def sealing(self) -> SealingKey:
        """Opens what was sealed to this generation."""
        return SealingKey(self._derive(KEYRING_SEAL))

    @cached_property
    def certifying(self) -> Identity:
        """Certifies delegates."""
        return Identity.from_seed(self._derive(KEYRING_CERTIFY))

    @cached_property
    def kek(self) -> bytes:
        """Wraps the data keys of the built-in secret manager, 32 bytes."""
        return self._derive(KEYRING_KEK)

    @cached_property
    def mac_key(self) -> bytes:
        """Authenticates records, 32 bytes."""
        return self._derive(KEYRING_MAC)

    def __repr__(self) -> str:
        return f"Generation({self.number})"


class _Seed(msgspec.Struct, forbid_unknown_fields=True):
    generation: Number
    seed: Digest
    oidc: Annotated[str, Meta(max_length=4096)] | msgspec.UnsetType = msgspec.UNSET


class _File(msgspec.Struct, forbid_unknown_fields=True):
    privyseal: Literal["keyring"]
    v: Literal[1]
    account: Account
    keyring: Identifier
    generations: Annotated[list[_Seed], Meta(min_length=1, max_length=MOST_GENERATIONS)]


_decoder = msgspec.json.Decoder(_File)


class Keyring:
    """All generations that its holder has, oldest first: number and seed of each; `oidc` keys by number."""

    def __init__(
        self,
        account: str,
        name: str,
        generations: Sequence[tuple[int, bytes]],
        oidc: Mapping[int, IssuerKey] | None = None,
    ) -> None:
        self.account = account
        self.name = name
        self._seeds = tuple(generations)
        self._oidc = dict(oidc or {})
        self._generations = {
            number: Generation(account, name, number, seed, self._oidc.get(number)) for number, seed in generations
        }
        if max(self._generations, default=0) > LAST_GENERATION:
            raise Malformed("keyring_malformed", "a keyring's generation is higher than can be")
        if list(self._generations) != sorted(self._generations) or len(self._generations) != len(generations):
            raise Malformed("keyring_malformed", "a keyring's generations are in order, each once")

    @staticmethod
    def parse(text: bytes) -> Keyring:
        """From the text of a keyring file. Raises Malformed, never repeating it."""
        try:
            file = _decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise Malformed(
                "keyring_malformed",
                "the keyring file is malformed",
                "make one with privyseal keyring new, or restore its backup",
            ) from None
        return Keyring(
            file.account,
            file.keyring,
            [(one.generation, unb64u(one.seed, SEED_BYTES)) for one in file.generations],
            {one.generation: IssuerKey(one.oidc.encode()) for one in file.generations if isinstance(one.oidc, str)},
        )

    def text(self) -> bytes:
        """The keyring file. It is secret: mode 0600, or a container secret."""
        pems = {number: key.pem.decode() for number, key in self._oidc.items()}
        seeds = [_Seed(number, b64u(seed), pems.get(number, msgspec.UNSET)) for number, seed in self._seeds]
        return msgspec.json.format(msgspec.json.encode(_File("keyring", 1, self.account, self.name, seeds))) + b"\n"

    def rotated(self, seed: bytes, oidc: IssuerKey | None = None) -> Keyring:
        """With one generation more. Raises Malformed for more than a keyring file may hold: it could never be read again."""
        if len(self._seeds) >= MOST_GENERATIONS:
            raise Malformed(
                "keyring_full",
                f"the keyring {self.name} has {MOST_GENERATIONS} generations, which is all that it can have",
                "make a keyring of another name, and store the values of this one there",
            )
        number = self.newest.number + 1
        added = {} if oidc is None else {number: oidc}
        return Keyring(self.account, self.name, [*self._seeds, (number, seed)], {**self._oidc, **added})

    @property
    def newest(self) -> Generation:
        """The newest generation held."""
        return self._generations[self._seeds[-1][0]]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The generations held, oldest first."""
        return tuple(self._generations)

    def generation(self, number: int) -> Generation:
        """Raises NotReady for one that this file lacks."""
        found = self._generations.get(number)
        if found is None:
            raise NotReady(
                "generation_missing",
                f"generation {number} of the keyring {self.name} isn't in the delegate's keyring file",
                "give the delegate the newest keyring file and restart it",
            )
        return found

    def document(
        self, rev: int, prev: str | None, iat: int, floor: int = 1, *, platform: bool = False, issuer: str = ""
    ) -> KeyringDocument:
        """The public document for these generations, those from `floor` on."""
        counting = {number: one for number, one in self._generations.items() if number >= floor}
        keys = tuple(OidcKey(number, one.oidc.n) for number, one in counting.items() if one.oidc is not None)
        return KeyringDocument(
            v=1,
            acct=self.account,
            id=self.name,
            rev=rev,
            prev=prev,
            iat=iat,
            gen=self.newest.number,
            seal=b64u(self.newest.sealing.public.raw),
            certifiers=tuple(Certifier(number, one.certifying.key) for number, one in counting.items()),
            platform=platform,
            oidc=Oidc(keys, issuer) if keys else None,
        )

    def matches(self, document: KeyringDocument) -> bool:
        """Whether that document speaks of this keyring: same account, name, and the same keys in its generation."""
        held = self._generations.get(document.gen)
        return (
            (document.acct, document.id) == (self.account, self.name)
            and held is not None
            and b64u(held.sealing.public.raw) == document.seal
        )

    def signs_for(self, document: KeyringDocument) -> bool:
        """Whether the key that this file has for ID tokens of the document's generation is the one that stands there.

        True as well where none stands there: then nobody expects a token.
        """
        told = [] if document.oidc is None else [one.n for one in document.oidc.keys if one.gen == document.gen]
        held = self._generations.get(document.gen)
        return not told or (held is not None and held.oidc is not None and held.oidc.n == told[0])

    def __repr__(self) -> str:
        return f"Keyring({self.name}, generations {self.numbers})"
