"""No secret in the log, whoever wrote the line.

Nothing here logs header values or addresses with credentials on purpose; this is for texts of
others, such as errors of libraries.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "********"

_HEADER: Final = re.compile(
    r"""
    ((?:authorization|cookie) [\\'"]* \s* [:=,] \s* [\\'"]* b? [\\'"]*)  # name, quotes, separator
    (?:[a-z-]+\s+)?                                                      # Basic, Bearer, ApiKey
    [^\s'"\\,;)}\]]+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ADDRESS: Final = re.compile(r"(://)[^\s/@'\"\\]*:[^\s'\"\\]*@")


def redact(line: str) -> str:
    """Mask values of `Authorization` and cookie headers, and credentials in addresses."""
    if "://" in line:
        line = _ADDRESS.sub(rf"\1{MASK}@", line)
    lower = line.lower()
    if "authorization" in lower or "cookie" in lower:  # a search is cheaper than the pattern
        line = _HEADER.sub(rf"\1{MASK}", line)
    return line
