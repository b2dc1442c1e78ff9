"""The local policy: what this delegate refuses, whoever signed it. The manager can't see or change it.

Promises: what the file doesn't allow is refused with the rule and the file's key that said no; an unknown key
or word in the file is refused, since a misspelt veto would be none; an empty list allows nothing. Must not
read the file or ask a clock: text and time are handed over. Format: deploy/examples/delegate-policy.toml
explains each key.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import ceil
from typing import Any, Final

from shared.documents.task import EXEC, OPERATIONS
from shared.errors import Denied, Malformed, Overloaded
from shared.names import ACCOUNT_SCOPE, IDENTIFIER, Scope
from shared.settings import parse_toml, refuse_unknown

ANY: Final = "*"

WINDOW_SECONDS = 60.0

_KEYS = ("ops", "scopes", "kinds", "keyrings", "hosts", "files", "libraries", "exec", "scripts", "calls_per_minute")
_MOST_CALLS = 1_000_000
_LIBRARY = re.compile(r"[a-z0-9][a-z0-9_\-]{0,63}\Z")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,63}\Z")
_IDENTIFIER = re.compile(IDENTIFIER)
_HOST = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_\-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_\-]{0,61}[a-z0-9_])?\Z")
_NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\Z")
"""Ends as an address does: `2852039166` and `0xa9.254.1` would be dialled as addresses."""
_METADATA = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    }
)
"""Where clouds hand out credentials, besides link-local addresses."""
TOKEN_FILES: Final = (
    "/run/secrets/kubernetes.io/*",
    "/var/run/secrets/kubernetes.io/*",
    "/var/run/secrets/tokens/*",
    "/vault/*",
)
"""Where Kubernetes and Vault Agent put tokens that are there to be shown to others."""
_FILE = re.compile(r"/[^\x00-\x1f\x7f*]*(/\*)?\Z")


@dataclass(frozen=True, slots=True)
class LocalPolicy:
    """What the delegate may do; `*` in keyrings and hosts allows any, in kinds any of this distribution.

    A scope covers what lies below it. A host is exact or begins with `*.`, which covers every name below; `*`
    covers no metadata service of a cloud. `files` are files of this machine that connectors may name: exact, or `DIR/*` for
    all below. `libraries` are PKCS#11 libraries by the names that connectors give them. `calls` is what a connector may
    call a minute, None for no limit; `calls_of` has the connectors, by identifier, with a limit of their own.
    """

    ops: frozenset[str]
    scopes: tuple[Scope, ...]
    kinds: frozenset[str]
    keyrings: frozenset[str]
    hosts: frozenset[str]
    files: frozenset[str]
    exec: bool
    scripts: bool
    calls: int | None
    calls_of: Mapping[str, int]
    libraries: Mapping[str, str]

    @staticmethod
    def default(kinds: Iterable[str]) -> LocalPolicy:
        """Without a file: all that `kinds`, those of this distribution, can do, without exec and scripts."""
        return LocalPolicy.parse("", kinds)

    @staticmethod
    def parse(text: str, kinds: Iterable[str]) -> LocalPolicy:
        """The policy that a file's text describes; an absent key means its default. Raises Malformed."""
        keys = parse_toml(text, "policy")
        refuse_unknown(keys, _KEYS, "policy")
        calls, calls_of = _calls(keys)
        return LocalPolicy(
            ops=frozenset(_ops(keys)),
            scopes=tuple(_scopes(keys)),
            kinds=frozenset(_words(keys, "kinds", kinds, _is_kind, "names of kinds, such as Local")),
            keyrings=frozenset(_words(keys, "keyrings", [ANY], _is_keyring, "names of keyrings")),
            hosts=frozenset(_words(keys, "hosts", [ANY], _is_host_pattern, "hosts in lower case, or *.DOMAIN")),
            files=frozenset(_words(keys, "files", TOKEN_FILES, _is_file_pattern, "absolute paths, or DIR/*")),
            exec=_switch(keys, "exec"),
            scripts=_switch(keys, "scripts"),
            calls=calls,
            calls_of=calls_of,
            libraries=_libraries(keys),
        )

    def check(
        self,
        *,
        op: str,
        scope: Scope,
        kind: str,
        keyring: str,
        hosts: Collection[str] = (),
        scripts: bool = False,
    ) -> None:
        """Raises Denied with the first rule that forbids this; `hosts` are those that it would call."""
        if op == EXEC:
            if not self.exec:
                raise _denied("commands may not run here", "exec")
        elif op not in self.ops:
            raise _denied("the operation is not allowed", "ops")
        if scripts:
            self.check_scripts()
        if not any(allowed.covers(scope) for allowed in self.scopes):
            raise _denied(f"the scope {scope} is not allowed", "scopes")
        if not {kind, ANY} & self.kinds:
            raise _denied("the kind of secret manager is not allowed", "kinds")
        if not {keyring, ANY} & self.keyrings:
            raise _denied("the keyring is not allowed", "keyrings")
        for host in hosts:
            if not self.allows_host(host):
                raise _denied("the host may not be called", "hosts")

    def allows_host(self, host: str) -> bool:
        """Whether a host, a name or address without a port, may be called."""
        host = host.lower().rstrip(".").removeprefix("[").removesuffix("]")
        address = _address(host)
        if address is not None:
            host = str(address)
        elif not _HOST.match(host) or _NUMBER.match(host):
            return False
        if host in self.hosts:
            return True
        if address is None and any(host.endswith(each[1:]) for each in self.hosts if each.startswith("*.")):
            return True
        return ANY in self.hosts and host not in _METADATA and (address is None or not _is_special(address))

    def check_host(self, host: str) -> None:
        """Raises Denied for a host that may not be called; its name is told."""
        if not self.allows_host(host):
            raise _denied(f"the host {host} may not be called", "hosts")

    def check_file(self, path: str, whose: str = "connectors") -> None:
        """Raises Denied for a file that `whose` settings may not name."""
        if not self.allows_file(path):
            raise _denied(f"{whose} may not name the file {path}", "files")

    def check_scripts(self) -> None:
        """Raises Denied where no script may run."""
        if not self.scripts:
            raise _denied("scripts may not run here", "scripts")

    def allows_file(self, path: str) -> bool:
        """Whether a connector may name that file of this machine; a path with `.` or `..` never is allowed."""
        if not path.startswith("/") or {".", ".."} & set(path.split("/")):
            return False
        return path in self.files or any(path.startswith(each[:-1]) for each in self.files if each.endswith("/*"))

    def library(self, name: str) -> str:
        """The file of the library of that name. Raises Denied: what isn't named here is nobody's to load."""
        path = self.libraries.get(name)
        if path is None:
            raise Denied(
                "local_policy",
                f"the delegate's own policy names no library {name}",
                "name its file under libraries in the policy file of that delegate, or use another delegate",
                rule="libraries",
            )
        return path

    def limit(self, connector: str) -> int | None:
        """The calls that a connector, by its identifier, may make a minute; None for no limit."""
        return self.calls_of.get(connector, self.calls)


