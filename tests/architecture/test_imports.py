"""Who may import whom: DESIGN's house, one row a rule, each with its reason. A rule that never bites is shown to bite."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.architecture.source import COMPUTED, PACKAGES, ROOT, belongs_to, imports, lies_in, sources

SDKS = (
    "aioboto3", "aiobotocore", "azure", "boto3", "botocore", "google.api_core", "google.auth", "google.cloud", "hvac", "msal",
    "pyrage",
)  # fmt: skip
CIPHERS = (
    "Crypto", "nacl", "cryptography.fernet", "cryptography.hazmat.primitives.asymmetric.mlkem",
    "cryptography.hazmat.primitives.asymmetric.x25519", "cryptography.hazmat.primitives.asymmetric.x448",
    "cryptography.hazmat.primitives.ciphers", "cryptography.hazmat.primitives.hpke", "cryptography.hazmat.primitives.keywrap",
)  # fmt: skip
IO = (
    "aiofiles", "anyio", "asyncio", "concurrent", "glob", "http", "io", "mmap", "multiprocessing", "os", "pathlib", "select",
    "selectors", "shutil", "signal", "socket", "socketserver", "sqlalchemy", "sqlite3", "ssl", "subprocess", "tempfile",
    "threading", "urllib.request", "uvloop",
)  # fmt: skip
CLOCKS = ("datetime", "sched", "time", "zoneinfo")
SERVERS = ("alembic", "sqlalchemy", "starlette", "uvicorn")


@dataclass(frozen=True)
class Rule:
    """`where` (file or folder) names none of `forbids`, except in the places `but`."""

    where: str
    forbids: tuple[str, ...]
    reason: str
    but: tuple[str, ...] = ()


RULES = [
    # where, what is forbidden there, why, and where it is allowed all the same
    Rule("shared", ("manager", "delegate", "client"), "programs meet in shared, so shared knows none of them"),
    Rule("shared", SDKS, "the manager imports shared, and must hold nothing that could reach a cloud's keys"),
    Rule("shared", ("grpc",), "the core speaks messages; how they travel is the programs' business", ("shared/wire",)),
    Rule("shared", IO, "the core is pure: it decides, a thin shell around it acts"),
    Rule("shared", CLOCKS, "time is an argument, so that every decision can be tested at any moment"),
    Rule("shared", ("shared.crypto",), "the manager may import all of shared but this", ("shared/crypto",)),
    Rule("shared", CIPHERS, "what opens lives in shared/crypto alone, out of the manager's reach", ("shared/crypto",)),
    Rule("shared", ("opentelemetry",), "who sends no traces loads nothing of what sends them", ("shared/otlp.py",)),
    *(
        Rule(one, ("opentelemetry",), "spans are shared.tracing's, so that what they carry is held in one place")
        for one in ("manager", "delegate", "client")
    ),
    Rule("manager", ("delegate", "client"), "programs never import each other; they meet in shared"),
    Rule("delegate", ("manager", "client"), "programs never import each other; they meet in shared"),
    Rule("client", ("manager", "delegate"), "programs never import each other; they meet in shared"),
    Rule("manager", ("shared.crypto",), "the manager moves what it cannot read"),
    Rule("manager", CIPHERS, "the manager moves what it cannot read, also not by code of its own"),
    Rule("manager", SDKS, "a stolen manager must not be able to call a cloud"),
    Rule(
        "delegate", SDKS, "one file per kind names its SDK, loaded only when a connector names the kind",
        ("delegate/credentials", "delegate/secret_managers"),
    ),
    Rule(
        "delegate", ("asyncssh", "bcrypt"), "loaded by the first login over SSH, and by nothing else",
        ("delegate/ssh_hosts.py", "delegate/ssh_login.py", "delegate/ssh_session.py"),
    ),
    Rule("client", SDKS, "a client never calls a cloud: the delegate does, inside the network"),
    Rule(
        "delegate", (*SERVERS, "aiohttp", "click", "yaml"), "the core of a delegate stays small in memory",
        ("delegate/credentials/azure_http.py", "delegate/credentials/rest.py"),
    ),
    Rule("delegate", ("jwt",), "loaded by the first ID token, and by nothing else", ("delegate/tokens.py",)),
    Rule("client", SERVERS, "the command line starts quickly and installs little"),
    Rule("client", ("click", "client.cli"), "the SDK stands without the command line", ("client/cli",)),
    Rule("manager/policy.py", (*IO, *CLOCKS, *SERVERS, "grpc", "structlog"), "deciding is pure: no I/O, time is an argument"),
    Rule("manager/routing.py", (*IO, *CLOCKS, *SERVERS, "grpc", "structlog"), "deciding is pure: no I/O, time is an argument"),
    Rule("manager/selection.py", (*IO, *CLOCKS, *SERVERS, "grpc", "structlog"), "deciding is pure: no I/O, time is an argument"),
    Rule(
        "shared", ("google.protobuf", "shared.wire"), "protobuf types stop at the codec", ("shared/codec.py", "shared/wire")
    ),
    Rule(
        "manager", ("google.protobuf", "shared.wire"), "protobuf types stop at the API's edges",
        ("manager/api/orders.py", "manager/api/tasks.py", "manager/daemon.py", "manager/stream.py"),
    ),
    Rule("delegate", ("google.protobuf", "shared.wire"), "protobuf types stop at the stream", ("delegate/stream.py",)),
    Rule("client", ("google.protobuf", "shared.wire"), "protobuf types stop where tasks are sent", ("client/relayed.py",)),
    *(
        Rule(one, ("dill", "marshal", "pickle", "shelve"), "one strict format, JSON or protobuf: bytes never become code")
        for one in PACKAGES
    ),
    Rule("shared", (COMPUTED,), "an import that can't be read can't be judged"),
    Rule("manager", (COMPUTED,), "an import that can't be read can't be judged"),
    Rule("delegate", (COMPUTED,), "an import that can't be read can't be judged; kinds load by entry point"),
    Rule("client", (COMPUTED,), "an import that can't be read can't be judged", ("client/cli/main.py",)),
    Rule("tests", ("unittest.mock",), "a fake does real work; a mock agrees with whatever it is told"),
]  # fmt: skip


def broken(rule: Rule, path: str, text: str) -> list[str]:
    """What a file does against a rule, each as one line; empty when it keeps it."""
    if not lies_in(path, (rule.where,)) or lies_in(path, rule.but):
        return []
    return [
        f"{path}:{one.line} imports {one.name}: {rule.reason}"
        for one in imports(path, text)
        if belongs_to(one.name, rule.forbids)
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.where} not {rule.forbids[0]}")
def test_a_law_of_imports_is_kept(rule: Rule) -> None:
    found = [
        line for path, text in sources(rule.where.split("/")[0], generated=True) for line in broken(rule, path, text)
    ]
    assert found == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.where} not {rule.forbids[0]}")
def test_every_law_can_be_broken(rule: Rule) -> None:
    path = rule.where if rule.where.endswith(".py") else f"{rule.where}/deep/bad.py"
    for name in rule.forbids:
        forms = [
            f"import {name}",
            f"import {name}.inner as innocent",
            f"from {name} import anything",
            f"def late():\n    from {name}.inner import anything",
            f"if TYPE_CHECKING:\n    import {name}",
            f"importlib.import_module('{name}')",
        ]
        for text in forms if name != COMPUTED else ["importlib.import_module(name)", "__import__(f'{a}')"]:
            assert broken(rule, path, text), f"{text!r} went unseen"


def test_an_allowed_place_and_a_like_name_are_left_alone() -> None:
    rule = Rule("shared", ("grpc", "shared.wire"), "because", ("shared/wire",))
    assert broken(rule, "shared/wire/delegate_pb2_grpc.py", "import grpc") == []
    assert broken(rule, "shared/a.py", "import grpcio\nfrom shared.wires import x") == []
    assert broken(rule, "shared_other/a.py", "import grpc") == []


def test_a_relative_import_is_seen_through() -> None:
    rule = Rule("shared", ("shared.crypto",), "because")
    assert broken(rule, "shared/trust/a.py", "from ..crypto import seal")
    assert broken(rule, "shared/a.py", "from . import crypto")
    assert broken(rule, "shared/trust/a.py", "from . import crypto") == []


def test_every_place_that_a_law_names_exists() -> None:
    places = {place for rule in RULES for place in (rule.where, *rule.but)}
    assert [place for place in sorted(places) if not (ROOT / place).exists()] == []


def test_every_exception_to_a_law_is_needed() -> None:
    idle = []
    for rule in RULES:
        for place in rule.but:
            strict = Rule(rule.where, rule.forbids, rule.reason)
            texts = [(path, text) for path, text in sources(rule.where, generated=True) if lies_in(path, (place,))]
            if rule.forbids != SDKS and not any(broken(strict, path, text) for path, text in texts):
                idle.append(f"{rule.where} but {place}: {rule.reason}")
    assert idle == []


# ---- the same laws on what is really loaded, other people's modules in between included

LOADED = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [one.name for one in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names if sys.argv[2] == "all" else [sys.argv[1] + "." + sys.argv[2]]:
    if not name.startswith(tuple(sys.argv[3:])):
        importlib.import_module(name)
print("\\n".join(sys.modules))
"""

