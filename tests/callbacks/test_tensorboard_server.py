"""What ActivationStats writes, read through a real TensorBoard server on loopback."""

import json
import re
import subprocess
import sys
import urllib.request
from urllib.parse import urlencode

import keras
import numpy as np
import pytest

import kerasreg as kr

LAYERS = ["conv", "norm", "relu", "flat", "gone", "out"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Two fits with everything written down, and their server; the units of one layer are dead."""
    folder = tmp_path_factory.mktemp("log")
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(4, 3, name="conv"),
        kr.layers.BatchNormalization(update_rate=0.1, name="norm"),
        keras.layers.ReLU(name="relu"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(5, "relu", bias_initializer=keras.initializers.Constant(-100.0), name="gone"),
        keras.layers.Dense(3, name="out"),
    ]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 8, 8, 1)), rng.integers(0, 3, 24)
    stats = kr.callbacks.ActivationStats(folder / "run", every=2, gradients=True, histograms=True)
    for epochs in (2, 1):
        model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=[stats])
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--port", "0", "--host", "127.0.0.1"]
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
        yield f"{address[0]}/data/plugin", stats
    finally:
        process.terminate()
        process.communicate()


def fetch(url, **query):
    with urllib.request.urlopen(f"{url}?{urlencode(query)}", timeout=60) as answer:
        return answer.read()


def get(url, **query):
    return json.loads(fetch(url, **query))


def test_scalars(server):
    url, stats = server
    tags = set(get(f"{url}/scalars/tags")["run"])
    everywhere = {f"activation_{f}/{layer}" for f in ("mean", "std", "rms", "zeros") for layer in LAYERS}
    assert everywhere | {"activation_dead/gone", "update_ratio/conv", "batch_norm_drift/norm"} <= tags
    for figure, tag in (("rms", "activation_rms/relu"), ("dead", "activation_dead/relu")):
        points = get(f"{url}/scalars/scalars", run="run", tag=tag)
        rows = [row for row in stats.history if row["layer"] == "relu"]
        # Two fits, the second of which counts on; the first steps of each are always seen.
        assert [step for _, step, _ in points] == [row["step"] for row in rows] == [0, 1, 2, 4, 6, 7, 8]
        assert [value for _, _, value in points] == pytest.approx([row[figure] for row in rows], rel=1e-6)


def test_custom_scalars_have_all_layers_in_one_chart(server):
    url, _ = server
    charts = {
        chart["title"]: chart["multiline"]["tag"]
        for category in get(f"{url}/custom_scalars/layout")["category"]
        for chart in category["chart"]
    }
    (pattern,) = charts["RMS"]
    found = get(f"{url}/custom_scalars/scalars", run="run", tag=pattern)
    assert found["regex_valid"]
    assert set(found["tag_to_events"]) == {f"activation_rms/{layer}" for layer in LAYERS}
    # No chart is empty.
    for (pattern,) in charts.values():
        assert get(f"{url}/custom_scalars/scalars", run="run", tag=pattern)["tag_to_events"]


def test_pictures(server):
    url, _ = server
    assert list(get(f"{url}/images/tags")["run"]) == ["activation/layers by steps"]
    pictures = get(f"{url}/images/images", run="run", tag="activation/layers by steps", sample=0)
    assert [picture["step"] for picture in pictures] == [2, 4, 8]
    for picture in pictures:
        png = fetch(f"{url}/images/individualImage?{picture['query']}&")
        assert png.startswith(b"\x89PNG")
        assert len(png) > 5000


def test_histograms(server):
    url, stats = server
    assert set(get(f"{url}/histograms/tags")["run"]) == {f"activation_histogram/{layer}" for layer in LAYERS}
    found = get(f"{url}/histograms/histograms", run="run", tag="activation_histogram/relu")
    rows = [row for row in stats.history if row["layer"] == "relu"]
    assert [step for _, step, _ in found] == [row["step"] for row in rows]
    for (_, _, buckets), row in zip(found, rows, strict=True):
        assert sum(count for _, _, count in buckets) == 8 * 6 * 6 * 4
        assert (buckets[0][0], buckets[-1][1]) == pytest.approx((row["min"], row["max"]))


def test_text(server):
    url, _ = server
    assert get(f"{url}/text/tags")["run"] == ["activation/findings"]
    pages = get(f"{url}/text/text", run="run", tag="activation/findings")
    assert [page["step"] for page in pages] == [2, 4, 8]
    last = pages[-1]["text"]
    assert "<h2>Layers at step 8</h2>" in last
    assert "<table>" in last
    assert re.search(r"<strong>(warning|error): [a-z-]+</strong> in <code>gone</code>", last)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in last.split("<tr>")]
    relu = next(row for row in cells if row and row[0] == "<code>relu</code>")
    gone = next(row for row in cells if row and row[0] == "<code>gone</code>")
    assert "100.0%" in gone
    assert relu[-1] != gone[-1]
