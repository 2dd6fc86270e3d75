"""As whom the server runs: Elasticsearch refuses to run as root.

A root process acts as the server's account while it writes what belongs to the server, so that
files have the right owner from the start and links planted there lead nowhere.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasques.embedded.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, with its first group."""

    uid: int
    gid: int

    def can_reach(self, path: Path) -> bool:
        """Whether it can read `path`, and execute it where somebody can.

        Judged by the modes of the file and of every folder above it.
        """
        found = path.stat()
        wanted = stat.S_IROTH
        if stat.S_ISDIR(found.st_mode) or found.st_mode & stat.S_IXUSR:
            wanted |= stat.S_IXOTH
        return self._may(found, wanted) and all(
            self._may(folder.stat(), stat.S_IXOTH)
            for folder in {*path.absolute().parents, *path.resolve().parents}
        )

    def _may(self, found: os.stat_result, wanted: int) -> bool:
        if found.st_uid == self.uid:
            wanted <<= 6
        elif found.st_gid == self.gid:
            wanted <<= 3
        return found.st_mode & wanted == wanted


def server_account(euid: int) -> Account | None:
    """The account that root runs the server as; `None` for anybody else: their own."""
    if euid != 0:
        return None
    for name in ("elasticsearch", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return Account(_NOBODY, _NOBODY)


@contextmanager
def acting_as(account: Account | None) -> Iterator[None]:
    """Be that account for the file system in here (import nothing there: it may be closed).

    Raises:
        EmbeddedError: the kernel refuses the switch.
    """
    if account is None:
        yield
        return
    groups, gid, uid = os.getgroups(), os.getegid(), os.geteuid()
    try:
        try:
            os.setgroups([])
            os.setegid(account.gid)
            os.seteuid(account.uid)
        except OSError as error:
            raise EmbeddedError(
                f"root cannot switch to uid {account.uid}, as which Elasticsearch would run "
                f"({error.strerror}): run as an ordinary user"
            ) from error
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)
