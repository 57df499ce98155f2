"""What ActivationStats writes, read through a real TensorBoard server on loopback."""

import json
import re
import subprocess
import sys
import urllib.request
from urllib.parse import urlencode

import pytest
from models import make

import kerasreg as kr


@pytest.fixture
def server(tmp_path):
    model, x, y = make("functional")
    stats = kr.callbacks.ActivationStats(tmp_path / "run", every=2)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[stats])
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(tmp_path),
        "--port",
        "0",
        "--host",
        "127.0.0.1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = []
        # TensorBoard says its address in one of its first lines, once it listens.
        for line in process.stdout:
            said.append(line)
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            if address:
                break
        assert address, "".join(said)
        yield address[0], stats
    finally:
        process.terminate()
        process.communicate()


def get(url, **query):
    with urllib.request.urlopen(f"{url}?{urlencode(query)}", timeout=60) as answer:
        return json.load(answer)


def test_scalars_over_http(server):
    url, stats = server
    tags = get(f"{url}/data/plugin/scalars/tags")
    assert set(tags["run"]) >= {
        f"activation_{f}/{layer}" for f in ("mean", "std", "rms", "zeros") for layer in ("a", "b", "sum", "c")
    }
    points = get(f"{url}/data/plugin/scalars/scalars", run="run", tag="activation_rms/sum")
    rows = [row for row in stats.history if row["layer"] == "sum"]
    assert [step for _, step, _ in points] == [row["step"] for row in rows]
    assert [value for _, _, value in points] == pytest.approx([row["rms"] for row in rows], rel=1e-6)
