"""Contexts: which account, at which manager, as whom; the defaults of a command line.

A context names the account by its id, so nobody can put another account in its place later: the id is made from the
account's first document. Stored in `contexts.json`; holds no key and no value.
"""

from __future__ import annotations

import msgspec
from msgspec import structs

from client.home import Home
from shared.errors import Malformed, NotFound, NotReady
from shared.names import Scope, check_account, check_identifier, check_name
from shared.origin import Origin

FILE = "contexts.json"


class Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """`manager` is an origin without a path; `org` and `project` are where a bare secret name is looked for."""

    manager: str
    account: str
    identity: str = "default"
    org: str = ""
    project: str = ""
    ca_file: str = ""

    @property
    def scope(self) -> Scope:
        """Where bare names live."""
        return Scope(self.org, self.project)


class _Contexts(msgspec.Struct):
    current: str = ""
    contexts: dict[str, Context] = {}


_decoder = msgspec.json.Decoder(_Contexts)


class Contexts:
    """All contexts of one home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def all(self) -> tuple[str, dict[str, Context]]:
        """(the current one's name or nothing, every context by name). Raises Malformed for a damaged file."""
        kept = self._load()
        return kept.current, kept.contexts

    def find(self, name: str | None) -> tuple[str, Context]:
        """The named one, else the current one. Raises NotFound, NotReady when there is none at all."""
        kept = self._load()
        chosen = name or kept.current
        if not chosen:
            raise NotReady(
                "context_missing",
                "no context is chosen: it is not known which manager and account are meant",
                "make an account with privyseal init, join one with privyseal context add, or try privyseal dev",
            )
        if chosen not in kept.contexts:
            known = ", ".join(sorted(kept.contexts)) or "none"
            raise NotFound(
                "context_unknown", f"there is no context of that name; known are: {known}", "privyseal context list"
            )
        return chosen, kept.contexts[chosen]

    def check_free(self, name: str, account: str = "") -> None:
        """Raises Malformed when that name stands for another account already."""
        known = self._load().contexts.get(check_name(name, "context"))
        if known is not None and known.account != account:
            raise Malformed(
                "context_exists",
                f"the context {name} stands for another account",
                "choose another name, or remove it first",
            )

    def put(self, name: str, context: Context, *, use: bool = True, replace: bool = False) -> None:
        """Keeps a context; `use` makes it the current one. Raises Malformed for a name that is taken, unless `replace`."""
        check_name(name, "context")
        with self._home.lock(FILE):
            if not replace:
                self.check_free(name, context.account)
            kept = self._load()
            kept.contexts[name] = context
            if use or not kept.current:
                kept.current = name
            self._save(kept)

    def use(self, name: str) -> None:
        """Makes one the current. Raises NotFound."""
        with self._home.lock(FILE):
            self.find(name)
            kept = self._load()
            kept.current = name
            self._save(kept)

    def change(self, name: str | None, **changes: str) -> tuple[str, Context]:
        """Changes fields of one. Raises NotFound."""
        with self._home.lock(FILE):
            chosen, context = self.find(name)
            kept = self._load()
            kept.contexts[chosen] = context = structs.replace(context, **changes)
            self._save(kept)
            return chosen, context

    def remove(self, name: str) -> None:
        """Forgets one; identities and what was seen of the account stay. Raises NotFound."""
        with self._home.lock(FILE):
            self.find(name)
            kept = self._load()
            del kept.contexts[name]
            kept.current = "" if kept.current == name else kept.current
            self._save(kept)

    def _load(self) -> _Contexts:
        raw = self._home.read(FILE)
        if raw is None:
            return _Contexts()
        try:
            return _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise Malformed(
                "contexts_malformed",
                f"{self._home.path(FILE)} is damaged",
                "restore it, or remove it and add the contexts again",
            ) from None

    def _save(self, kept: _Contexts) -> None:
        self._home.write(msgspec.json.format(msgspec.json.encode(kept)) + b"\n", FILE)


def parse_origin(url: str) -> str:
    """A manager's origin in its one form; plain http is for this machine only. Raises Malformed."""
    return str(Origin.parse(url, "manager's URL"))


def parse_place(text: str) -> tuple[str, str]:
    """(origin, account) of `https://HOST/ACCOUNT`. Raises Malformed."""
    origin, slash, account = text.strip().rstrip("/").rpartition("/")
    if not slash or "//" not in origin:
        raise Malformed(
            "url_malformed",
            "the account's address is malformed",
            "write https://HOST/ACCOUNT as privyseal context show prints it",
        )
    return parse_origin(origin), check_account(account)


def parse_here(org: str, project: str) -> Scope:
    """The scope of bare names. Raises Malformed, also for a project without its organisation."""
    if project and not org:
        raise Malformed("project_without_org", "a project is given without its organisation", "add --org")
    return Scope(
        check_identifier(org, "organisation") if org else "", check_identifier(project, "project") if project else ""
    )
