"""What this client keeps of the orders that it gave: the key that opens what came of their runs, and what to sign anew.

Promises: files of this user alone (0600), one for each order, replaced whole. They hold no secret's value; but the key opens what
commands wrote, and the command stands there as it was given. Without a folder nothing is kept, and no order can be given.
"""

from __future__ import annotations

import os

import msgspec

from client.choice import Choice
from client.home import Home, read_private
from shared.canonical import b64u, unb64u
from shared.command import Command
from shared.crypto.seal import SEED_BYTES, SealingKey
from shared.errors import Malformed, NotFound, NotReady

FOLDER = "orders"

MOST_REVISIONS = 16
"""Of one order, that are remembered."""


def _seed() -> str:
    return b64u(os.urandom(SEED_BYTES))


class Kept(msgspec.Struct, kw_only=True):
    """The file. `reader` is the key's seed; `here` where bare names lived; `meanings` are the references, in the order of the
    command's names; `revisions` has the selectors and conditions that a delegate had to meet, by revision, and `signed` the last
    revisions themselves.
    """

    v: int = 1
    reader: str = msgspec.field(default_factory=_seed)
    here: str = "account"
    meanings: list[str] = []
    variables: dict[str, str] = {}
    command: Command | None = None
    seconds: int | None = None
    connectors: list[str] = []
    selectors: list[str] = []
    origin: str = "step"
    where: str = ""
    revisions: dict[str, tuple[list[str], list[str]]] = {}
    signed: dict[str, str] = {}

    def sign(self, rev: int, compact: str) -> None:
        """Remembers a revision: what came of its runs opens when there are newer ones, too."""
        self.signed[str(rev)] = compact
        for old in sorted(self.signed, key=int)[:-MOST_REVISIONS]:
            del self.signed[old]
            self.revisions.pop(old, None)

    @property
    def choice(self) -> Choice:
        """Which delegates it is for."""
        return Choice(self.selectors, self.origin, self.where)

    @property
    def key(self) -> SealingKey:
        """The reader key."""
        return SealingKey(unb64u(self.reader, SEED_BYTES))


_decoder = msgspec.json.Decoder(Kept)


class OrderKeys:
    """One account's."""

    def __init__(self, account: str, home: Home | None) -> None:
        self._home = home
        self._account = account

    def keep(self, order: str, kept: Kept) -> None:
        """Writes it. Raises NotReady for a client without a folder."""
        if self._home is None:
            raise NotReady(
                "home_missing",
                "this client keeps nothing, so that nobody could open what comes of the order's runs",
                "give it a folder: home=",
            )
        self._home.write(msgspec.json.encode(kept), FOLDER, self._account, f"{order}.json")

    def load(self, order: str) -> Kept:
        """What was kept. Raises NotFound where the order was given elsewhere, Denied for a file that others may read."""
        if self._home is None:
            raise self._missing()
        try:
            raw = read_private(self._home.path(FOLDER, self._account, f"{order}.json"), "file of an order")
        except NotReady:
            raise self._missing() from None
        try:
            return _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeError):
            raise Malformed("file_malformed", "the file of an order can't be read", "give the order anew") from None

    @staticmethod
    def _missing() -> NotFound:
        return NotFound(
            "order_key_missing",
            "this client doesn't keep the key of that order: what came of its runs opens only where it was given",
            "go there, with the same PRIVYSEAL_HOME; or cancel it and give it anew here",
        )
