"""Become the server: `python launch.py PARENT UID GID COMMAND...`, run as a file.

In a process of its own, since nothing of this is safe between a fork and an exec in a process
that has threads. `-` for UID and GID keeps the ones we have.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Drop privileges, ask for a signal at the parent's death, and become the command."""
    parent, uid, gid, *command = arguments
    library = ctypes.CDLL(None, use_errno=True)
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # After the change of user, which would undo it. Its "parent" is the thread that forked.
    if library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):  # it died before that
        raise SystemExit("the starter is gone")
    os.execv(command[0], command)  # noqa: S606 -- to become it is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
