"""Permissions hold for root too, as long as it lets go of the capability to pass over them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest

_VERSION = 0x20080522  # of Linux's header of capabilities
_PASS_OVER = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Words(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@pytest.fixture
def bound_by_permissions() -> Iterator[None]:
    """This thread may write only where its user's permissions let it."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, words = _Header(_VERSION, 0), (_Words * 2)()

    def call(function: str) -> None:
        if getattr(libc, function)(ctypes.byref(header), words) != 0:
            raise OSError(ctypes.get_errno(), function)

    call("capget")
    had = words[0].effective
    words[0].effective = had & ~_PASS_OVER
    call("capset")
    try:
        yield
    finally:
        words[0].effective = had
        call("capset")
