"""The text form of durations on the wire: `1h30m0s`, `1.5s`, `100ms`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"([0-9.]+)(h|ms|us|µs|ns|m|s)")


def duration_text(duration: timedelta) -> str:
    """Write a duration."""
    return f"{duration / timedelta(seconds=1):.6f}s"


def read_duration(text: str) -> timedelta:
    """Read what a server has written.

    Raises:
        ValueError: it is no duration.
    """
    sign = -1 if text.startswith("-") else 1
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text.lstrip("-"):
        raise ValueError(f"not a duration: {text!r}")
    return sign * timedelta(seconds=sum(float(n) * _SECONDS[unit] for n, unit in parts))
