"""Becomes a command with passed sockets, as systemd does: ``python -m tests.flow.activate FD,FD COMMAND…``.

Sockets go to descriptor 3 and on, and ``LISTEN_PID`` is the process id that the command will have (sd_listen_fds(3)).
"""

from __future__ import annotations

import fcntl
import os
import sys

FIRST = 3  # SD_LISTEN_FDS_START
ASIDE = 100  # above what is passed, so that none of the new places is still taken

if __name__ == "__main__":
    passed = [fcntl.fcntl(int(number), fcntl.F_DUPFD, ASIDE) for number in sys.argv[1].split(",") if number]
    for place, number in enumerate(passed, FIRST):
        os.dup2(number, place)
        os.close(number)
    os.environ["LISTEN_FDS"] = str(len(passed))
    os.environ.setdefault("LISTEN_PID", str(os.getpid()))
    os.execvp(sys.argv[2], sys.argv[2:])
