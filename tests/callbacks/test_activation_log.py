"""What ActivationStats writes into a folder: records that read back, whole whatever happens."""

import errno
import json
import math
import os
import re
import resource
import subprocess
import warnings
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest
from rows import row, training
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.util import tensor_util

from kerasreg._tap.histogram import EDGES
from kerasreg.callbacks import activation_log
from kerasreg.callbacks.activation_log import PAGE, PICTURE, ActivationLog
from kerasreg.callbacks.activation_page import activation_page
from kerasreg.callbacks.activation_picture import ill_layers
from kerasreg.callbacks.event_values import buckets
from kerasreg.callbacks.scalar_layout import scalar_layout
from kerasreg.callbacks.whole_append import append, mend_lines
from kerasreg.diagnostics.finding import Finding

FINDING = Finding("relu", "dead-units", "warning", "All *silent*.", "Use <b>Calibrated</b>.")


def read(folder):
    reader = plugin_event_accumulator.EventAccumulator(str(folder))
    reader.Reload()
    return reader


def tensors(reader, tag):
    return [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in reader.Tensors(tag)]


def scalars(reader, tag):
    return {step: value.item() for step, value in tensors(reader, tag)}


def steps_of(folder):
    return [json.loads(line)["step"] for line in (folder / "activations.jsonl").read_text().splitlines()]


def write(folder, steps, rows=None):
    log = ActivationLog(folder)
    for step, found in training(steps):
        log.write(step, found if rows is None else rows)
    return log


def test_scalars_are_grouped_by_figure_and_have_every_layer_that_has_it(tmp_path):
    write(tmp_path, range(0, 100, 20))
    reader = read(tmp_path)
    tags = {tag for tag in reader.Tags()["tensors"] if "/" in tag}
    figures = ("mean", "std", "rms", "min", "max", "zeros", "nonfinite")
    expected = {f"activation_{f}/{layer}" for f in figures for layer in ("relu", "vanishing", "out|put")}
    assert tags == expected | {"activation_dead/relu", "update_ratio/out|put"}
    assert scalars(reader, "activation_dead/relu") == pytest.approx({s: s / 100 for s in range(0, 100, 20)})
    assert math.isnan(scalars(reader, "activation_rms/out|put")[80])


def test_one_chart_for_each_figure_catches_its_layers_and_no_other(tmp_path):
    write(tmp_path, [0])
    reader = read(tmp_path)
    ((_, encoded),) = tensors(reader, "custom_scalars__config__")
    layout = Layout.FromString(encoded.item())
    charts = {chart.title: chart.multiline.tag[0] for category in layout.category for chart in category.chart}
    assert len(charts) == 9
    tags = [tag for tag in reader.Tags()["tensors"] if "/" in tag]
    caught = {title: [tag for tag in tags if re.match(pattern, tag)] for title, pattern in charts.items()}
    assert sorted(tag for found in caught.values() for tag in found) == sorted(tags)
    assert caught["RMS"] == [f"activation_rms/{layer}" for layer in ("relu", "vanishing", "out|put")]


def test_a_figure_that_nobody_has_named_gets_a_chart_too():
    assert [c.title for c in scalar_layout({"curvature"}).category] == ["Other figures"]


def test_the_layout_grows_with_the_figures_and_knows_those_of_others(tmp_path):
    write(tmp_path, [0], [row("a", saturated=0.5)])
    first, second = ActivationLog(tmp_path), ActivationLog(tmp_path)
    first.write(1, [row("a", gradient_norm=1.0)])
    second.write(1, [row("b")])
    second.write(2, [row("b", dead=0.0)])
    ((_, encoded),) = tensors(read(tmp_path), "custom_scalars__config__")[-1:]
    titles = [
        chart.title for category in Layout.FromString(encoded.item()).category for chart in category.chart
    ]
    wanted = (
        "share of outputs at a bound",
        "norm of the gradient",
        "share of channels silent in the whole window",
    )
    assert set(wanted) <= set(titles)
    assert len(titles) == len(set(titles))


