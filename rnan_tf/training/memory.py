"""How much memory a process may take: the machine's, or its container's if that is less."""

import sys
from pathlib import Path

import psutil


def memory_limit() -> int:
    """Return the bytes of memory that this process can have at most."""
    return min(physical_memory(), *_cgroup_limits())


def physical_memory() -> int:
    """Return the bytes of memory of this machine."""
    return psutil.virtual_memory().total


def _cgroup_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """The limits of the control groups that this process is in, and of those around them; version 1 and 2."""
    limits = [sys.maxsize]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return limits
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = base / path.strip("/")
        for folder in (group, *group.parents):  # within a container the path may be the host's: then its root counts
            if base not in (folder, *folder.parents):
                break
            try:
                limits.append(int((folder / name).read_text()))
            except (OSError, ValueError):  # not there, or "max"
                continue
    return limits
