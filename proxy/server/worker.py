"""The program of one worker: ``python -m proxy.server.worker ORDER``, started by the supervisor and by nobody else."""

from __future__ import annotations

import json
import os
import sys

from proxy.server.logs import set_up
from proxy.server.process import run
from proxy.server.reload import Source
from proxy.server.workers import work

if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    set_up(order["log_format"])
    run(work(order, Source(order["path"], os.environ, order["flags"])))
