"""Processes of a test: each with its own time limit, none of them left behind."""

import os
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Of an import of TensorFlow, some steps and a busy machine.
LIMIT = 600


def environment(backend):
    paths = [str(ROOT), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(paths),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def start(backend, program, *arguments):
    command = [sys.executable, str(HERE / program), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment(backend), text=True, **pipes)


def finished(processes, limit=LIMIT):
    """What each printed; none goes on, whatever happens."""
    outputs = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=limit)
            assert process.returncode == 0, errors[-3000:]
            outputs.append(output)
    finally:
        for process in processes:
            process.kill()
            with process:  # waits for it, and closes its pipes
                pass
    return outputs


def close(found, expected, tolerance, where=""):
    """Nested dicts, lists and numbers: the same names, words and lengths, and numbers within a tolerance."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for name in expected:
            close(found[name], expected[name], tolerance, f"{where}/{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            close(one, other, tolerance, f"{where}/{number}")
    elif isinstance(expected, (int, float)):
        assert abs(found - expected) <= tolerance * max(1.0, abs(expected)), (where, found, expected)
    else:
        assert found == expected, where