def test_histograms_hold_every_value_between_its_edges(tmp_path):
    values = np.random.default_rng(0).normal(scale=3.0, size=1000)
    values[:100], values[100] = 0.0, 200.0
    counts = np.histogram(values, EDGES)[0].tolist()
    write(tmp_path, [0], [row("a", histogram=counts, min=values.min(), max=values.max())])
    ((_, found),) = tensors(read(tmp_path), "activation_histogram/a")
    assert found.dtype == np.float64
    assert found.shape[1] == 3
    assert found[:, 2].sum() == 1000
    assert (found[0, 0], found[-1, 1]) == (values.min(), 200.0)
    assert np.isfinite(found).all()
    assert np.array_equal(found[1:, 0], found[:-1, 1])
    for low, high, count in found[:-1]:
        assert count == np.sum((values >= low) & (values < high))


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_histogram_beside_nan_stays_finite(broken):
    counts = np.zeros(len(EDGES) - 1, int)
    counts[[0, -1]] = 2, 3
    found = buckets(counts.tolist(), EDGES, -broken, broken)
    assert np.isfinite(found).all()
    assert (found[:, 0] <= found[:, 1]).all()
    assert found[:, 2].sum() == 5


def test_an_empty_histogram_has_no_bucket():
    assert buckets([0, 0], [0.0, 1.0, 2.0], 0.0, 0.0).shape == (0, 3)


def test_an_epoch_has_a_picture_and_a_page(tmp_path):
    log = write(tmp_path, [0, 10])
    log.write_epoch([], {})
    for step, rows in training([20, 90]):
        log.write(step, rows)
    log.write_epoch([FINDING], {"lstm/cell": "a scan calls it"})
    log.write_epoch([FINDING], {}, last=True)
    reader = read(tmp_path)
    pictures, pages = tensors(reader, PICTURE), tensors(reader, PAGE)
    assert [step for step, _ in pictures] == [step for step, _ in pages] == [10, 90]
    width, height, png = pictures[1][1]
    assert png.startswith(b"\x89PNG")
    # The header of a PNG says its size.
    assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (int(width), int(height))
    first, second = (page.item().decode() for _, page in pages)
    assert "Nothing wrong was found" in first
    assert "**warning: dead-units** in `relu`. All \\*silent\\*. Use &lt;b&gt;Calibrated&lt;/b&gt;." in second
    assert "- `lstm/cell`: a scan calls it" in second
    header = next(line for line in second.splitlines() if line.startswith("| layer"))
    names = ["layer", "mean", "std", "RMS", "zeros", "dead", "NaN/inf", "update", "state"]
    assert [cell.strip() for cell in header.strip("|").split("|")] == names
    assert "| `relu` | 0 | 1 | 1 | 50.0% | 90.0% | 0 |  | dead-units |" in second
    assert "| `out¦put` | 0 | nan | nan | 0.0% |  | 3 | 1.0e-3 | healthy |" in second


def test_what_has_passed_comes_last_on_the_page_and_marks_nothing():
    past = replace(FINDING, layer="out|put", severity="error", cleared=70)
    rows = [found for _, step in training([0]) for found in step]
    page = activation_page(0, rows, [past, FINDING], {})
    items = [line for line in page.splitlines() if line.startswith("- ")]
    assert items[1] == "- Better since step 70: dead-units in `out¦put`. All \\*silent\\*."
    assert "in `relu`" in items[0]
    assert next(line for line in page.splitlines() if line.startswith("| `out")).endswith("| healthy |")
    note = replace(FINDING, layer="a", severity="note")
    assert ill_layers([past, FINDING, note]) == {"relu"}


def test_nobody_judged_is_not_healthy(tmp_path):
    log = write(tmp_path, [0])
    log.write_epoch(None, {})
    ((_, page),) = tensors(read(tmp_path), PAGE)
    assert "healthy" not in page.item().decode()
    assert "Findings" not in page.item().decode()


def test_short_epochs_are_not_all_drawn_but_the_last_is(tmp_path, monkeypatch):
    monkeypatch.setattr(activation_log, "FREE_SECONDS", 0.0)
    log = ActivationLog(tmp_path)
    for step, rows in training(range(12)):
        log.write(step, rows)
        log.write_epoch([], {})
    log.write_epoch([], {}, last=True)
    drawn = [step for step, _ in tensors(read(tmp_path), PAGE)]
    assert drawn[0] == 0
    assert drawn[-1] == 11
    assert len(drawn) < 12


def test_a_training_that_goes_on_is_drawn_from_its_beginning(tmp_path):
    write(tmp_path, range(0, 50, 10))
    log = write(tmp_path, range(50, 80, 10))
    assert log._grid.steps == list(range(0, 80, 10))
    np.testing.assert_allclose(log._grid.values("dead", ["relu"])[0].tolist(), np.arange(0, 0.8, 0.1))
    assert list(scalars(read(tmp_path), "activation_dead/relu")) == list(range(0, 80, 10))