@dataclass(slots=True)
class CallLedger:
    """The calls of the last minute, by connector; at most one entry a second for each."""

    _entries: dict[str, deque[tuple[int, int]]] = field(default_factory=dict)

    def spend(self, policy: LocalPolicy, connector: str, calls: int, now: float) -> None:
        """Count `calls` at `now` (monotonic seconds), or raise Overloaded and count none.

        Its `retry_after` is when enough of the calls so far leave the window; it has none where the limit is too small for
        these alone.
        """
        limit = policy.limit(connector)
        if limit is None:
            return
        entries = self._entries.setdefault(connector, deque())
        while entries and entries[0][0] + 1 + WINDOW_SECONDS <= now:
            entries.popleft()
        over = sum(count for _, count in entries) + calls - limit
        if over > 0:
            seconds = _free_in(entries, over, now)
            raise Overloaded(
                "local_policy_budget",
                f"the delegate's own policy allows {limit} calls a minute for this connector",
                ("raise" if seconds is None else f"ask again in {seconds} seconds, or raise")
                + " calls_per_minute in the delegate's policy file",
                **({} if seconds is None else {"retry_after": seconds}),
            )
        second = int(now)
        if entries and entries[-1][0] == second:
            calls += entries.pop()[1]
        entries.append((second, calls))