LATER = (
    "manager.migrations.",  # alembic runs those itself
    "delegate.credentials.",  # kinds at a cloud load these
    "delegate.secret_managers.age_",  # and the registry loads those
    "delegate.secret_managers.aws_",
    "delegate.secret_managers.azure_",
    "delegate.secret_managers.cyberark_",
    "delegate.secret_managers.gcp_",
    "delegate.secret_managers.kubernetes_",
    "delegate.secret_managers.onepassword_",
    "delegate.secret_managers.vault",
    "delegate.ssh_",  # the first login over SSH
)


def loaded(program: str, what: str) -> set[str]:
    """The modules in memory once `what` of a program is imported: one of its modules, or "all"."""
    command = [sys.executable, "-I", "-W", "error", "-c", LOADED, program, what, *LATER]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def among(modules: set[str], names: tuple[str, ...]) -> list[str]:
    return sorted(one for one in modules if belongs_to(one, names))


@pytest.mark.parametrize("what", ["main", "all"])
def test_the_manager_loads_nothing_that_opens(what: str) -> None:
    modules = loaded("manager", what)
    assert "manager.main" in modules
    opens = ("shared.crypto", "cryptography.fernet", "cryptography.hazmat.primitives.hpke", *SDKS)
    assert among(modules, (*opens, "delegate", "client")) == []


@pytest.mark.parametrize("what", ["main", "all"])
def test_the_delegate_loads_no_sdk_and_no_server(what: str) -> None:
    modules = loaded("delegate", what)
    assert "delegate.main" in modules
    assert among(modules, (*SDKS, *SERVERS, "aiohttp", "asyncssh", "click", "jwt", "yaml", "manager", "client")) == []


def test_the_client_asks_for_help_without_network_code_or_ciphers() -> None:
    modules = loaded("client", "cli")
    assert among(modules, (*SDKS, *SERVERS, "manager", "delegate", "aiohttp", "shared.crypto")) == []


def test_what_is_loaded_is_really_looked_at() -> None:
    assert among(loaded("shared", "crypto.seal"), ("shared.crypto",)) != []
