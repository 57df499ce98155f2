"""What dies while several processes train together, and what is then lost: all real processes, on loopback.

python tests/reliability/device_faults.py            all of it
python tests/reliability/device_faults.py killed     those with this word in their names
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "scale_out.py"
# Seconds: of a whole fault on a busy machine, and of a wait for a batch before a training is given up.
LIMIT, PATIENCE = 600, 30
# What JAX gives a process that is silent, and some time to notice.
HEARTBEAT = 160


def example() -> ModuleType:
    """The example that starts these processes, as a module."""
    spec = spec_from_file_location("scale_out_example", EXAMPLE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _environment(backend: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def _trained(folder: Path, strike: str, restart: bool = True, patience: float = 120) -> tuple[int, str, Any]:
    """A training that a service feeds, in a process of its own: exit status, errors, what came."""
    program = (
        "import argparse, json, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import device_faults\n"
        "module = device_faults.example()\n"
        f"args = argparse.Namespace(epochs=1, patience={patience})\n"
        f"found = module.served(args, device_faults.{strike}, restart={restart})\n"
        f"open({str(folder / 'found.json')!r}, 'w').write(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=_environment("tensorflow"),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    found = folder / "found.json"
    return done.returncode, done.stderr, json.loads(found.read_text()) if found.exists() else None


def _is_of_the_local_run(found: dict[str, Any]) -> None:
    assert found["twice"] == 0, f"{found['twice']} images came twice"
    assert found["strange"] == 0
    assert found["difference"] <= 1e-3, "what came is not what a local run augments"


def kill_worker(cluster: Any) -> None:
    """A worker dies."""
    cluster.kill_worker()


def kill_dispatcher(cluster: Any) -> None:
    """The dispatcher dies for good."""
    cluster.kill_dispatcher()


def restart_dispatcher(cluster: Any) -> None:
    """The dispatcher dies, and another one reads its journal."""
    cluster.kill_dispatcher()
    cluster.start_dispatcher()


def worker_killed(folder: Path) -> None:
    """Started again, it goes on; what it had in hand is lost, nothing comes twice, the training ends."""
    status, errors, found = _trained(folder, "kill_worker")
    assert status == 0, errors[-2000:]
    _is_of_the_local_run(found)
    assert found["restarts"] == 1
    assert found["lost"] < found["images"] / 3, f"{found['lost']} of {found['images']} images lost"


def worker_gone(folder: Path) -> None:
    """TensorFlow waits for it; a watchdog ends the training and says where it stood."""
    _ended_by_the_watchdog(folder, "kill_worker", restart=False)


def dispatcher_killed(folder: Path) -> None:
    """Another one at its address goes on from the journal, and nothing is lost."""
    status, errors, found = _trained(folder, "restart_dispatcher")
    assert status == 0, errors[-2000:]
    _is_of_the_local_run(found)
    assert found["lost"] == 0, f"{found['lost']} of {found['images']} images lost"


def dispatcher_gone(folder: Path) -> None:
    """TensorFlow waits for it; a watchdog ends the training and says where it stood."""
    _ended_by_the_watchdog(folder, "kill_dispatcher", restart=True)


def _ended_by_the_watchdog(folder: Path, strike: str, restart: bool) -> None:
    status, errors, found = _trained(folder, strike, restart, PATIENCE)
    assert found is None, "the training ended as if nothing had happened"
    assert status == 1, f"status {status}"
    assert "Timeout" in errors, errors[-2000:]
    assert "in fit" in errors, errors[-2000:]


@contextmanager
def _two_jax_processes(folder: Path, epochs: int) -> Iterator[list[subprocess.Popen]]:
    module = example()
    address = f"localhost:{module.free_ports(1)[0]}"
    os.environ["PYTHONPATH"] = _environment("jax")["PYTHONPATH"]
    with module.processes() as started:
        for role in ("0", "1"):
            with (folder / f"{role}.log").open("w") as log:
                started.append(module.start("_jax", role, address, folder, epochs, stderr=log))
        yield started


def jax_process_killed(folder: Path) -> None:
    """The other one ends too, with an error, in bounded time: no training goes on with half of the data."""
    with _two_jax_processes(folder, epochs=100000) as (first, second):
        # Gloo has a word to say first.
        assert "epoch\n" in first.stdout, (folder / "0.log").read_text()[-2000:]
        second.kill()
        began = time.monotonic()
        try:
            first.wait(HEARTBEAT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the other process still waits after {HEARTBEAT} s") from None
        errors = (folder / "0.log").read_text()
        assert first.returncode != 0, "the other process ended as if nothing had happened"
        (folder / "seconds").write_text(f"{time.monotonic() - began:.1f}")
        assert errors.strip(), "the other process ended without a word"


FAULTS: dict[str, Callable[[Path], None]] = {
    "tf.data service: a worker is killed in mid-epoch and started again": worker_killed,
    "tf.data service: a worker is killed and does not come back": worker_gone,
    "tf.data service: the dispatcher is killed and started again": dispatcher_killed,
    "tf.data service: the dispatcher is killed and does not come back": dispatcher_gone,
    "DataParallel: one of two JAX processes is killed": jax_process_killed,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*")
    words = parser.parse_args().words
    for name, fault in FAULTS.items():
        if all(word in name for word in words):
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                fault(Path(folder))
                notes = ", ".join(
                    f"{path.name} {path.read_text()}"
                    for path in Path(folder).glob("*")
                    if path.suffix == "" and path.is_file()
                )
            print(f"held after {time.monotonic() - began:.0f} s: {name} {notes}", flush=True)


if __name__ == "__main__":
    main()
