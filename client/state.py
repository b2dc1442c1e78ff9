"""What this client has seen of an account, kept between runs, so that nobody can show it an older world later.

Promises: a lower revision, a lower version or two things with one number raise Tampered, in this run and every later one.
Two processes that save at once keep the union of what both saw. Must not hold a value; only public documents and digests.
"""

from __future__ import annotations

import msgspec

from client.home import Home
from shared.audit import Head
from shared.canonical import b64u, unb64u
from shared.documents.fields import Payload, Revisioned
from shared.documents.jws import Unverified, Verified, kind_of
from shared.documents.secret import SecretDocument
from shared.errors import Malformed, Tampered
from shared.trust.revision import name_of

FOLDER = "seen"
SKEW_SECONDS = 120


class Seen(msgspec.Struct):
    """The file. `documents`: the trust documents, in an order in which they can be taken in; `etag` goes with them."""

    v: int = 1
    etag: str = ""
    documents: list[str] = []
    revisions: dict[str, tuple[int, str]] = {}
    """`KIND NAME` to (revision, digest)."""
    versions: dict[str, tuple[int, str]] = {}
    """Secret id to (newest version, digest of its store task)."""
    places: dict[str, tuple[str, int]] = {}
    """`SCOPE:IDENTIFIER` to (secret id, empty once it was deleted, and when its document was signed)."""
    defaults: dict[str, str] = {}
    """Scope to the id of the connector that was its default when it was last looked for; empty for none."""
    audit: tuple[int, str] = (0, "")


_decoder = msgspec.json.Decoder(Seen)