def test_steps_that_are_done_again_replace_those_before(tmp_path):
    write(tmp_path, range(0, 60, 10))
    log = write(tmp_path, [40, 45])
    assert list(scalars(read(tmp_path), "activation_dead/relu")) == [0, 10, 20, 30, 40, 45]
    assert log._grid.steps == [0, 10, 20, 30, 40, 45]
    # Nothing is taken out of the lines: the later of two counts, for a third training too.
    assert steps_of(tmp_path) == [0, 10, 20, 30, 40, 50, 40, 45]
    assert list(ActivationLog(tmp_path).earlier()) == [0, 10, 20, 30, 40, 45]


def test_two_at_once_take_nothing_from_each_other(tmp_path):
    logs = {"a": ActivationLog(tmp_path), "b": ActivationLog(tmp_path)}
    for step in range(5):
        for layer, log in logs.items():
            log.write(step, [row(layer, rms=step + 1.0)])
    reader = read(tmp_path)
    assert len(list(tmp_path.glob("events.*"))) == 2
    for layer, log in logs.items():
        assert scalars(reader, f"activation_rms/{layer}") == {step: step + 1.0 for step in range(5)}
        assert log._grid.layers() == [layer]
    lines = [json.loads(line) for line in (tmp_path / "activations.jsonl").read_text().splitlines()]
    assert [(line["step"], *line["layers"]) for line in lines] == [(s, k) for s in range(5) for k in "ab"]


def test_lines_are_json_whatever_the_figures(tmp_path):
    rows = [row("a", rms=math.inf, channel_rms=[1.0, math.nan], histogram=[0] * (len(EDGES) - 1))]
    write(tmp_path, [0], rows)
    line = json.loads((tmp_path / "activations.jsonl").read_text(), parse_constant=pytest.fail)
    assert line["layers"]["a"]["rms"] is None
    assert line["layers"]["a"]["channel_rms"] == [1.0, None]


@pytest.mark.parametrize(
    ("tail", "kept"), [(b'{"step": 2, "lay', b""), (b'{"step": 2}', b'{"step": 2}\n'), (b"", b"")]
)
def test_a_last_line_that_a_crash_tore_is_mended(tmp_path, tail, kept):
    path = tmp_path / "lines"
    whole = b'{"step": 1, "x": "%s"}\n' % (b"y" * 70000)
    path.write_bytes(whole + tail)
    assert mend_lines(path) == len(whole + kept)
    assert path.read_bytes() == whole + kept


def test_lines_of_others_are_passed_over(tmp_path):
    (tmp_path / "activations.jsonl").write_text('null\n{"step": "x"}\nnot json\n[1]\n')
    log = write(tmp_path, [0, 1])
    assert log.earlier() == {}
    assert log._grid.steps == [0, 1]


@contextmanager
def files_of_at_most(size):
    """A limit of the kernel's: a write beyond it fails, after what fits has been written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_does_not_fit_is_not_written_by_half(tmp_path):
    path = tmp_path / "file"
    append(path, b"a" * 900)
    with files_of_at_most(1000), pytest.raises(OSError, match="large") as caught:
        append(path, b"b" * 200)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"a" * 900


def fill(folder):
    """Write until the disk is full, and beyond; the warnings, and how many steps were handed over."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        log = write(folder, range(400))
        log.write_epoch([], {}, last=True)
    return [str(warning.message) for warning in caught]


def assert_whole_after_failing(folder, said):
    assert len(said) == 1
    assert "training goes on" in said[0]
    steps = steps_of(folder)
    assert 3 < len(steps) < 400
    assert steps == list(range(len(steps)))
    assert list(scalars(read(folder), "activation_dead/relu")) in (steps, steps[:-1])


def test_a_file_that_may_not_grow_costs_one_warning(tmp_path):
    with files_of_at_most(50_000):
        said = fill(tmp_path)
    assert_whole_after_failing(tmp_path, said)
    assert "File too large" in said[0]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 KiB; where nobody may mount one, the test is skipped."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_costs_one_warning_and_the_next_training_goes_on(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(30_000))
    folder = small_disk / "log"
    said = fill(folder)
    assert_whole_after_failing(folder, said)
    assert os.strerror(errno.ENOSPC) in said[0]
    with suppress(OSError), (small_disk / "rest").open("wb", buffering=0) as rest:
        while rest.write(bytes(512)):
            pass
    with pytest.raises(ValueError, match=r"`log_dir` .*No space left"):
        ActivationLog(folder)
    ballast.unlink()
    before = steps_of(folder)
    write(folder, [1000])
    assert steps_of(folder) == [*before, 1000]
