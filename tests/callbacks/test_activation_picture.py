"""The picture of layers by steps: right places, right colours, legible, drawn once for any length."""

import itertools
import math

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from rows import row, training

from kerasreg.callbacks.activation_picture import BROKEN, FIGURES, NOTHING, ZERO, draw, plot, png
from kerasreg.callbacks.step_grid import MOST_COLUMNS, StepGrid

LAYERS = ["relu", "vanishing", "out|put"]


def grid_of(steps):
    grid = StepGrid(FIGURES)
    for step, rows in training(steps):
        grid.add(step, rows)
    return grid


def colours(axes):
    return axes.images[0].get_array()


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_rows_are_layers_and_columns_steps():
    figure = draw(grid_of(range(0, 100, 10)), ill={"vanishing"})
    rms, _, dead, _, update, _ = figure.axes
    assert colours(rms).shape == colours(dead).shape == colours(update).shape == (3, 10, 4)
    assert [*LAYERS[:1], "! vanishing", LAYERS[2]] == [t for t in texts(figure) if t.endswith(tuple(LAYERS))]
    assert [label.get_text() for label in rms.get_xticklabels()] == ["0", "40", "90"]
    assert {"RMS of the output", "dead channels", "update / weights"} <= set(texts(figure))
    assert "outputs at a bound" not in texts(figure)
    # From the top: names stand beside their rows.
    heights = [t.get_position()[1] for t in figure.texts if t.get_text().endswith(tuple(LAYERS))]
    assert heights == sorted(heights, reverse=True)


def test_zero_and_nan_and_what_does_not_apply_have_colours_of_their_own():
    figure = draw(grid_of(range(0, 100, 10)))
    rms, _, dead, *_ = figure.axes
    assert [to_hex(colour) for colour in colours(rms)[1:, -1]] == [ZERO, BROKEN]
    assert {to_hex(colour) for colour in colours(dead)[1]} == {NOTHING}
    scales = [matplotlib.colormaps[name](np.linspace(0, 1, 256)) for name in ("viridis", "YlOrRd")]
    for special in (ZERO, BROKEN, NOTHING):
        distance = min(np.abs(scale - matplotlib.colors.to_rgba(special)).sum(-1).min() for scale in scales)
        assert distance > 0.1
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["0", "NaN or infinite", "does not apply"]


def luminance(colour):
    return float(colour[:3] @ [0.2126, 0.7152, 0.0722])


def test_a_scale_can_be_read_without_seeing_hues():
    grid = StepGrid(FIGURES)
    for step in range(20):
        grid.add(step, [row("a", rms=10.0 ** (step - 10), dead=step / 19)])
    figure = draw(grid)
    light = [luminance(colour) for colour in colours(figure.axes[0])[0]]
    # Beyond 1e-8 and 1e8 there is nothing to tell apart.
    inside = light[2:19]
    assert all(later > earlier for earlier, later in itertools.pairwise(inside))
    dark = [luminance(colour) for colour in colours(figure.axes[2])[0]]
    assert all(later < earlier for earlier, later in itertools.pairwise(dark))


def test_what_hardly_differs_looks_alike():
    grid = StepGrid(FIGURES)
    grid.add(0, [row("a", rms=1.0), row("b", rms=1.01)])
    first, second = colours(draw(grid).axes[0])[:, 0]
    assert np.abs(first - second).max() < 0.03


@pytest.mark.parametrize("layers", [1, 5, 60, 300])
def test_names_stand_apart_and_fit_on_the_picture(layers):
    grid = StepGrid(FIGURES)
    for step in range(3):
        grid.add(step, [row(f"stage_{i}/block/conv2d_with_a_long_name_{i}", dead=0.0) for i in range(layers)])
    figure = draw(grid)
    data, width, height = png(figure)
    assert data.startswith(b"\x89PNG")
    assert width < 2000
    assert height < 2000
    renderer = figure.canvas.get_renderer()
    boxes = [t.get_window_extent(renderer) for t in figure.texts if "conv2d" in t.get_text()]
    assert len(boxes) >= min(layers, 60)
    assert min(box.x0 for box in boxes) >= 0
    assert all(upper.y0 > lower.y0 + 0.6 * lower.height for upper, lower in itertools.pairwise(boxes))


def test_long_trainings_share_columns_and_lose_no_peak():
    grid = StepGrid(["rms"])
    values = np.random.default_rng(0).lognormal(size=5000)
    values[1234], values[4321] = 1e6, math.nan
    for step, value in enumerate(values):
        grid.add(10 * step, [{"layer": "a", "rms": float(value)}])
    assert MOST_COLUMNS / 2 <= len(grid.steps) <= MOST_COLUMNS + 1
    found = grid.values("rms", ["a"])[0].astype(float)
    for column, step in enumerate(grid.steps):
        own = values[step // 10 : step // 10 + grid.stride]
        expected = math.nan if np.isnan(own).any() else own.max()
        np.testing.assert_equal(found[column], expected)
    said = draw(grid).legends[0].get_texts()[-1]
    assert said.get_text() == f"{grid.stride} steps a column, the largest RMS shown"


def test_a_column_shows_the_last_word_of_a_window_about_dead_channels():
    grid = StepGrid(["dead"])
    # Windows of 8 steps, each of which begins with the silent and ends with the dead.
    for step in range(2 * MOST_COLUMNS):
        grid.add(step, [{"layer": "a", "dead": 0.25 + 0.5 * 2.0 ** -(step % 8)}])
    grid.add(2 * MOST_COLUMNS, [{"layer": "a", "dead": 0.25}])
    shown = grid.values("dead", ["a"])[0, : MOST_COLUMNS // 2].astype(float)
    assert grid.stride == 2
    np.testing.assert_allclose(shown[3::4], 0.25 + 0.5 * 2.0**-7)


def test_rows_of_one_step_may_come_in_parts():
    grid = StepGrid(["rms"])
    grid.add(0, [row("a")])
    grid.add(0, [row("b", rms=2.0)])
    assert (grid.steps, grid.values("rms", ["a", "b"]).tolist()) == ([0], [[1.0], [2.0]])


def test_plot_saves_what_it_draws_and_goes_on_from_what_a_folder_has(tmp_path):
    history = [{"step": step, **found} for step, rows in training([20, 30]) for found in rows]
    earlier = dict(training([0, 10, 20]))
    earlier[0] = [*earlier[0], row("of another model")]
    figure = plot(earlier, history, [], tmp_path / "picture.png")
    assert colours(figure.axes[0]).shape[:2] == (3, 4)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_observed_is_said():
    assert texts(plot({}, [], [], None)) == ["no step was observed yet"]


def test_drawing_leaves_no_window_behind():
    # pyplot keeps every figure that it makes.
    import matplotlib.pyplot as pyplot

    before = pyplot.get_fignums()
    draw(grid_of([0]))
    assert pyplot.get_fignums() == before
