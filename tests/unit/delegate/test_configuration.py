"""Settings become a configuration: files are read, names normalised, familiar variables understood."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from delegate.configuration import PROGRAM, Configuration
from delegate.familiar import environment
from delegate.main import run
from delegate.secret_managers.registry import BUILT_IN
from shared.errors import Malformed
from tests.fakes.world import World


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    path = tmp_path / "keyring.json"
    path.write_bytes(World().keyring.text())
    path.chmod(0o600)
    return ["--manager=https://manager.example", f"--keyring-file={path}"]


def configured(flags: list[str], environ: dict[str, str] | None = None, host: str = "Host-1.Example") -> Configuration:
    settings = PROGRAM.parse(flags, environment(environ or {}), None)
    return Configuration.of(settings, environ or {}, host)


def test_defaults_are_the_documented_ones(flags: list[str]) -> None:
    made = configured(flags)
    assert (made.name, made.tags) == ("host-1.example", ("host-1.example",))
    assert (made.capacity, made.task_seconds, made.drain_seconds, made.backoff_seconds) == (10, 300, 600, (0.5, 30))
    assert made.health == ("127.0.0.1", 3460)
    assert made.policy.kinds == set(BUILT_IN) >= {"AwsKms", "Local"}
    assert (made.proxy, made.authorities) == (None, None)
    assert (made.call_seconds, made.data_keys, made.endpoints.url("kms")) == (15, (300, 10_000, 64 * 1024 * 1024), None)


def test_data_keys_calls_and_endpoints_are_the_owners_choice(flags: list[str]) -> None:
    environ = {"PRIVYSEAL_DELEGATE_DATA_KEY_SECONDS": "0"}
    given = ("--data-key-uses=7", "--data-key-bytes=8", "--call-seconds=2s", "--aws-endpoints=kms=https://vpce.example")
    made = configured([*flags, *given], environ)
    assert (made.call_seconds, made.data_keys) == (2, (0, 7, 8))
    assert (made.endpoints.url("kms"), made.endpoints.url("sts")) == ("https://vpce.example", None)


def test_an_endpoint_without_tls_elsewhere_is_refused(flags: list[str]) -> None:
    with pytest.raises(Malformed, match="aws_endpoints"):
        configured([*flags, "--aws-endpoints=http://kms.example"])


def test_where_azure_is_asked_is_the_owners_choice(flags: list[str]) -> None:
    made = configured([*flags, "--azure-endpoints=login=https://login.example,identity=http://127.0.0.1:8080"])
    asked = [made.azure_endpoints.url(service) for service in ("vault", "login", "identity")]
    assert asked == [None, "https://login.example", "http://127.0.0.1:8080"]
    assert made.endpoints.url("login") is None
    with pytest.raises(Malformed, match="azure_endpoints"):
        configured([*flags, "--azure-endpoints=vault=http://vault.example"])


def test_name_and_tags_are_normalised_and_the_host_stays_a_tag(flags: list[str]) -> None:
    made = configured([*flags, "--name= EU-1 ", "--tags=Web, EU"])
    assert (made.name, made.tags) == ("eu-1", ("eu", "host-1.example", "web"))


def test_a_host_that_can_not_be_a_tag_is_none_when_the_name_is_given(flags: list[str]) -> None:
    assert configured([*flags, "--name=alpha"], host="no selector!").tags == ()
    with pytest.raises(Malformed, match="name can't be a selector"):
        configured(flags, host="no selector!")


def test_a_group_is_normalised_and_none_unless_it_is_given(flags: list[str]) -> None:
    assert configured(flags).group is None
    assert configured([*flags, "--group= EU-Builders "]).group == "eu-builders"
    assert configured(flags, {"DELEGATE_GROUP_NAME": "old"}).group == "old"
    with pytest.raises(Malformed, match="group can't be a selector"):
        configured([*flags, "--group=no selector!"])


def test_familiar_variables_are_understood_and_ours_win(flags: list[str]) -> None:
    assert configured(flags, {"DELEGATE_NAME": "old", "DELEGATE_TAGS": "a,b"}).name == "old"
    both = {"DELEGATE_NAME": "old", "PRIVYSEAL_DELEGATE_NAME": "ours"}
    assert configured(flags, both).name == "ours"


@pytest.mark.parametrize(
    ("text", "health"),
    [("off", None), ("0.0.0.0:1", ("0.0.0.0", 1)), ("[::1]:0", ("::1", 0)), ("localhost:3460", ("localhost", 3460))],
)
def test_health_addresses_are_understood(flags: list[str], text: str, health: tuple[str, int] | None) -> None:
    assert configured([*flags, f"--health-address={text}"]).health == health


@pytest.mark.parametrize("text", ["", "on", "3460", ":3460", "host:", "host:99999", "host:-1"])
def test_other_health_addresses_are_refused(flags: list[str], text: str) -> None:
    with pytest.raises(Malformed, match="health_address"):
        configured([*flags, f"--health-address={text}"])


def test_pauses_the_wrong_way_round_are_refused(flags: list[str]) -> None:
    with pytest.raises(Malformed, match="backoff_min_seconds"):
        configured([*flags, "--backoff-min-seconds=10", "--backoff-max-seconds=1"])


def test_a_password_in_the_proxys_url_is_no_setting(flags: list[str]) -> None:
    with pytest.raises(Malformed) as caught:
        configured([*flags, "--proxy=http://user:hunter2@proxy:3128"])
    assert "hunter2" not in caught.value.detail + caught.value.hint


def test_mask_patterns_are_read_at_the_start(flags: list[str], tmp_path: Path) -> None:
    assert configured(flags).mask_patterns is None
    file = tmp_path / "sanitize-patterns.txt"
    file.write_text("one\n\ntwo\n")
    made = configured([*flags, f"--mask-patterns-file={file}"])
    assert made.mask_patterns is not None and len(made.mask_patterns) == 2
    file.write_text("one\n(two\n")
    out, err = StringIO(), StringIO()
    assert run([*flags, f"--mask-patterns-file={file}", "--check-config"], {}, out, err) == Malformed.exit_status
    assert "line 2 of the mask patterns file" in err.getvalue() and "two" not in err.getvalue()


def test_check_config_says_which_keyring_it_read(flags: list[str]) -> None:
    out, err = StringIO(), StringIO()
    assert run([*flags, "--name=alpha", "--check-config"], {}, out, err) == 0
    assert "the keyring main and the policy are fine" in out.getvalue()
    assert err.getvalue() == ""
