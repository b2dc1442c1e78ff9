"""The zone: the keyring in this delegate's hands, held against what the account says of it now.

The file says which keys there are, the keyring document which generation is current, the status which ones no longer
count. An excluded generation makes and opens nothing new (certificates, sealed inputs, answers). What it made can still be
read, by who asks for that: excluding a stolen key must not lose values, nor pass its thief's for theirs. Must not read the
file.
"""

from __future__ import annotations

from shared.crypto.issuer import IssuerKey
from shared.crypto.keyring import Generation, Keyring
from shared.documents.jws import Verified
from shared.documents.keyring import KeyringDocument
from shared.errors import Denied, NotReady, Tampered
from shared.trust.book import Book


class Zone:
    """One keyring in the light of one account's book."""

    def __init__(self, keyring: Keyring, book: Book) -> None:
        self.keyring = keyring
        self.account = keyring.account
        self.name = keyring.name
        self._book = book

    @property
    def floor(self) -> int:
        """The lowest generation that counts."""
        status = self._book.status
        return 1 if status is None else status.document.keyrings.get(self.name, 1)

    def counts(self, number: int) -> bool:
        """Whether what a generation made is to be believed without further consent."""
        return number >= self.floor

    def current(self) -> Generation:
        """The generation that new records are made with. Raises NotReady where the file is older than the account.

        It is the keyring document's, not the file's newest: while a new file is being handed out, every delegate of the
        zone must be able to open what any of them stores. It is never an excluded one.
        """
        document = self._book.keyrings.get(self.name)
        number = self.keyring.newest.number if document is None else document.document.gen
        if number < self.floor:
            raise NotReady(
                "generation_excluded",
                f"the account has excluded generation {number} of the keyring {self.name}, its newest one",
                "rotate it: privyseal keyring rotate",
            )
        return self.keyring.generation(number)

    def made_with(self, number: int) -> Generation:
        """The generation that made a record, excluded or not. Raises NotReady for one that the file lacks."""
        return self.keyring.generation(number)

    def issuer(self) -> tuple[str, IssuerKey]:
        """The OIDC issuer that this delegate speaks for, and the current generation's key, which the document names too.

        Raises NotReady where the keyring has no issuer, or this file not the key.
        """
        document = self._book.keyrings.get(self.name)
        if document is None or not document.document.issuer:
            raise NotReady(
                "oidc_unconfigured",
                f"the keyring {self.name} has no OIDC issuer",
                f"an administrator gives it one: privyseal oidc enable --keyring {self.name} --issuer URL",
            )
        current = self.current()
        told = document.document.oidc
        if current.oidc is None or told is None or current.number not in {one.gen for one in told.keys}:
            raise NotReady(
                "oidc_key_missing",
                f"generation {current.number} of the keyring {self.name} has no key for ID tokens",
                "rotate it, which makes one: privyseal keyring rotate",
            )
        self._check_oidc(document.document)
        return document.document.issuer, current.oidc

    def _check_oidc(self, told: KeyringDocument) -> None:
        if told.issuer and not self.keyring.signs_for(told):
            raise NotReady(
                "oidc_key_differs",
                f"for generation {told.gen} the delegate's keyring file has another key for ID tokens than the account's "
                f"keyring {self.name}: clouds would refuse every token",
                "give the delegate the keyring file that the account's document was made from",
            )

    def check(self, document: Verified[KeyringDocument]) -> None:
        """Whether the account's keyring document speaks of this file.

        Raises Denied for another keyring, NotReady where the file is older or would sign ID tokens with a key that nobody
        believes, Tampered where the keys differ.
        """
        told = document.document
        if (told.acct, told.id) != (self.account, self.name):
            raise Denied(
                "keyring_foreign",
                f"the task is for the keyring {told.id}, and this delegate holds {self.name}",
                "use a connector of this delegate's keyring, or a delegate of that one",
            )
        self.keyring.generation(told.gen)
        if not self.keyring.matches(told):
            raise Tampered(
                "keyring_mismatch",
                f"the delegate's keyring file and the account's keyring {self.name} hold different keys of one generation",
                "give the delegate the keyring file that the account's document was made from",
            )
        self._check_oidc(told)
