# SPDX-License-Identifier: Apache-2.0
"""Certificates of devices: ids, and checks before trust."""

from __future__ import annotations

import hashlib
import re
import ssl

LIMIT = 4096
"""Longest accepted certificate, in bytes."""

_DEVICE_ID = re.compile("[0-9a-f]{64}")
_SEQUENCE, _INTEGER, _VERSION = 0x30, 0x02, 0xA0


class BadCertificate(ValueError):
    """A certificate not alone, not X.509, or in conflict with others."""


def device_id(certificate: bytes) -> str:
    """Return the id of the device with this certificate (DER)."""
    return hashlib.sha256(certificate).hexdigest()


def is_device_id(text: str) -> bool:
    """Return whether a text has the form of a device id: 64 lower-case hexadecimal digits."""
    return _DEVICE_ID.fullmatch(text) is not None


def check(certificate: bytes) -> bytes:
    """Return the subject of a certificate, as DER; raises BadCertificate.

    Bytes after the first certificate are refused: OpenSSL would trust what is there as well.
    """
    if len(certificate) > LIMIT:
        raise BadCertificate(f"a certificate has at most {LIMIT} bytes")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        raise BadCertificate("not a certificate") from None
    return subject(certificate)


def subject(certificate: bytes) -> bytes:
    """Cut the subject out of a certificate (RFC 5280, 4.1); raises BadCertificate."""
    try:
        _, outer, end = _element(certificate, 0)
        if end != len(certificate):
            raise BadCertificate("more than one certificate")
        tag, position, _ = _element(certificate, outer)
        tag, _, end = _element(certificate, position)
        if tag == _VERSION:
            tag, _, end = _element(certificate, end)
        if tag != _INTEGER:
            raise BadCertificate("not a certificate")
        for _ in ("signature", "issuer", "validity"):
            tag, _, end = _element(certificate, end)
        start = end
        tag, _, end = _element(certificate, start)
    except IndexError:
        raise BadCertificate("not a certificate") from None
    if tag != _SEQUENCE:
        raise BadCertificate("not a certificate")
    return certificate[start:end]


def _element(data: bytes, position: int) -> tuple[int, int, int]:
    """Return tag, start and end of the content of the DER element there (X.690, 8.1)."""
    tag, length = data[position], data[position + 1]
    start = position + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise BadCertificate("not DER")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + length > len(data):
        raise BadCertificate("cut short")
    return tag, start, start + length
