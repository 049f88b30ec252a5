"""Runs in Label Studio's own virtual environment: its command line, which ends when the process that started it ends.

    python -I run_label_studio.py PARENT_PID ARGUMENT...

A thread watches the parent: it notices a parent that was killed, and unlike Linux's parent-death signal it is not
fooled when only the thread that started us is gone.
"""

import importlib
import logging
import os
import re
import sys
import threading
import time

LOOK_EVERY_S = 0.5
QUERY = re.compile(r"\?\S*")


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)


def _quiet_about_requests(record: logging.LogRecord) -> bool:
    """Django logs every request whatever the log level says, and in its address the token of an invitation."""
    if isinstance(record.args, tuple):
        record.args = tuple(QUERY.sub("", part) if isinstance(part, str) else part for part in record.args)
    return record.levelno >= logging.WARNING


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    logging.getLogger("django.server").addFilter(_quiet_about_requests)
    sys.argv = ["label-studio", *sys.argv[2:]]
    sys.exit(importlib.import_module("label_studio.server").main())
