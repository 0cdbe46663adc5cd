# SPDX-License-Identifier: Apache-2.0
"""The identity of this host: a key, and the certificate behind the device id."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from missiond.peers import IDENTITY as FILE
from missiond.peers.transport.certificate import device_id

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class IdentityError(Exception):
    """No usable identity, with a sentence about the remedy."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Key and certificate; the key is read by OpenSSL alone, from `file`."""

    file: Path
    certificate: bytes
    """DER."""
    device_id: str


def load(directory: Path) -> Identity:
    """Read the identity made by `make_identity`; raises IdentityError."""
    file = directory / FILE
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file)
        text = file.read_text(encoding="ascii")
        found = _CERTIFICATE.search(text)
        certificate = ssl.PEM_cert_to_DER_cert(found[0] if found is not None else "")
    except FileNotFoundError:
        raise IdentityError(f"{file} is missing: run python3 -m missiond.peers.make_identity") from None
    except (OSError, ValueError) as error:
        raise IdentityError(
            f"{file} can't be used ({error}): put it back from a backup, or remove it and pair again"
        ) from None
    return Identity(file, certificate, device_id(certificate))