class State:
    """One account's memory. Without a home it lives as long as the process."""

    def __init__(self, account: str, home: Home | None = None) -> None:
        self._home = home
        self._parts = (FOLDER, f"{account}.json")
        self.seen = self._load()
        self._changed = False
        self._trust_changed = False

    def check(self, new: Unverified[Payload]) -> None:
        """Raises Tampered when a newer revision than `new` was seen. Account and status come with earlier ones: see below."""
        document = new.document
        if isinstance(document, Revisioned) and new.kind not in {"account", "status"}:
            self._check_revision(_key(document), new.kind, document.rev)

    def check_head(self, new: Verified[Revisioned]) -> None:
        """Raises Tampered when the newest account or status document that is shown is older than one that was seen."""
        self._check_revision(_key(new.document), new.kind, new.document.rev)

    def _check_revision(self, key: str, kind: str, rev: int) -> None:
        known = self.seen.revisions.get(key)
        if known is not None and rev < known[0]:
            raise Tampered(
                "revision_rolled_back",
                f"the manager shows revision {rev} of the {kind} document; revision {known[0]} was seen before",
                "don't trust this manager until you know why: it was restored from an old backup, or somebody changed it",
            )

    def take(self, new: Verified[Revisioned]) -> None:
        """Remembers a document that was believed. Raises Tampered for a fork or a secret put in a newer one's place."""
        key, entry = _key(new.document), (new.document.rev, new.digest)
        self._merge_revision(self.seen.revisions, key, entry)
        if isinstance(new.document, SecretDocument):
            self._take_place(new.document)

    def _take_place(self, document: SecretDocument) -> None:
        place = f"{document.scope}:{document.identifier}"
        known = self.seen.places.get(place)
        if known is not None and known[0] != document.id and document.iat < known[1] - SKEW_SECONDS:
            raise Tampered(
                "secret_rolled_back",
                "the manager shows another, older secret in the place of one that was seen before",
                "don't trust this manager until you know why",
            )
        entry = ("" if document.deleted else document.id, document.iat)
        if known is None or (known != entry and (document.iat >= known[1] or known[0] != document.id)):
            self.seen.places[place] = entry
            self._changed = True

    def check_version(self, secret: str, n: int, digest: str) -> None:
        """Raises Tampered when a higher version than the manager tells of was seen, or another with its number.

        Nothing is remembered: a number that nobody signed mustn't make the true one look rolled back later.
        """
        known = self.seen.versions.get(secret)
        if known is not None and n < known[0]:
            raise Tampered(
                "version_rolled_back",
                f"the manager says that version {n} is the newest of a secret of which version {known[0]} was seen before",
                "don't trust this manager until you know why: it was restored from an old backup, or somebody changed it",
                secret=secret,
                n=n,
                seen=known[0],
            )
        if known is not None and n == known[0] and digest != known[1]:
            raise _version_forked(secret, n)

    def take_version(self, secret: str, n: int, digest: str) -> None:
        """Remembers a version that a delegate's signed answer proves: it stored it, or opened its record.

        Raises Tampered for another with its number: both are proven, so somebody was shown another history.
        """
        known = self.seen.versions.get(secret, (0, ""))
        if n == known[0] and digest != known[1]:
            raise _version_forked(secret, n)
        if n > known[0]:
            self.seen.versions[secret] = (n, digest)
            self._changed = True

    def take_default(self, scope: str, connector: str) -> None:
        """Remembers which connector is a scope's default; empty for none."""
        if self.seen.defaults.get(scope, "") != connector:
            self.seen.defaults[scope] = connector
            self._changed = True

    def take_trust(self, documents: list[str], etag: str) -> None:
        """Keeps the trust documents."""
        if (documents, etag) != (self.seen.documents, self.seen.etag):
            self.seen.documents, self.seen.etag = documents, etag
            self._changed = self._trust_changed = True

    @property
    def audit(self) -> Head:
        """How far the audit was verified."""
        seq, hash_ = self.seen.audit
        return Head(seq, unb64u(hash_, 32)) if seq else Head()

    def take_audit(self, head: Head) -> None:
        """Remembers how far the audit was verified."""
        if head.seq > self.seen.audit[0]:
            self.seen.audit = (head.seq, b64u(head.hash))
            self._changed = True

    def save(self) -> None:
        """Writes what changed. Raises Tampered when another process saw something that contradicts it."""
        if not self._changed or self._home is None:
            return
        with self._home.lock(*self._parts):
            other = self._load()
            mine = self.seen
            for key, entry in other.revisions.items():
                self._merge_revision(mine.revisions, key, entry)
            for secret, (n, digest) in other.versions.items():
                known = mine.versions.get(secret, (0, ""))
                if known[0] == n and known[1] != digest:
                    raise _version_forked(secret, n)
                if known[0] < n:
                    mine.versions[secret] = (n, digest)
            for place, entry_ in other.places.items():
                if mine.places.get(place, ("", -1))[1] < entry_[1]:
                    mine.places[place] = entry_
            for scope, connector in other.defaults.items():
                # Which is newer nobody can tell: one that is withdrawn says so itself when it is asked for.
                mine.defaults[scope] = mine.defaults.get(scope) or connector
            if other.audit[0] == mine.audit[0] and other.audit[1] != mine.audit[1]:
                raise Tampered(
                    "audit_forked",
                    f"entry {mine.audit[0]} of the audit is another one than another command was shown",
                    "somebody wrote the audit anew; treat it as changed from the beginning",
                )
            if other.audit[0] > mine.audit[0]:
                mine.audit = other.audit
            if not self._trust_changed:
                mine.documents, mine.etag = other.documents, other.etag
            self._home.write(msgspec.json.encode(mine), *self._parts)
        self._changed = self._trust_changed = False

    def _merge_revision(self, into: dict[str, tuple[int, str]], key: str, entry: tuple[int, str]) -> None:
        known = into.get(key)
        if known is not None and known[0] == entry[0] and known[1] != entry[1]:
            kind = key.partition(" ")[0]
            raise Tampered(
                "revision_forked",
                f"two {kind} documents with the revision {entry[0]} were shown to this client",
                "don't trust this manager, or whoever signed both, until you know why",
            )
        if known is None or entry[0] > known[0]:
            into[key] = entry
            self._changed = True

    def _load(self) -> Seen:
        raw = self._home.read(*self._parts) if self._home is not None else None
        if raw is None:
            return Seen()
        try:
            return _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            assert self._home is not None
            raise Malformed(
                "seen_malformed",
                f"{self._home.path(*self._parts)} is damaged: what this client saw before can't be compared",
                "remove it to begin anew, and run privyseal audit verify",
            ) from None


def _version_forked(secret: str, n: int) -> Tampered:
    return Tampered(
        "version_forked",
        f"the manager shows another version {n} of a secret than was seen before",
        "don't trust this manager until you know why",
        secret=secret,
        n=n,
    )


def _key(document: Revisioned) -> str:
    return f"{kind_of(document)} {name_of(document)}"
