"""The local policy: what it refuses, which key of the file said so, and that a misspelt veto is no veto."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.policy import CallLedger, LocalPolicy
from shared.errors import Denied, Malformed, Overloaded
from shared.names import ACCOUNT_SCOPE, Scope

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "delegate-policy.toml"
PROJECT = Scope("payments", "cards")


def policy(text: str) -> LocalPolicy:
    return LocalPolicy.parse(text, ["Local"])


def refused_by(given_policy: LocalPolicy, **changes: Any) -> str:
    """The key of the rule that refuses it; empty when nothing does."""
    question = {"op": "reveal", "scope": PROJECT, "kind": "Local", "keyring": "main", **changes}
    try:
        given_policy.check(**question)
    except Denied as error:
        assert error.code == "local_policy"
        assert f"the key {error.facts['rule']} in the policy file" in error.hint
        return str(error.facts["rule"])
    return ""


@pytest.mark.parametrize("op", ["check", "delete", "reveal", "store"])
def test_without_a_file_every_operation_of_the_known_kinds_is_allowed(op: str) -> None:
    assert refused_by(LocalPolicy.default(["Local"]), op=op, scope=ACCOUNT_SCOPE, hosts=["example.com"]) == ""


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"op": "exec"}, "exec"),
        ({"scripts": True}, "scripts"),
        ({"kind": "Other"}, "kinds"),
        ({"op": "rotate"}, "ops"),
    ],
)
def test_without_a_file_exec_scripts_and_other_kinds_are_refused(changes: dict[str, Any], rule: str) -> None:
    assert refused_by(LocalPolicy.default(["Local"]), **changes) == rule


@pytest.mark.parametrize(
    ("text", "changes", "rule"),
    [
        ("exec = true", {"op": "exec"}, ""),
        ("exec = true\nops = []", {"op": "exec"}, ""),
        ("exec = false", {"op": "exec"}, "exec"),
        ("scripts = true", {"scripts": True}, ""),
        ("ops = ['store']", {}, "ops"),
        ("ops = ['store']", {"op": "store"}, ""),
        ("scopes = ['org/payments']", {}, ""),
        ("scopes = ['org/payments/project/cards']", {}, ""),
        ("scopes = ['org/other', 'org/payments/project/billing']", {}, "scopes"),
        ("scopes = ['org/payments/project/cards']", {"scope": Scope("payments")}, "scopes"),
        ("kinds = ['*']", {"kind": "Other"}, ""),
        ("kinds = ['Other']", {}, "kinds"),
        ("keyrings = ['main']", {}, ""),
        ("keyrings = ['other']", {}, "keyrings"),
        ("hosts = ['a.example']", {"hosts": ["a.example"]}, ""),
        ("hosts = ['a.example']", {"hosts": ["a.example", "b.example"]}, "hosts"),
    ],
)
def test_each_rule_refuses_what_it_does_not_allow(text: str, changes: dict[str, Any], rule: str) -> None:
    assert refused_by(policy(text), **changes) == rule


@pytest.mark.parametrize("key", ["ops", "scopes", "kinds", "keyrings"])
def test_an_empty_list_allows_nothing(key: str) -> None:
    assert refused_by(policy(f"{key} = []")) == key


def test_an_empty_list_of_hosts_allows_only_what_calls_none() -> None:
    assert refused_by(policy("hosts = []")) == ""
    assert refused_by(policy("hosts = []"), hosts=["a.example"]) == "hosts"


@pytest.mark.parametrize(
    ("patterns", "host", "allowed"),
    [
        (["a.example"], "A.Example.", True),
        (["a.example"], "b.a.example", False),
        (["*.example"], "a.example", True),
        (["*.example"], "b.a.example", True),
        (["*.example"], "example", False),
        (["*.example"], "badexample", False),
        (["*.example", "*"], "elsewhere", True),
        (["10.0.0.1"], "10.0.0.1", True),
        (["10.0.0.1"], "::ffff:10.0.0.1", True),
        (["fd00::1"], "[FD00:0::1]", True),
        (["*"], "10.0.0.1", True),
        (["*"], "127.0.0.1", True),
        (["*"], "169.254.169.254", False),
        (["*"], "::ffff:169.254.169.254", False),
        (["*"], "fd00:ec2::254", False),
        (["*"], "metadata.google.internal", False),
        (["*"], "0.0.0.0", False),
        (["*"], "::", False),
        (["*"], "224.0.0.1", False),
        (["*"], "2852039166", False),
        (["*"], "0xa9fea9fe", False),
        (["*"], "169.254.43518", False),
        (["*"], "a.example:443", False),
        (["*"], "a.example/path", False),
        (["*"], "user@a.example", False),
        (["*"], "", False),
        (["*"], "a..example", False),
        (["*"], "x" * 254, False),
        (["*"], "*", False),
        (["169.254.169.254"], "169.254.169.254", True),
        (["metadata.google.internal"], "metadata.google.internal", True),
        (["*.google.internal"], "metadata.google.internal", True),
    ],
)
def test_hosts_are_allowed_by_name_address_or_domain(patterns: list[str], host: str, allowed: bool) -> None:
    assert policy(f"hosts = {patterns}").allows_host(host) is allowed


@pytest.mark.parametrize(
    ("patterns", "file", "allowed"),
    [
        (["/srv/token"], "/srv/token", True),
        (["/srv/token"], "/srv/token2", False),
        (["/srv/*"], "/srv/a/token", True),
        (["/srv/*"], "/srv", False),
        (["/srv/*"], "/srvother", False),
        (["/srv/*"], "/srv/../etc/shadow", False),
        (["/srv/*"], "srv/token", False),
        ([], "/vault/sink/token", False),
        (None, "/vault/sink/token", True),
        (None, "/var/run/secrets/kubernetes.io/serviceaccount/token", True),
        (None, "/var/run/secrets/eks.amazonaws.com/serviceaccount/token", False),
        (None, "/run/secrets/keyring.json", False),
        (None, "/etc/shadow", False),
    ],
)
def test_files_are_named_by_connectors_where_they_are_allowed(
    patterns: list[str] | None, file: str, allowed: bool
) -> None:
    assert policy("" if patterns is None else f"files = {patterns}").allows_file(file) is allowed


def test_a_connector_has_its_own_limit_or_the_default_or_none() -> None:
    some = policy("[calls_per_minute]\ndefault = 9\n[calls_per_minute.connectors]\nvault = 0\nkms = 5")
    assert [some.limit(name) for name in ("vault", "kms", "other")] == [0, 5, 9]
    assert policy("").limit("vault") is None
    assert policy("[calls_per_minute]").limit("vault") is None


def test_calls_over_the_limit_are_refused_and_not_counted() -> None:
    some, ledger = policy("calls_per_minute = {default = 10}"), CallLedger()
    ledger.spend(some, "kms", 8, 100.2)
    with pytest.raises(Overloaded, match="10 calls a minute"):
        ledger.spend(some, "kms", 3, 100.4)
    ledger.spend(some, "kms", 2, 100.6)
    ledger.spend(some, "vault", 10, 100.6)
    with pytest.raises(Overloaded):
        ledger.spend(some, "kms", 1, 160.9)
    ledger.spend(some, "kms", 10, 161.0)


def test_a_refusal_says_when_enough_calls_have_left_the_window() -> None:
    some, ledger = policy("calls_per_minute = {default = 10}"), CallLedger()
    ledger.spend(some, "kms", 4, 100.2)
    ledger.spend(some, "kms", 6, 110.0)
    for calls, now, seconds in ((4, 120.5, 41), (5, 120.5, 51), (1, 160.9, 1), (1, 111.0, 50)):
        with pytest.raises(Overloaded) as refused:
            ledger.spend(some, "kms", calls, now)
        assert refused.value.facts == {"retry_after": seconds}
        assert f"in {seconds} seconds" in refused.value.hint
    with pytest.raises(Overloaded) as never:
        ledger.spend(some, "kms", 11, 121.0)
    assert never.value.facts == {}
    ledger.spend(some, "kms", 4, 120.5 + 41)


@given(st.lists(st.tuples(st.floats(0, 120), st.integers(1, 6)), max_size=40), st.integers(1, 12), st.integers(1, 12))
def test_who_comes_back_when_he_was_told_to_is_served(asked: list[tuple[float, int]], limit: int, calls: int) -> None:
    some, ledger = policy(f"calls_per_minute = {{default = {limit}}}"), CallLedger()
    for now, count in sorted(asked):
        with suppress(Overloaded):
            ledger.spend(some, "kms", count, now)
    try:
        ledger.spend(some, "kms", calls, 120.0)
    except Overloaded as why:
        seconds = why.facts.get("retry_after")
        assert (seconds is None) == (calls > limit)
        if seconds is not None:
            assert 1 <= seconds <= 61
            ledger.spend(some, "kms", calls, 120.0 + seconds)


def test_a_limit_of_none_counts_nothing_and_of_zero_allows_nothing() -> None:
    ledger = CallLedger()
    ledger.spend(policy(""), "kms", 10**9, 0.0)
    with pytest.raises(Overloaded):
        ledger.spend(policy("calls_per_minute = {connectors = {kms = 0}}"), "kms", 1, 0.0)


@given(st.lists(st.tuples(st.floats(0, 200), st.integers(1, 5)), max_size=60), st.integers(0, 12))
def test_no_minute_has_more_calls_than_the_limit(asked: list[tuple[float, int]], limit: int) -> None:
    some, ledger = policy(f"calls_per_minute = {{default = {limit}}}"), CallLedger()
    spent: list[tuple[float, int]] = []
    for now, calls in sorted(asked):
        try:
            ledger.spend(some, "kms", calls, now)
        except Overloaded:
            continue
        spent.append((now, calls))
        assert sum(count for then, count in spent if then > now - 60) <= limit


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("op = ['store']", "ops"),
        ("ops = 'store'", "check, delete, reveal, store"),
        ("ops = ['store', 1]", "check, delete, reveal, store"),
        ("ops = ['exec']", "exec has its own key"),
        ("ops = ['reveel']", "check, delete, reveal, store"),
        ("scopes = ['org/']", "org/ORG/project/PROJECT"),
        ("scopes = [1]", "org/ORG/project/PROJECT"),
        ("kinds = ['local']", "names of kinds"),
        ("keyrings = ['a b']", "names of keyrings"),
        ("hosts = ['A.example']", "hosts in lower case"),
        ("hosts = ['https://a.example']", "hosts in lower case"),
        ("hosts = ['a.*.example']", "hosts in lower case"),
        ("hosts = ['*.10']", "hosts in lower case"),
        ("hosts = ['FD00::1']", "hosts in lower case"),
        ("hosts = ['::ffff:10.0.0.1']", "hosts in lower case"),
        ("files = ['token']", "absolute paths"),
        ("files = ['/srv/*/token']", "absolute paths"),
        ("files = ['/srv/../etc']", "absolute paths"),
        ("exec = 'true'", "true or false"),
        ("scripts = 1", "true or false"),
        ("calls_per_minute = 3", "whole numbers"),
        ("calls_per_minute = {default = -1}", "whole numbers"),
        ("calls_per_minute = {default = true}", "whole numbers"),
        ("calls_per_minute = {default = 1.5}", "whole numbers"),
        ("calls_per_minute = {defaults = 1}", "did you mean default"),
        ("calls_per_minute = {connectors = 1}", "whole numbers"),
        ("calls_per_minute = {connectors = {'a b' = 1}}", "whole numbers"),
        ("calls_per_minute = {connectors = {a = 9999999}}", "whole numbers"),
        ("exec = ", "syntax"),
    ],
)
def test_a_faulty_file_is_refused_with_what_is_allowed(text: str, named: str) -> None:
    with pytest.raises(Malformed) as caught:
        policy(text)
    assert named in caught.value.hint


def test_the_example_file_loads_and_has_every_key() -> None:
    text = EXAMPLE.read_text()
    example = policy(text)
    assert example.limit("vault_eu") == 120
    assert refused_by(example) == ""
    assert refused_by(example, scope=Scope("platform", "web")) == "scopes"
    for key in LocalPolicy.__dataclass_fields__:
        assert key.startswith(("calls", "libraries")) or f"\n{key} = " in text
    assert "\n[calls_per_minute]\n" in text
    assert "\n[libraries]\n" in text


_keys = st.sampled_from(
    ["ops", "scopes", "kinds", "keyrings", "hosts", "files", "exec", "scripts", "calls_per_minute", "x"]
)
_values = st.one_of(
    st.sampled_from(
        ["true", "1", "'*'", "['*']", "['store']", "['account']", "{default = 3}", "{connectors = {a = 1}}"]
    ),
    st.text(max_size=20),
    st.lists(st.text(max_size=12)).map(repr),
)


@given(st.lists(st.tuples(_keys, _values)), st.text(max_size=30))
def test_any_file_is_a_policy_or_malformed(pairs: list[tuple[str, str]], host: str) -> None:
    try:
        parsed = policy("\n".join(f"{key} = {value}" for key, value in pairs))
    except Malformed:
        return
    parsed.allows_host(host)
    refused_by(parsed, hosts=[host])


@pytest.mark.parametrize(
    ("ask", "rule", "told"),
    [
        (lambda one: one.check_host("other.example"), "hosts", "the host other.example may not be called"),
        (lambda one: one.check_file("/etc/shadow"), "files", "connectors may not name the file /etc/shadow"),
        (lambda one: one.check_file("/etc/x", "an SSHKey"), "files", "an SSHKey may not name the file /etc/x"),
        (lambda one: one.check_scripts(), "scripts", "scripts may not run here"),
    ],
)
def test_whoever_asks_the_policy_is_told_the_same(ask: Callable[[LocalPolicy], None], rule: str, told: str) -> None:
    with pytest.raises(Denied) as caught:
        ask(policy('hosts = ["a.example"]\nfiles = ["/run/token"]'))
    assert (caught.value.code, caught.value.facts) == ("local_policy", {"rule": rule})
    assert caught.value.detail == f"the delegate's own policy refuses it: {told}"
    assert f"the key {rule} in the policy file" in caught.value.hint
    allowed = policy('hosts = ["other.example"]\nfiles = ["/etc/*"]\nscripts = true')
    ask(allowed)
