"""Whether a Ray cluster answers at an address is asked before Ray is told to join it: Ray itself asks for
minutes, and then ends the process."""

from __future__ import annotations

import os
import socket

from ray._private.services import canonicalize_bootstrap_address

ANSWER_SECONDS = 5.0

# Ray's services speak HTTP/2: whoever connects sends these bytes and its settings, and the server sends its
# own settings (RFC 9113, section 3.4).
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_HEADER_BYTES = 9
_SETTINGS = 4


def unanswered(address: str) -> str | None:
    """Return why no Ray cluster answers at `address` (HOST:PORT, ray://HOST:PORT, or auto), in words; None
    where one may. It takes at most some `ANSWER_SECONDS`."""
    try:
        bare = canonicalize_bootstrap_address(address.removeprefix("ray://"))
    except Exception as error:  # such as the ConnectionError where `auto` finds none
        return " ".join(str(error).split())[:200]
    host, _, port = (bare or address).rpartition(":")
    if not host or not port.isdigit():
        return "write HOST:PORT, such as 10.0.0.1:6379"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return None  # an encrypted greeting is Ray's own business
            connection.sendall(_PREFACE)
            header = connection.recv(_HEADER_BYTES, socket.MSG_WAITALL)
    except TimeoutError:
        return f"nothing answers within {ANSWER_SECONDS:g} s"
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None if header[3:4] == bytes([_SETTINGS]) else "what answers there is no Ray cluster"
