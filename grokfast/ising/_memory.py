"""Refuse what cannot fit, before allocating it."""

from __future__ import annotations

import os

from grokfast.errors import InputError


def available_bytes() -> int | None:
    """Memory that this machine can still give, or None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(what: str, needed: int) -> None:
    """Raise if ``what`` takes more bytes than there are.

    Args:
        what: The subject of the message.
        needed: Bytes.

    Raises:
        InputError: If they are not available.
    """
    available = available_bytes()
    if available is not None and needed > available:
        raise InputError(
            f"{what} would take {readable(needed)} of memory, and {readable(available)} are available; "
            "use a smaller lattice, fewer replicas or fewer temperatures"
        )


def readable(count: int) -> str:
    """Bytes as people write them, for example ``1.5 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"
