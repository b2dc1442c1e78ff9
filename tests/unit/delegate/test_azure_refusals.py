"""What Azure's failures mean, whatever they look like: always an error of the house, and never a word of theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from hypothesis import given
from hypothesis import strategies as st

from delegate.credentials.azure_calls import refused
from delegate.credentials.azure_http import origin_of
from shared.errors import Denied, PrivySealError, Unavailable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "innererror", "message", "error_codes", "x"]), below, max_size=4
        )
    ),
    max_leaves=12,
)


class Answer:
    """As much of an answer as an error of the library keeps."""

    reason = "no"
    headers: dict[str, str] = {}

    def __init__(self, status: int, content: bytes) -> None:
        self.status_code = status
        self.content = content

    def text(self) -> str:
        return self.content.decode(errors="replace")


def failure(status: int, content: bytes) -> PrivySealError:
    given_by_azure: Any = Answer(status, content)
    return refused(HttpResponseError(response=given_by_azure), "secrets/get", "the secret db", "the app")


@given(st.integers(200, 599), st.binary(max_size=200) | JSON.map(lambda one: json.dumps(one).encode()))
def test_any_answer_is_one_of_the_house(status: int, content: bytes) -> None:
    why = failure(status, content)
    assert isinstance(why, PrivySealError)
    assert "{" not in why.detail + why.hint


@given(st.text(min_size=8, max_size=80))
def test_no_word_of_azures_is_repeated_but_a_code(words: str) -> None:
    body = {"error": {"code": f"{words} ", "message": words, "innererror": {"code": f"{words}!"}}}
    why = failure(418, json.dumps(body).encode())
    assert why.code == "azure_refused"
    assert f"{words} " not in why.detail
    assert "the code none" in why.detail


def test_an_error_of_ours_comes_through_whatever_the_library_wrapped_it_in() -> None:
    ours = Denied("local_policy", "no", rule="hosts")
    for wrapped in (ours, ServiceRequestError("x", error=ours)):
        try:
            try:
                raise ours
            except Denied as inner:
                raise wrapped from (inner if wrapped is not ours else None)
        except (Denied, ServiceRequestError) as caught:
            assert refused(caught, "secrets/get", "it", "the app") is ours


def test_errors_that_lead_round_in_a_circle_are_told_too() -> None:
    one, other = OSError("a"), OSError("b")
    one.__cause__, other.__cause__ = other, one
    assert refused(one, "secrets/get", "it", "the app").code == "azure_unreachable"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Devops.Vault.Azure.net/secrets/x", "https://devops.vault.azure.net"),
        ("https://devops.vault.azure.net:443/secrets?x=/", "https://devops.vault.azure.net"),
        ("https://devops.vault.azure.net:8443", "https://devops.vault.azure.net:8443"),
        ("http://169.254.169.254:443/metadata", "http://169.254.169.254:443"),
        ("https://devops.vault.azure.net@evil.example/", "https://devops.vault.azure.net@evil.example"),
        ("https://evil.example\\@devops.vault.azure.net/", "https://evil.example\\@devops.vault.azure.net"),
    ],
)
def test_an_origin_is_scheme_host_and_port_and_nothing_is_taken_for_another(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_what_is_no_failure_of_azures_is_told_as_nonsense() -> None:
    why = refused(KeyError("hunter2"), "secrets/get", "the secret db", "the app")
    assert (type(why), why.code) == (Unavailable, "azure_garbled")
    assert "hunter2" not in repr(why.problem())
