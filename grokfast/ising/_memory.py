"""Refuse what cannot fit, before allocating it."""

from __future__ import annotations

import os
from pathlib import Path

from grokfast.errors import InputError

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")


def available_bytes() -> int | None:
    """Memory that this process can still get, or None where nothing says.

    The least of what the machine, the container or job (cgroups of version 1 and 2, with all groups above), and the
    address-space limit of the process (``RLIMIT_AS``) leave.
    """
    found = [_machine(), *_cgroups(), _address_space()]
    return min((max(0, size) for size in found if size is not None), default=None)


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


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _fields(text: str) -> dict[str, int]:
    """Lines ``name number ...`` by name."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _machine() -> int | None:
    kibibytes = _fields(_read(PROC / "meminfo")).get("MemAvailable:")
    if kibibytes is not None:
        return kibibytes * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _cgroups() -> list[int]:
    """What each limiting group of this process leaves; caches that the kernel would drop count as free."""
    left = []
    for line in _read(PROC / "self" / "cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            root, limit, used, cache = CGROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit = CGROUPS / "memory", "memory.limit_in_bytes"
            used, cache = "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        # Inside a container the path is often that of the host: the group that is mounted at the root counts then.
        group = root / path.strip("/")
        for folder in (group, *group.parents):
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None:
                left.append(most - now + _fields(_read(folder / "memory.stat")).get(cache, 0))
            if folder == root:
                break
    return left


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = _read(PROC / "self" / "statm").split()
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return limit - int(pages[0]) * resource.getpagesize()
