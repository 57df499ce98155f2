"""TensorBoard's event file, written with tensorboard's own records on any backend."""

from __future__ import annotations

import io
import itertools
import os
import socket
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from kerasreg.callbacks.whole_append import append

# TensorBoard reads a folder's files in the order of their names; two made in one second keep theirs.
_NUMBERS = itertools.count()


class EventFile:
    """Appends to one new event file of a log folder.

    No handle stays open between two writes: what was written is valid after a crash or a kill, and a failing
    disk shows as an `OSError` at once.

    Args:
        log_dir: The folder, which has to exist.
    """

    def __init__(self, log_dir: Path):
        # The name that TensorBoard looks for, unlike that of any other run in the folder.
        unique = f"{os.getpid()}.{next(_NUMBERS):04d}.{uuid.uuid4().hex[:8]}"
        self.path = log_dir / f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{unique}"
        self._append(Event(file_version="brain.Event:2"))

    def add(self, step: int, values: Sequence[Summary.Value]) -> None:
        """Append one event with all values of a step."""
        self._append(Event(step=step, summary=Summary(value=values)))

    def restart(self, step: int) -> None:
        """Have readers forget what earlier files say of this step and those after it."""
        # Readers take the first such record of a folder for its beginning, and the next one for a restart.
        for _ in range(2):
            self._append(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def _append(self, event: Event) -> None:
        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        append(self.path, record.getvalue())
