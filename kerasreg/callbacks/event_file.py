"""TensorBoard's event file, written with tensorboard's own records on any backend."""

from __future__ import annotations

import io
import os
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path


class EventFile:
    """Appends scalars to one new event file of a log folder.

    No handle stays open between two writes: what was written is valid after a crash or a kill, and a failing
    disk shows as an `OSError` at once.

    Args:
        log_dir: The folder, which has to exist.
    """

    def __init__(self, log_dir: Path):
        # The name that TensorBoard looks for, unlike that of any other run in the folder.
        unique = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        self.path = log_dir / f"events.out.tfevents.{unique}"
        self._append(file_version="brain.Event:2")

    def add_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append one event with all scalars of a step."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._append(step=step, summary=Summary(value=values))

    def _append(self, **fields: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = io.BytesIO()
        RecordWriter(record).write(Event(wall_time=time.time(), **fields).SerializeToString())
        # One write: a reader at the same time sees the whole record or none of it.
        with self.path.open("ab") as file:
            file.write(record.getvalue())
