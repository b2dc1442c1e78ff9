"""The manager's settings: what can be set, its defaults, and the checks that need more than one of them."""

from __future__ import annotations

from shared.errors import Malformed
from shared.options import Option
from shared.origin import Origin, is_loopback
from shared.settings import Program, Settings

OPTIONS = (
    Option(
        "url",
        "str",
        None,
        "The URL by which clients reach this manager; bearer tokens are made for it. By default made of `listen`.",
        example="https://privyseal.example.com",
    ),
    Option(
        "delegate_url",
        "list",
        None,
        "The URLs by which delegates may dial this manager; their proof of identity is bound to it. By default made of "
        "`delegate_listen`.",
        example=("https://privyseal.example.com:8471",),
    ),
    Option("listen", "str", "127.0.0.1:8470", "Address and port for clients (HTTP)."),
    Option("delegate_listen", "str", "127.0.0.1:8471", "Address and port for delegates (gRPC)."),
    Option(
        "database",
        "str",
        "sqlite:///privyseal-manager.db",
        "Where everything is stored: sqlite:///PATH, or postgresql://USER@HOST/NAME (its password in PGPASSFILE).",
    ),
    Option(
        "tls_certificate",
        "path",
        None,
        "PEM file with the certificate chain for both ports. Without it both ports must be on loopback.",
        example="/etc/privyseal/tls.crt",
    ),
    Option("tls_key", "path", None, "PEM file with its key.", secret_path=True, example="/etc/privyseal/tls.key"),
    Option(
        "heartbeat",
        "duration",
        "2s",
        "How often an idle delegate is told that the manager is there.",
        minimum=0.1,
        maximum=60,
    ),
    Option(
        "silence",
        "duration",
        "5s",
        "Within how long it is noticed that a delegate or its network is silent, so that its tasks go to another; delegates leave a silent "
        "manager as soon. At least two heartbeats.",
        minimum=0.3,
        maximum=300,
    ),
    Option(
        "drain",
        "duration",
        "10m",
        "How long running tasks may take to end when the manager stops. Without one it ends at once; what runs it must wait "
        "longer before it kills.",
        minimum=0,
        maximum=86_400,
    ),
    Option("cache", "size", "64MiB", "Memory for documents and records that are read often.", minimum=2**20),
    Option(
        "connections",
        "int",
        1000,
        "Requests served at once; more are answered as overloaded.",
        minimum=1,
        maximum=100_000,
    ),
    Option(
        "waiting",
        "int",
        1000,
        "Tasks of one account that wait at once for a free delegate, half of them at most of one principal; more are answered as "
        "overloaded, with the time after which to ask again.",
        minimum=1,
        maximum=4_096,
    ),
    Option(
        "probe_success_seconds",
        "duration",
        "6h",
        "How long a delegate's test of a connector that passed is remembered, and shown.",
        maximum=604_800,
    ),
    Option(
        "probe_failure_seconds",
        "duration",
        "5m",
        "How long a test that failed keeps its delegate from tasks that go through the connector, while others can take them. 0: no "
        "test does.",
        maximum=86_400,
    ),
    Option(
        "otlp_endpoint",
        "str",
        None,
        "Where traces are sent: the origin of a collector that takes OTLP over HTTP. Needs the extra otel; http:// on loopback only.",
        example="http://127.0.0.1:4318",
    ),
    Option("log_level", "str", "info", "How much is logged.", choices=("debug", "info", "warning", "error")),
    Option(
        "log_format",
        "str",
        "auto",
        "auto: JSON unless standard output is a terminal.",
        choices=("auto", "json", "text"),
    ),
)

PROGRAM = Program(
    "privyseal-manager",
    "PRIVYSEAL_MANAGER_",
    "moves what it cannot read and cannot order: stores sealed values and signed documents, routes tasks to delegates.",
    OPTIONS,
)


def address(settings: Settings, name: str) -> tuple[str, int]:
    """Host and port of a `listen` setting. Raises Malformed, also for plain text off loopback."""
    host, _, port = settings.get(name, str).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise Malformed("setting_malformed", f"the setting {name} is not an address and a port", "write 127.0.0.1:8470")
    if settings.maybe("tls_certificate", str) is None and not is_loopback(host):
        raise Malformed(
            "tls_needed",
            f"the setting {name} is not on loopback, and plain text is for loopback only",
            "give tls_certificate and tls_key, or listen on 127.0.0.1",
        )
    return host, int(port)


def origins(settings: Settings, name: str, listening: str, scheme: str) -> tuple[str, ...]:
    """The URLs of a port in their one form; where none is set, that of the address it listens on. Raises Malformed."""
    given = settings.values[name]
    urls = (given,) if isinstance(given, str) else settings.texts(name)
    if not urls:
        host, port = address(settings, listening)
        return (str(Origin(scheme, host, port)),)
    return tuple(str(Origin.parse(url, f"setting {name}")) for url in urls)
