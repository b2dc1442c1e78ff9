"""What a delegate is configured with: its options, and what they come to once their files are read.

deploy/examples/delegate.toml is made from the options (a test compares); variables that users of other
delegates have stand in `delegate.familiar`. A secret is given by the path of its file only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from delegate.address import Address
from delegate.endpoints import Endpoints
from delegate.familiar import PREFIX
from delegate.files import read_authorities, read_keyring, read_text
from delegate.mask_patterns import MaskPatterns
from delegate.policy import LocalPolicy
from delegate.secret_managers.registry import BUILT_IN
from shared.crypto.keyring import Keyring
from shared.errors import Malformed
from shared.options import Option
from shared.selectors import normalise, normalise_all
from shared.settings import Program, Settings

PROGRAM: Final = Program(
    "privyseal-delegate",
    PREFIX,
    "runs inside a private network, dials one manager, and does what granted people signed",
    (
        Option(
            "manager",
            "str",
            None,
            required=True,
            example="https://manager.example.com:8443",
            help="URL of the manager's port for delegates. http:// on loopback only. MANAGER_HOST_AND_PORT is understood.",
        ),
        Option(
            "keyring_file",
            "path",
            None,
            required=True,
            secret_path=True,
            example="/etc/privyseal/keyring.json",
            help="The keyring of this delegate's zone: mode 0600, or a mounted container secret (0400 or 0440, root's).",
        ),
        Option(
            "ca_file",
            "path",
            None,
            help="PEM certificates that issue the manager's; unset, those that come with gRPC.",
            example="/etc/privyseal/ca.pem",
        ),
        Option(
            "name",
            "str",
            None,
            example="eu-west-1a",
            help="This delegate's name, also one of its tags; unset, the host's. DELEGATE_NAME is understood.",
        ),
        Option(
            "tags",
            "list",
            (),
            example=("eu", "production"),
            help="Selectors that this delegate owns beside its name and host. DELEGATE_TAGS is understood.",
        ),
        Option(
            "group",
            "str",
            None,
            example="eu-builders",
            help="The group that this delegate is of: its name is a selector too, and so are the tags that an administrator gives "
            "it (privyseal group set), without a restart. DELEGATE_GROUP_NAME is understood.",
        ),
        Option(
            "policy_file",
            "path",
            None,
            example="/etc/privyseal/delegate-policy.toml",
            help="What this delegate refuses, whoever signed it: see delegate-policy.toml. "
            "Unset: the built-in kinds, no commands, no scripts.",
        ),
        Option(
            "capacity",
            "int",
            10,
            minimum=1,
            maximum=1000,
            help="Tasks at the same time. DELEGATE_TASK_CAPACITY is understood.",
        ),
        Option(
            "cpu_limit_percent",
            "int",
            80,
            minimum=0,
            maximum=100,
            help="From how much use of its CPU on, over six seconds, this delegate takes no new tasks: of the control group's "
            "quota, else of the machine's cores. 0 for no limit. Linux only. DELEGATE_CPU_THRESHOLD is understood.",
        ),
        Option(
            "memory_limit_percent",
            "int",
            80,
            minimum=0,
            maximum=100,
            help="The same of its memory: of the control group's limit, else of the machine's. 0 for no limit. Linux only. "
            "DELEGATE_MEMORY_THRESHOLD is understood.",
        ),
        Option(
            "mask_patterns_file",
            "path",
            None,
            example="/etc/privyseal/sanitize-patterns.txt",
            help="Regular expressions of RE2, one a line: what they match in a line of a command's output, or of what a failed "
            "script printed, is masked besides the secrets. At most 100.",
        ),
        Option("task_seconds", "duration", "5m", minimum=1, maximum=3600, help="How long one task may take."),
        Option(
            "exec_seconds",
            "duration",
            "1h",
            minimum=1,
            maximum=86_400,
            help="The longest time limit that a command may ask for, beside task_seconds for its values. "
            "Commands run only where the policy file allows exec.",
        ),
        Option(
            "call_seconds",
            "duration",
            "15s",
            minimum=0.1,
            maximum=300,
            help="How long one try of a call to a provider may take; there are three at most.",
        ),
        Option(
            "check_seconds",
            "duration",
            "10m",
            maximum=86_400,
            help="How often a connector that tasks used within a day is tested again, on this delegate's own clock; "
            "0 for never.",
        ),
        Option(
            "data_key_seconds",
            "duration",
            "5m",
            maximum=86_400,
            help="How long an unwrapped data key is kept for further uses; 0 keeps none.",
        ),
        Option(
            "data_key_uses", "int", 10_000, minimum=1, maximum=1_000_000_000, help="Uses of a kept data key, at most."
        ),
        Option(
            "data_key_bytes",
            "int",
            64 * 1024 * 1024,
            minimum=1,
            maximum=2**40,
            help="Bytes that a kept data key opens, at most.",
        ),
        Option(
            "aws_endpoints",
            "str",
            None,
            example="kms=https://vpce-0a1b.kms.eu-west-1.vpce.amazonaws.com",
            help="Where AWS is asked in place of its ordinary addresses: a URL for all services, or SERVICE=URL with "
            "commas between. http:// on loopback only.",
        ),
        Option(
            "gcp_endpoints",
            "str",
            None,
            example="cloudkms=https://cloudkms-acme.p.googleapis.com",
            help="Where Google Cloud is asked in place of its ordinary addresses: SERVICE=URL with commas between; services are "
            "cloudkms, secretmanager, oauth2, sts and iamcredentials. http:// on loopback only.",
        ),
        Option(
            "azure_endpoints",
            "str",
            None,
            example="vault=https://vault.example.com,login=https://login.example.com",
            help="Where Azure is asked in place of its ordinary addresses: vault, login (Entra ID) and identity (this machine's "
            "managed identity). http:// on loopback only.",
        ),
        Option(
            "ssh_known_hosts",
            "path",
            None,
            example="/etc/privyseal/ssh_known_hosts",
            help="Hosts that this delegate knows over SSH beside those in each SSHKey's knownHosts, in the form of OpenSSH's "
            "known_hosts; read anew for each connection.",
        ),
        Option(
            "proxy",
            "str",
            None,
            example="http://proxy.example.com:3128",
            help="Proxy to the manager by HTTP CONNECT; unset, HTTPS_PROXY, else PROXY_SCHEME, PROXY_HOST, PROXY_PORT, PROXY_USER and "
            "PROXY_PASSWORD, which providers are reached through too; none with PROXY_MANAGER=false. NO_PROXY is honoured: hosts, "
            "networks, with or without a port.",
        ),
        Option(
            "health_address",
            "str",
            "127.0.0.1:3460",
            help="Where /healthz, /readyz and /metrics are served, HOST:PORT; off for nowhere.",
        ),
        Option(
            "drain_seconds",
            "duration",
            "10m",
            maximum=86_400,
            help="How long running tasks may take to end after SIGTERM or SIGINT. A delegate without one ends at once; what "
            "runs it must wait longer before it kills (stop_grace_period, TimeoutStopSec, terminationGracePeriodSeconds).",
        ),
        Option(
            "backoff_min_seconds",
            "duration",
            "500ms",
            minimum=0.01,
            maximum=600,
            help="Bound of the random pause after a first lost stream; it doubles.",
        ),
        Option(
            "backoff_max_seconds", "duration", "30s", minimum=0.01, maximum=3600, help="Largest bound of that pause."
        ),
        Option(
            "otlp_endpoint",
            "str",
            None,
            example="http://127.0.0.1:4318",
            help="Where traces are sent: the origin of a collector that takes OTLP over HTTP. Needs the extra otel; http:// on "
            "loopback only.",
        ),
        Option(
            "log_level",
            "str",
            "info",
            choices=("debug", "info", "warning", "error"),
            help="The least that is logged. LOGGING_LEVEL is understood, else LOG_LEVEL, with the levels that Java has.",
        ),
        Option(
            "log_format",
            "str",
            "auto",
            choices=("auto", "json", "text"),
            help="Lines for programs or people; auto: for people at a terminal.",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that a delegate is built from.

    `tags` have its host's name in them; `data_keys` are seconds, uses and bytes; `health` is (host, port) or None;
    `variables` are those of the delegate's own that commands get; `ssh_known_hosts` is a path, empty for none.
    """

    address: Address
    proxy: str | None
    authorities: bytes | None
    keyring: Keyring
    policy: LocalPolicy
    name: str
    tags: tuple[str, ...]
    capacity: int
    task_seconds: float
    call_seconds: float
    check_seconds: float
    data_keys: tuple[float, int, int]
    endpoints: Endpoints
    drain_seconds: float
    backoff_seconds: tuple[float, float]
    health: tuple[str, int] | None
    exec_seconds: float = 3600.0
    variables: Mapping[str, str] = field(default_factory=dict)
    gcp_endpoints: Endpoints = field(default_factory=Endpoints)
    azure_endpoints: Endpoints = field(default_factory=Endpoints)
    ssh_known_hosts: str = ""
    cpu_limit_percent: int = 0
    memory_limit_percent: int = 0
    otlp_endpoint: str = ""
    mask_patterns: MaskPatterns | None = None
    group: str | None = None

    @staticmethod
    def of(settings: Settings, environ: Mapping[str, str], host: str) -> Configuration:
        """Reads the files that the settings name. Raises Malformed, NotFound, Denied."""
        address = Address.parse(settings.get("manager", str))
        authorities, policy = settings.maybe("ca_file", str), settings.maybe("policy_file", str)
        patterns = settings.maybe("mask_patterns_file", str)
        name = settings.maybe("name", str) or host
        least, most = settings.get("backoff_min_seconds", float), settings.get("backoff_max_seconds", float)
        if least > most:
            raise Malformed("setting_malformed", "backoff_min_seconds is more than backoff_max_seconds", "swap them")
        return Configuration(
            address=address,
            proxy=address.proxy(settings.maybe("proxy", str), environ),
            authorities=None if authorities is None else read_authorities(authorities),
            keyring=read_keyring(settings.get("keyring_file", str)),
            policy=LocalPolicy.parse("" if policy is None else read_text(policy, "policy"), BUILT_IN),
            name=_name(name, "name"),
            tags=_tags((*settings.texts("tags"), *([host] if _is_selector(host) else []))),
            capacity=settings.get("capacity", int),
            cpu_limit_percent=settings.get("cpu_limit_percent", int),
            memory_limit_percent=settings.get("memory_limit_percent", int),
            task_seconds=settings.get("task_seconds", float),
            call_seconds=settings.get("call_seconds", float),
            check_seconds=settings.get("check_seconds", float),
            data_keys=(
                settings.get("data_key_seconds", float),
                settings.get("data_key_uses", int),
                settings.get("data_key_bytes", int),
            ),
            endpoints=Endpoints.parse(settings.maybe("aws_endpoints", str) or "", "aws_endpoints"),
            drain_seconds=settings.get("drain_seconds", float),
            backoff_seconds=(least, most),
            health=_health(settings.get("health_address", str)),
            exec_seconds=settings.get("exec_seconds", float),
            gcp_endpoints=Endpoints.parse(settings.maybe("gcp_endpoints", str) or "", "gcp_endpoints"),
            azure_endpoints=Endpoints.parse(settings.maybe("azure_endpoints", str) or "", "azure_endpoints"),
            ssh_known_hosts=settings.maybe("ssh_known_hosts", str) or "",
            mask_patterns=None if patterns is None else MaskPatterns.parse(read_text(patterns, "mask_patterns")),
            otlp_endpoint=settings.maybe("otlp_endpoint", str) or "",
            group=None if (group := settings.maybe("group", str)) is None else _name(group, "group"),
            variables={name: environ[name] for name in ("LANG", "PATH") if environ.get(name)},
        )


def _name(text: str, setting: str) -> str:
    try:
        return normalise(text)
    except Malformed as why:
        raise Malformed(
            "setting_malformed",
            f"the delegate's {setting} can't be a selector",
            f"set --{setting}: {why.hint}",
            setting=setting,
        ) from None


def _tags(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return normalise_all(texts)
    except Malformed as why:
        raise Malformed(
            "setting_malformed", "a tag of the delegate can't be a selector", why.hint, setting="tags"
        ) from None


def _is_selector(text: str) -> bool:
    try:
        normalise(text)
    except Malformed:
        return False
    return True


def _health(text: str) -> tuple[str, int] | None:
    if text == "off":
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not port.isascii() or int(port) > 65_535:
        raise Malformed(
            "setting_malformed",
            "the health_address is not HOST:PORT",
            "write 127.0.0.1:3460, or off",
            setting="health_address",
        )
    return host.removeprefix("[").removesuffix("]"), int(port)
