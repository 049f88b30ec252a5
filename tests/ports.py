"""A port for a server of a test."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """On loopback, below those that the system gives to whoever connects: nobody has it before the server binds it."""
    end = int(_GIVEN_OUT.read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(10_000, end)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
