"""Variables of other delegates' containers: understood, weaker than ours, and refused by their own names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delegate.address import Address
from delegate.familiar import FAMILIAR, PREFIX, environment
from shared.errors import Malformed

MANAGER = Address.parse("https://manager.example")


@pytest.mark.parametrize(
    ("familiar", "text", "name", "said"),
    [
        ("DELEGATE_NAME", "old", "NAME", "old"),
        ("DELEGATE_TAGS", "a,b", "TAGS", "a,b"),
        ("DELEGATE_GROUP_NAME", "builders", "GROUP", "builders"),
        ("MANAGER_HOST_AND_PORT", "https://app.example.com", "MANAGER", "https://app.example.com"),
        ("MANAGER_HOST_AND_PORT", "manager:8443 ", "MANAGER", "https://manager:8443"),
        ("DELEGATE_TASK_CAPACITY", "2", "CAPACITY", "2"),
        ("DELEGATE_TASK_LIMIT", "7", "CAPACITY", "7"),
        ("DELEGATE_CPU_THRESHOLD", "75", "CPU_LIMIT_PERCENT", "75"),
        ("DELEGATE_MEMORY_THRESHOLD", "0", "MEMORY_LIMIT_PERCENT", "0"),
        ("LOGGING_LEVEL", "WARN", "LOG_LEVEL", "warning"),
        ("LOG_LEVEL", "trace", "LOG_LEVEL", "debug"),
        ("LOG_LEVEL", "INFO", "LOG_LEVEL", "info"),
        ("LOGGING_LEVEL", "Fatal", "LOG_LEVEL", "error"),
    ],
)
def test_each_is_understood_and_ours_wins(familiar: str, text: str, name: str, said: str) -> None:
    assert environment({familiar: text})[PREFIX + name] == said
    assert environment({familiar: text, PREFIX + name: "ours"})[PREFIX + name] == "ours"
    # As with ours, an empty one counts as not set.
    assert environment({familiar: text, PREFIX + name: ""})[PREFIX + name] == said
    assert PREFIX + name not in environment({familiar: " "})


def test_the_first_of_two_for_the_same_counts() -> None:
    assert environment({"LOG_LEVEL": "debug", "LOGGING_LEVEL": "error"})[PREFIX + "LOG_LEVEL"] == "error"
    both = {"DELEGATE_TASK_LIMIT": "9", "DELEGATE_TASK_CAPACITY": "2"}
    assert environment(both)[PREFIX + "CAPACITY"] == "2"


def proxy(**parts: str) -> str | None:
    return MANAGER.proxy(None, environment(parts))


def test_a_proxy_in_parts_is_one() -> None:
    assert proxy(PROXY_HOST="proxy.example", PROXY_PORT="3128") == "http://proxy.example:3128"
    assert proxy(PROXY_HOST="proxy.example", PROXY_PORT="3128", PROXY_SCHEME="HTTP") == "http://proxy.example:3128"
    assert proxy(PROXY_HOST="http://proxy.example/") == "http://proxy.example:80"
    assert proxy(PROXY_HOST="[2001:db8::1]", PROXY_PORT="1") == "http://[2001:db8::1]:1"
    login = {"PROXY_HOST": "a", "PROXY_PORT": "1", "PROXY_USER": "acme\\user", "PROXY_PASSWORD": "p@ss:w/rd %"}
    assert proxy(**login) == "http://acme%5Cuser:p%40ss%3Aw%2Frd%20%25@a:1"
    assert proxy(PROXY_HOST="a", PROXY_USER="user") == "http://user@a:80"
    assert proxy(PROXY_PORT="3128", PROXY_USER="user", PROXY_PASSWORD="word") is None


def test_the_standard_variable_wins_and_no_proxy_and_proxy_manager_are_heeded() -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        assert proxy(PROXY_HOST="a", **{name: "http://b:2"}) == "http://b:2"
    assert proxy(PROXY_HOST="a", NO_PROXY="10.0.0.0/8,.example") is None
    assert proxy(PROXY_HOST="a", PROXY_MANAGER="false") is None
    assert proxy(PROXY_HOST="a", PROXY_MANAGER="true") == "http://a:80"
    # Providers are reached through it all the same.
    assert environment({"PROXY_HOST": "a", "PROXY_MANAGER": "false"})["HTTPS_PROXY"] == "http://a"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"LOGGING_LEVEL": "hunter2"}, "LOGGING_LEVEL"),
        ({"LOG_LEVEL": "hunter2"}, "LOG_LEVEL"),
        ({"DELEGATE_TASK_CAPACITY": "hunter2"}, "DELEGATE_TASK_CAPACITY"),
        ({"DELEGATE_CPU_THRESHOLD": "hunter2"}, "DELEGATE_CPU_THRESHOLD"),
        ({"DELEGATE_MEMORY_THRESHOLD": "101"}, "DELEGATE_MEMORY_THRESHOLD"),
        ({"PROXY_HOST": "hunter2", "PROXY_PORT": "hunter2"}, "PROXY_PORT"),
        ({"PROXY_HOST": "a", "PROXY_PORT": "65536"}, "PROXY_PORT"),
        ({"PROXY_HOST": "user:hunter2@proxy"}, "PROXY_HOST"),
        ({"PROXY_HOST": "2001:db8::1"}, "PROXY_HOST"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_own_name_and_not_repeated(
    variables: dict[str, str], named: str
) -> None:
    with pytest.raises(Malformed) as caught:
        environment(variables)
    assert f"environment variable {named} is not" in caught.value.detail
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_proxy_that_is_reached_by_tls_is_refused() -> None:
    with pytest.raises(Malformed) as caught:
        proxy(PROXY_HOST="a", PROXY_SCHEME="https", PROXY_USER="user", PROXY_PASSWORD="hunter2")
    assert caught.value.code == "proxy_malformed"
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


NAMES = [
    *FAMILIAR,
    "PROXY_HOST",
    "PROXY_PORT",
    "PROXY_SCHEME",
    "PROXY_USER",
    "PROXY_PASSWORD",
    "PROXY_MANAGER",
    "NO_PROXY",
]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=12)))
def test_any_texts_are_understood_or_malformed(variables: dict[str, str]) -> None:
    try:
        MANAGER.proxy(None, environment(variables))
    except Malformed as why:
        assert why.hint
