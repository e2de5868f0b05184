"""`python -m starter`."""

import os
import sys
from contextlib import suppress

from starter.cli import app

try:
    app()
except SystemExit as ended:
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Threads of Temporal's client that are still at work while Python shuts down abort the process now and then (exit 134).
    os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
