"""Processes that end with the process that started them, however it ends.

Linux signals a process at its parent's death if the process asks for it. If the parent died before that,
there is no signal; so the process compares its parent with the expected one.

Programs of ours call `die_with`. Every other program, and ours while they still import, is started through
this file. It asks for the signal and then becomes the program:

    python -I -S parent.py PARENT SIGNAL USER PROGRAM ARGUMENT…

Only the standard library, and little of it: agents and servers wait for this. `launcher.py` has a copy of
these few lines, because it cannot import anything of the farm.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys
import warnings  # noqa: F401 (`execvp` imports it, and another user may not be able to read it)

_PR_SET_PDEATHSIG = 1


def die_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send `number` to this process when `parent` ends; if it has ended, end now.

    For the kernel, the parent is the thread that started this process: it must live as long as its process.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # nothing has started that needs a clean shutdown


def dying_with_us(
    command: tuple[str, ...], number: signal.Signals = signal.SIGTERM, user: str = ""
) -> tuple[str, ...]:
    """Return the command that runs `command` so that it gets `number` when this process ends.

    Args:
        command: the program and its arguments.
        number: the signal that stops the program.
        user: the user to become first; only root may name one.
    """
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(number)), user, *command)


def _become(user: str) -> None:
    """Become `user`, in a folder that everybody may enter."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.chdir("/")


def main() -> None:
    """Become the program in the arguments."""
    parent, number, user, *command = sys.argv[1:]
    if user:
        _become(user)  # first: a change of user clears the parent-death signal
    die_with(int(parent), signal.Signals(int(number)))
    try:
        os.execvp(command[0], command)  # noqa: S606 (no shell is meant)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