def _free_in(entries: Iterable[tuple[int, int]], calls: int, now: float) -> int | None:
    """Whole seconds until so many calls have left the window, None where there are fewer in it."""
    for second, count in entries:
        calls -= count
        if calls <= 0:
            return max(1, ceil(second + 1 + WINDOW_SECONDS - now))
    return None


def _denied(what: str, key: str) -> Denied:
    return Denied(
        "local_policy",
        f"the delegate's own policy refuses it: {what}",
        f"allow it with the key {key} in the policy file of that delegate, or use another delegate",
        rule=key,
    )


def _malformed(key: str, allowed: str) -> Malformed:
    return Malformed(
        "policy_malformed",
        f"the key {key} of the policy file is malformed",
        f"{key} takes {allowed}",
        key=key,
    )


def _texts(keys: Mapping[str, Any], key: str, default: Iterable[str], allowed: str) -> list[str]:
    texts = keys.get(key, list(default))
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _malformed(key, f"a list of {allowed}")
    return texts


def _words(keys: Mapping[str, Any], key: str, default: Iterable[str], fits: Any, allowed: str) -> list[str]:
    words = _texts(keys, key, default, allowed)
    if not all(fits(word) for word in words):
        raise _malformed(key, f"a list of {allowed}")
    return words


def _ops(keys: Mapping[str, Any]) -> list[str]:
    ops = [op for op in OPERATIONS if op != EXEC]
    return _words(keys, "ops", ops, ops.__contains__, ", ".join(ops) + " (exec has its own key)")


def _scopes(keys: Mapping[str, Any]) -> list[Scope]:
    allowed = "account, org/ORG or org/ORG/project/PROJECT"
    try:
        return [Scope.parse(text) for text in _texts(keys, "scopes", [str(ACCOUNT_SCOPE)], allowed)]
    except Malformed:
        raise _malformed("scopes", f"a list of {allowed}") from None


def _switch(keys: Mapping[str, Any], key: str) -> bool:
    value = keys.get(key, False)
    if not isinstance(value, bool):
        raise _malformed(key, "true or false")
    return value


def _calls(keys: Mapping[str, Any]) -> tuple[int | None, dict[str, int]]:
    table = keys.get("calls_per_minute", {})
    allowed = f"a table of whole numbers up to {_MOST_CALLS}: default, and connectors by their identifier"
    if not isinstance(table, dict):
        raise _malformed("calls_per_minute", allowed)
    refuse_unknown(table, ("default", "connectors"), "policy")
    calls, calls_of = table.get("default"), table.get("connectors", {})
    if not isinstance(calls_of, dict) or not all(_IDENTIFIER.match(name) for name in calls_of):
        raise _malformed("calls_per_minute", allowed)
    for number in [*calls_of.values(), *([] if calls is None else [calls])]:
        if type(number) is not int or not 0 <= number <= _MOST_CALLS:
            raise _malformed("calls_per_minute", allowed)
    return calls, calls_of


def _libraries(keys: Mapping[str, Any]) -> dict[str, str]:
    table = keys.get("libraries", {})
    allowed = "a table of names, in small letters, digits, _ and -, and absolute paths of files"
    if not isinstance(table, dict) or not all(_LIBRARY.match(name) for name in table):
        raise _malformed("libraries", allowed)
    if not all(isinstance(path, str) and _is_file_pattern(path) and "*" not in path for path in table.values()):
        raise _malformed("libraries", allowed)
    return table


def _is_kind(text: str) -> bool:
    return text == ANY or _KIND.match(text) is not None


def _is_keyring(text: str) -> bool:
    return text == ANY or _IDENTIFIER.match(text) is not None


def _is_host_pattern(text: str) -> bool:
    address = _address(text)
    if text == ANY or address is not None:
        # An address in another spelling than the compared one would never match.
        return text == ANY or text == str(address)
    return _HOST.match(text.removeprefix("*.")) is not None and not _NUMBER.match(text)


def _is_file_pattern(text: str) -> bool:
    return _FILE.match(text) is not None and not {".", ".."} & set(text.split("/"))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_special(address: IPv4Address | IPv6Address) -> bool:
    return address.is_link_local or address.is_multicast or address.is_unspecified
