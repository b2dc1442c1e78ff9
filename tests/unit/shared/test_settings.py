"""Settings: which source decides, what is refused, and that no refusal repeats what was given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.options import Option, Type, Value
from shared.settings import Program, Request, Settings, parse_toml, refuse_unknown

CANARY = "zq-canary-7f3"

PROGRAM = Program(
    "privyseal-delegate",
    "PRIVYSEAL_DELEGATE_",
    "takes tasks and opens secrets inside a private network",
    (
        Option("manager", "str", None, "The manager's address.", required=True, example="https://127.0.0.1:8443"),
        Option("keyring_file", "path", None, "The keyring.", secret_path=True, example="/etc/privyseal/keyring"),
        Option("tags", "list", ("linux", "eu"), "Tags of this delegate."),
        Option("max_tasks", "int", 64, "Tasks at once.", minimum=1, maximum=1000),
        Option("offset", "int", 0, "May be negative.", minimum=-5, maximum=0),
        Option("jitter", "float", 0.5, "Jitter.", minimum=0, maximum=1),
        Option("drain", "duration", "30s", "How long to drain.", minimum=1),
        Option("largest", "size", "10MB", "The largest value."),
        Option("json", "bool", True, "JSON logs."),
        Option("level", "str", "info", "Log level.", choices=("debug", "info", "warning")),
        Option("modes", "list", (), "Modes.", choices=("a", "b")),
        Option("health_port", "int", 3460, "Port of the health server."),
    ),
)
MANAGER = {"PRIVYSEAL_DELEGATE_MANAGER": "https://m"}


def option(kind: Type, **rest: Any) -> Option:
    return Option("it", kind, None, "It.", **rest)


def refusal(argv: list[str], environ: dict[str, str] | None = None, toml: str | None = None) -> Malformed:
    with pytest.raises(Malformed) as caught:
        PROGRAM.parse(argv, MANAGER if environ is None else environ, toml)
    assert CANARY not in f"{caught.value.problem()}"
    # What Python prints of an error's context would repeat it too.
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


def test_each_source_outranks_the_next() -> None:
    toml = "max_tasks = 3"
    environ = {**MANAGER, "PRIVYSEAL_DELEGATE_MAX_TASKS": "4"}

    def outcome(argv: list[str], environ: dict[str, str], toml: str | None) -> tuple[Value, str]:
        settings = PROGRAM.parse(argv, environ, toml)
        return settings.values["max_tasks"], settings.origins["max_tasks"]

    assert outcome(["--max-tasks", "5"], environ, toml) == (5, "command line")
    assert outcome([], environ, toml) == (4, "environment")
    assert outcome([], MANAGER, toml) == (3, "file")
    assert outcome([], MANAGER, None) == (64, "default")


def test_an_empty_variable_counts_as_not_set() -> None:
    settings = PROGRAM.parse([], {**MANAGER, "PRIVYSEAL_DELEGATE_MAX_TASKS": ""}, None)
    assert settings.origins["max_tasks"] == "default"


def test_a_mistake_in_a_weaker_source_is_told_although_a_stronger_one_decides() -> None:
    assert "(file)" in refusal(["--max-tasks", "5"], toml="max_tasks = 0").detail


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--json"], True),
        (["--no-json"], False),
        (["--json=off"], False),
        (["--json=YES"], True),
        (["--no-json", "--json"], True),
    ],
)
def test_a_boolean_flag_is_set_unset_and_given(argv: list[str], expected: bool) -> None:
    assert PROGRAM.parse(argv, MANAGER, None).get("json", bool) is expected


def test_flags_take_their_value_after_a_space_or_an_equals_sign() -> None:
    settings = PROGRAM.parse(["--offset", "-5", "--level=debug", "--level", "warning"], MANAGER, None)
    assert (settings.get("offset", int), settings.get("level", str)) == (-5, "warning")


def test_the_flags_of_a_list_add_up() -> None:
    settings = PROGRAM.parse(["--tags=a, b", "--tags", "c", "--modes="], MANAGER, None)
    assert settings.texts("tags") == ("a", "b", "c")
    assert settings.texts("modes") == ()


@pytest.mark.parametrize(
    ("argv", "environ", "toml", "named", "suggested"),
    [
        (["--max-task", "3"], MANAGER, None, "--max-task", "--max-tasks"),
        (["--no-jsn"], MANAGER, None, "--no-jsn", "--no-json"),
        (["-x"], MANAGER, None, "-x", "known are"),
        (
            [],
            {"PRIVYSEAL_DELEGATE_MANAGR": CANARY},
            None,
            "PRIVYSEAL_DELEGATE_MANAGR",
            "PRIVYSEAL_DELEGATE_MANAGER",
        ),
        ([], MANAGER, f"drane = '{CANARY}'", "drane", "drain"),
        ([], MANAGER, "[limits]\nx = 1", "limits", "known are"),
    ],
)
def test_an_unknown_name_is_refused_with_the_closest_known_one(
    argv: list[str], environ: dict[str, str], toml: str | None, named: str, suggested: str
) -> None:
    error = refusal(argv, environ, toml)
    assert error.code == "setting_unknown"
    assert error.detail.endswith(f" {named}")
    assert suggested in error.hint


def test_what_cannot_be_meant_as_a_name_is_not_repeated() -> None:
    assert refusal([f"--{CANARY} {CANARY}"]).detail == "unknown flag"
    assert refusal([CANARY]).detail == "argument 1 is not a flag"
    assert refusal(["--json", CANARY]).detail == "argument 2 is not a flag"


def test_the_variables_that_kubernetes_sets_for_a_service_are_left_alone() -> None:
    links = {
        "PRIVYSEAL_DELEGATE_SERVICE_HOST": "10.0.0.1",
        "PRIVYSEAL_DELEGATE_SERVICE_PORT": "3460",
        "PRIVYSEAL_DELEGATE_SERVICE_PORT_HTTP": "3460",
        "PRIVYSEAL_DELEGATE_PORT": "tcp://10.0.0.1:3460",
        "PRIVYSEAL_DELEGATE_PORT_3460_TCP_ADDR": "10.0.0.1",
        "PRIVYSEAL_DELEGATE_HEALTH_PORT": "tcp://10.0.0.1:3460",
    }
    assert PROGRAM.parse([], {**MANAGER, **links}, None).origins["health_port"] == "default"
    settings = PROGRAM.parse([], {**MANAGER, "PRIVYSEAL_DELEGATE_HEALTH_PORT": "1"}, None)
    assert settings.get("health_port", int) == 1


def test_the_clients_prefix_leaves_the_daemons_variables_alone() -> None:
    client = Program("privyseal", "PRIVYSEAL_", "seals and opens", (Option("context", "str", None, "The context."),))
    environ = {
        "PRIVYSEAL_MANAGER_URL": "x",
        "PRIVYSEAL_DELEGATE_X": "y",
        "HOME": "/",
        "PRIVYSEAL_CONTEXT": "here",
    }
    assert client.parse([], environ, None).get("context", str) == "here"
    with pytest.raises(Malformed, match=r"PRIVYSEAL_CONTEX$"):
        client.parse([], {"PRIVYSEAL_CONTEX": "here"}, None)


def test_a_program_without_options_knows_no_key() -> None:
    with pytest.raises(Malformed) as caught:
        refuse_unknown(["a"], [], "settings")
    assert caught.value.hint == "known are: none"


def test_what_is_required_and_missing_is_told_with_every_way_to_give_it() -> None:
    error = refusal([], {})
    assert error.code == "setting_missing"
    for way in ("--manager", "PRIVYSEAL_DELEGATE_MANAGER", "manager in the TOML file"):
        assert way in error.hint


def test_a_flag_without_its_value_is_refused() -> None:
    for argv in (["--level"], ["--level", "--json"], ["--config"]):
        assert "stands without a value" in refusal(argv).detail


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("str", "a b", "a b"),
        ("path", "/run/x y", "/run/x y"),
        ("int", "-12", -12),
        ("float", "1.5e3", 1500.0),
        ("float", "2", 2.0),
        ("bool", "On", True),
        ("list", "a,, b ,", ("a", "b")),
        ("duration", "1.5h", 5400.0),
        ("duration", "250ms", 0.25),
        ("duration", "7", 7.0),
        ("duration", "2 d", 172_800.0),
        ("size", "10MB", 10_000_000),
        ("size", "4 KiB", 4096),
        ("size", "12", 12),
        ("size", "1.5KB", 1500),
    ],
)
def test_each_type_is_understood_as_text(kind: Type, text: str, expected: Value) -> None:
    accepted = option(kind).accept_text(text, "here")
    assert accepted == expected
    assert type(accepted) is type(expected)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("str", f"{CANARY}\n"),
        ("str", f"postgresql://user:{CANARY}@host/db"),
        ("path", ""),
        ("path", f"{CANARY}\x00"),
        ("int", f"1{CANARY}"),
        ("int", "1_000"),
        ("int", "٣"),
        ("int", "9" * 17),
        ("int", "9999999999999999"),
        ("float", "nan"),
        ("float", "1e99"),
        ("bool", CANARY),
        ("list", f"a,{CANARY}\x1b[0m"),
        ("duration", "5 weeks"),
        ("duration", "-1s"),
        ("duration", "-1"),
        ("size", "1.5B"),
        ("size", "1 mb"),
        ("size", "999999999999999GiB"),
        ("size", CANARY),
    ],
)
def test_a_text_of_another_type_is_refused_and_not_repeated(kind: Type, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        option(kind).accept_text(text, "here")
    assert CANARY not in f"{caught.value.problem()}"
    assert "the setting it (here)" in caught.value.detail


@pytest.mark.parametrize(
    ("kind", "toml", "expected"),
    [
        ("duration", "30", 30.0),
        ("duration", "0.5", 0.5),
        ("duration", "'5m'", 300.0),
        ("size", "1024", 1024),
        ("float", "3", 3.0),
        ("list", "['x', 'y,z']", ("x", "y,z")),
        ("bool", "false", False),
    ],
)
def test_each_type_is_understood_in_toml(kind: Type, toml: str, expected: Value) -> None:
    accepted = option(kind).accept(parse_toml(f"it = {toml}", "settings")["it"], "file")
    assert accepted == expected
    assert type(accepted) is type(expected)


@pytest.mark.parametrize(
    ("kind", "toml"),
    [
        ("int", "'3'"),
        ("int", "true"),
        ("int", "1.0"),
        ("int", "-99999999999999999999999"),
        ("bool", "1"),
        ("bool", "'true'"),
        ("float", "inf"),
        ("float", "nan"),
        ("str", "1"),
        ("str", "2020-01-01"),
        ("list", "'a'"),
        ("list", "['a', 1]"),
        ("list", "['']"),
        ("list", "[['a']]"),
        ("size", "1.0"),
        ("path", "{a = 1}"),
    ],
)
def test_a_toml_value_of_another_type_is_refused(kind: Type, toml: str) -> None:
    with pytest.raises(Malformed):
        option(kind).accept(parse_toml(f"it = {toml}", "settings")["it"], "file")


def test_limits_and_choices_hold_and_are_told() -> None:
    number = option("int", minimum=0, maximum=10_000_000)
    assert number.accept(0, "here") == 0
    for value in (-1, 10_000_001):
        with pytest.raises(Malformed) as caught:
            number.accept(value, "here")
        assert caught.value.hint == "it takes a whole number, at least 0, at most 10000000"
    assert option("int", maximum=0).accept(-7, "here") == -7
    with pytest.raises(Malformed) as caught:
        option("str", choices=("a", "b")).accept("c", "here")
    assert caught.value.hint == "it takes one of a, b"
    with pytest.raises(Malformed) as caught:
        option("list", choices=("a", "b")).accept(["a", "c"], "here")
    assert caught.value.hint == "it takes a list of a, b"


def test_a_secret_is_given_by_the_path_of_its_file_and_never_itself() -> None:
    secret = option("path", secret_path=True)
    assert secret.accept("/run/secrets/key", "here") == "/run/secrets/key"
    with pytest.raises(Malformed) as caught:
        secret.accept(f"-----BEGIN PRIVATE KEY-----{CANARY}", "here")
    assert caught.value.hint == "give the path of the file that holds it"
    assert CANARY not in f"{caught.value.problem()}"


@pytest.mark.parametrize(
    "declare",
    [
        lambda: Option("Name", "str", None, ""),
        lambda: Option("no_tls", "bool", False, ""),
        lambda: Option("config", "path", None, ""),
        lambda: Option("service_host", "str", None, ""),
        lambda: Option("key", "str", None, "", secret_path=True),
        lambda: Option("x", "str", "a", "", required=True, example="a"),
        lambda: Option("x", "str", None, "", required=True),
        lambda: Option("x", "int", "3", ""),
        lambda: Option("x", "int", None, "", example=3, minimum=4),
        lambda: Program("p", "P_", "", (Option("x", "int", 1, ""), Option("x", "str", None, ""))),
    ],
)
def test_a_faulty_declaration_is_a_bug(declare: Any) -> None:
    with pytest.raises(ValueError, match=r"name|secret|required|default"):
        declare()


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        ([], {}, Request("run", None)),
        (["--config", "a.toml"], {"PRIVYSEAL_DELEGATE_CONFIG": "b.toml"}, Request("run", "a.toml")),
        ([], {"PRIVYSEAL_DELEGATE_CONFIG": "b.toml"}, Request("run", "b.toml")),
        (["--check-config", "--config=a"], {}, Request("check", "a")),
        (["--version"], {}, Request("version", None)),
        (["--help", "--version"], {}, Request("help", None)),
        (["-h"], {}, Request("help", None)),
    ],
)
def test_the_request_is_known_before_the_file_is_read(
    argv: list[str], environ: dict[str, str], expected: Request
) -> None:
    assert PROGRAM.request(argv, environ) == expected


def test_the_variable_that_names_the_file_is_not_unknown() -> None:
    assert PROGRAM.parse([], {**MANAGER, "PRIVYSEAL_DELEGATE_CONFIG": "x"}, None).values["drain"] == 30.0


def test_the_help_names_every_option_flag_variable_and_default() -> None:
    text = " ".join(PROGRAM.help().split())
    for each in PROGRAM.options:
        assert each.flag in text
        assert f"PRIVYSEAL_DELEGATE_{each.name.upper()}" in text
        assert each.help in text
    assert 'default "30s"' in text
    assert "--json, --no-json" in text
    assert "required" in text
    assert "only its owner may read the file" in text
    assert max(map(len, PROGRAM.help().splitlines())) <= 100


def test_the_example_is_a_file_that_gives_the_defaults() -> None:
    by_example = PROGRAM.parse([], {}, PROGRAM.example())
    by_default = PROGRAM.parse(["--manager=https://127.0.0.1:8443"], {}, None)
    assert by_example.values == by_default.values
    commented_out = [line for line in PROGRAM.example().splitlines() if line.startswith("# keyring_file = ")]
    assert commented_out == ['# keyring_file = "/etc/privyseal/keyring"']
    bare = Program("p", "P_", "", (Option("x", "str", None, "It."),))
    assert "# x = ..." in bare.example()


def test_the_listing_shows_each_value_and_where_it_came_from() -> None:
    rows = [line.split() for line in PROGRAM.parse(["--drain=2m"], MANAGER, "level = 'debug'").listing().splitlines()]
    assert ["manager", '"https://m"', "environment"] in rows
    assert ["drain", "120.0", "command", "line"] in rows
    assert ["level", '"debug"', "file"] in rows
    assert ["keyring_file", "-", "default"] in rows
    assert Settings({}, {}).listing() == ""


def test_a_setting_is_had_with_its_type() -> None:
    settings = PROGRAM.parse([], MANAGER, None)
    assert settings.maybe("keyring_file", str) is None
    assert settings.maybe("max_tasks", int) == 64
    assert settings.texts("tags") == ("linux", "eu")
    with pytest.raises(TypeError, match="max_tasks is not a str"):
        settings.get("max_tasks", str)


@pytest.mark.parametrize(
    ("toml", "where"),
    [
        (f"drain = 1\nlevel = {CANARY}", " at line 2"),
        ("a = " + "[" * 5000, ""),
        ("max_tasks = " + "9" * 5000, ""),
        ("a = '", ""),
    ],
)
def test_a_broken_file_is_refused_with_the_line_and_not_its_content(toml: str, where: str) -> None:
    error = refusal([], toml=toml)
    assert error.code == "toml_malformed"
    assert error.detail == f"the settings file is not valid TOML{where}"


_words = st.sampled_from([each.flag for each in PROGRAM.options] + ["--config", "=", "--", "-h", "1", "a,b", "30s"])


@given(st.lists(_words | st.text(max_size=12)), st.dictionaries(st.text(max_size=20), st.text(max_size=12)))
@example(["--drain=" + "9" * 15 + "d"], {})
@example(["--jitter=1e-99"], {})
def test_any_command_line_and_environment_parses_or_raises_malformed(argv: list[str], environ: dict[str, str]) -> None:
    environ = {**environ, **{f"PRIVYSEAL_DELEGATE_{name}": text for name, text in environ.items()}}
    try:
        PROGRAM.request(argv, environ)
        PROGRAM.parse(argv, {**MANAGER, **environ}, None)
    except Malformed:
        pass


_scalars = st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.just("5m") | st.just("1KB")


@given(st.dictionaries(st.sampled_from([each.name for each in PROGRAM.options]), _scalars | st.lists(_scalars)))
def test_any_values_of_known_keys_are_accepted_within_limits_or_raise_malformed(keys: dict[str, Any]) -> None:
    for each in PROGRAM.options:
        if each.name in keys:
            try:
                accepted = each.accept(keys[each.name], "file")
            except Malformed:
                continue
            assert each.accept(accepted, "again") == accepted


@given(st.text() | st.text(alphabet="[]={}\"'\n.a1#-:T,"))
def test_any_text_is_toml_or_raises_malformed(text: str) -> None:
    try:
        assert isinstance(parse_toml(text, "settings"), dict)
    except Malformed:
        pass
