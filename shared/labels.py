"""The closed list of labels that keep one use of a key or hash apart from every other.

No label is the beginning of another, so that no two framed inputs can coincide (a test holds it so).
"""

from __future__ import annotations

from typing import Final

AUDIT: Final = b"privyseal/v1/audit"
ANSWER: Final = b"privyseal/v1/answer"
HELLO: Final = b"privyseal/v1/hello"
INPUT: Final = b"privyseal/v1/input"
KEYRING_CERTIFY: Final = b"privyseal/v1/keyring-certify"
KEYRING_KEK: Final = b"privyseal/v1/keyring-kek"
KEYRING_MAC: Final = b"privyseal/v1/keyring-mac"
KEYRING_SEAL: Final = b"privyseal/v1/keyring-seal"
OUTPUT: Final = b"privyseal/v1/output"
RECORD: Final = b"privyseal/v1/record"
RECORD_MAC: Final = b"privyseal/v1/mac-record"
REFERENCE_MAC: Final = b"privyseal/v1/mac-reference"
ROOT_CONSENT: Final = b"privyseal/v1/root-consent"
RUN: Final = b"privyseal/v1/run"
WRAP: Final = b"privyseal/v1/wrap"

LABELS: Final = (
    AUDIT,
    ANSWER,
    HELLO,
    INPUT,
    KEYRING_CERTIFY,
    KEYRING_KEK,
    KEYRING_MAC,
    KEYRING_SEAL,
    OUTPUT,
    RECORD,
    RECORD_MAC,
    REFERENCE_MAC,
    ROOT_CONSENT,
    RUN,
    WRAP,
)
