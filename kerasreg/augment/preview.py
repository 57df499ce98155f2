"""Originals and draws side by side, with labels, masks, boxes and keypoints over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.arguments import Came
from kerasreg._core.batches import as_array
from kerasreg._core.pictures import need_matplotlib
from kerasreg.augment import elements
from kerasreg.augment.targets.formats import to_corners
from kerasreg.augment.units import Units

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OWNER = "Pipeline.preview"
_CELL = 1.9
"""Inches for one image."""


def element_of(inputs: Any, labels: Any, count: int) -> Any:
    """The first `count` images of what a person has at hand, as one batch with what belongs to them.

    Args:
        inputs: Images, an element with images in it, or a dataset of such, batched or not.
        labels: Labels that are not in it, or None.
        count: How many images at most.
    """
    if isinstance(inputs, tf.data.Dataset):
        inputs = _first_of(inputs, count)
    if isinstance(inputs, list):
        inputs = as_array(_OWNER, "images", inputs)
    if isinstance(elements.images_of(inputs), list):
        path = elements.places(inputs)[elements.KEY][0]
        images = as_array(_OWNER, "images", elements.images_of(inputs))
        inputs = elements.with_part(inputs, path, images)
    shape = np.shape(elements.images_of(inputs))
    rank = len(shape)
    if rank not in (3, 4) or 0 in shape:
        allowed = "images of shape (height, width, channels) or (batch, height, width, channels), not empty"
        raise arguments.refusal(_OWNER, "images", allowed, Came(f"shape {shape}"))
    if labels is not None:
        if elements.LABELS in elements.places(inputs):
            came = Came("labels and an element that has its own")
            raise arguments.refusal(_OWNER, "labels", "None for images that come with labels", came)
        labels = np.asarray(labels)
        if rank == 4 and (not labels.ndim or len(labels) != shape[0]):
            came = Came(f"shape {labels.shape}")
            raise arguments.refusal(_OWNER, "labels", f"one for each of the {shape[0]} images", came)
        inputs = (inputs, labels)
    cut: Callable[[Any], Any] = (lambda part: part[:count]) if rank == 4 else (lambda part: part[None])
    return _each(lambda part: cut(np.asarray(part)), inputs)


def _each(function: Callable[[Any], Any], element: Any) -> Any:
    """Of tuples and dicts every part; a list is one part, as it is to a person who types labels."""
    if isinstance(element, dict):
        return {key: _each(function, part) for key, part in element.items()}
    if isinstance(element, tuple):
        parts = [_each(function, part) for part in element]
        return type(element)(*parts) if hasattr(element, "_fields") else tuple(parts)
    return element if element is None else function(element)


def _first_of(dataset: tf.data.Dataset, count: int) -> Any:
    spec = elements.images_of(dataset.element_spec)
    if getattr(getattr(spec, "shape", None), "rank", None) == 3:
        dataset = dataset.batch(count)
    try:
        for element in dataset.take(1):
            return element
    except tf.errors.InvalidArgumentError:
        raise arguments.refusal(
            _OWNER,
            "images",
            "a dataset whose first elements form a batch",
            Came("elements of different shapes"),
            "resize and pad them first",
        ) from None
    raise arguments.refusal(_OWNER, "images", "a dataset with images in it", Came("an empty one"))


def draw_figure(
    originals: Any,
    drawn: Sequence[Any],
    before: Units,
    after: Units,
    box_format: str | None,
    names: Sequence[str] | None,
) -> Figure:
    """The figure: a row for each image, the original at the left, its draws beside it.

    Args:
        originals: A batch, from `element_of`.
        drawn: What the pipeline made of it, draw by draw.
        before: The units of the originals.
        after: The units of the draws.
        box_format: The format of bounding boxes, if there are any.
        names: A name for each class, or None.
    """
    need_matplotlib("Pipeline.preview")
    from matplotlib.figure import Figure

    columns = [("as it is", originals, before)]
    columns += [(f"draw {number}", element, after) for number, element in enumerate(drawn)]
    shape = np.shape(elements.images_of(originals))
    # Every row as high as its images want it, and room for a title above each.
    high = _CELL * shape[1] / shape[2] + 0.35
    figure = Figure(figsize=(_CELL * len(columns), high * shape[0]), layout="constrained")
    panels = figure.subplots(shape[0], len(columns), squeeze=False)
    for column, (title, element, units) in enumerate(columns):
        parts = {key: elements.part_at(element, found[0]) for key, found in elements.places(element).items()}
        for row in range(shape[0]):
            one = tf.nest.map_structure(lambda part, row=row: np.asarray(part[row]), parts)
            label = _label(one[elements.LABELS], names) if elements.LABELS in one else ""
            _draw(panels[row, column], one, units, box_format, names)
            panels[row, column].set_title(
                "\n".join(line for line in (title if not row else "", label) if line), fontsize=8
            )
    return figure


def shown(image: np.ndarray, units: Units) -> np.ndarray:
    """Values as matplotlib shows them: from 0 to 1, in three channels or, for grey, without a channel."""
    low, high = units.bounds
    scaled = np.clip((np.asarray(image, "float32") - low) / (high - low), 0, 1)
    return scaled[..., :3] if scaled.shape[-1] >= 3 else scaled[..., 0]


def _draw(
    panel: Any, one: dict[str, Any], units: Units, box_format: str | None, names: Sequence[str] | None
) -> None:
    picture = shown(one[elements.KEY], units)
    height, width = picture.shape[:2]
    # Pixels as squares from the corner on: the coordinates that boxes and keypoints have.
    extent = (0, width, height, 0)
    panel.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    panel.set_axis_off()
    if elements.MASKS in one:
        for mask in tf.nest.flatten(one[elements.MASKS]):
            panel.imshow(_overlay(mask), extent=extent, interpolation="nearest")
    if elements.BOXES in one:
        _draw_boxes(panel, one[elements.BOXES], box_format, (height, width), names)
    if elements.KEYPOINTS in one:
        points = one[elements.KEYPOINTS].reshape(-1, one[elements.KEYPOINTS].shape[-1])
        points = points[points[:, 2] > 0] if points.shape[-1] == 3 else points
        panel.plot(points[:, 0], points[:, 1], "o", markersize=4, color="white", markeredgecolor="black")
    # A point outside the image must not make the panel larger.
    panel.set_xlim(0, width)
    panel.set_ylim(height, 0)


def _overlay(mask: np.ndarray) -> np.ndarray:
    """A mask's classes as translucent colours, `(height, width, 4)`; class 0, the background, is clear."""
    if mask.ndim == 3:
        several = mask.shape[-1] > 1
        # A channel for each class: the first that holds a pixel names it.
        mask = np.where(mask.any(-1), mask.argmax(-1) + 1, 0) if several else mask[..., 0]
    classes = np.rint(mask).astype(np.int64) if mask.dtype.kind == "f" else mask.astype(np.int64)
    colors = np.stack([_color(kind) for kind in np.unique(classes)])
    found = colors[np.searchsorted(np.unique(classes), classes)]
    return np.concatenate([found, np.where(classes == 0, 0.0, 0.45)[..., None]], axis=-1)


def _draw_boxes(
    panel: Any,
    boxes: dict[str, np.ndarray],
    box_format: str | None,
    size: tuple[int, int],
    names: Sequence[str] | None,
) -> None:
    from matplotlib.patches import Rectangle

    if box_format is None:
        allowed = "the format of the boxes, where some are to be drawn"
        raise arguments.refusal(_OWNER, "bounding_box_format", allowed, None, "give it to the Pipeline")
    corners = to_corners(tf.constant(boxes["boxes"], tf.float32), box_format, size).numpy()
    for (left, top, right, bottom), label in zip(corners, boxes["labels"], strict=True):
        if np.all(label < 0):
            continue  # Keras' padding.
        kind = int(label if np.ndim(label) == 0 else np.argmax(label))
        style = {"edgecolor": _color(kind + 1), "linewidth": 1.5, "fill": False}
        panel.add_patch(Rectangle((left, top), right - left, bottom - top, **style))
        background = {"facecolor": _color(kind + 1), "edgecolor": "none", "pad": 0.8}
        panel.text(left, top, _name(kind, names), fontsize=6, color="white", va="top", bbox=background)


def _label(label: np.ndarray, names: Sequence[str] | None) -> str:
    """A class, several with their shares, or a number, as a title."""
    if label.ndim == 0:
        value = label.item()
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if isinstance(value, float) and not value.is_integer():
            return f"{value:.3g}"
        return _name(int(value), names) if isinstance(value, int | float | bool) else str(value)
    if label.ndim > 1 or label.dtype.kind not in "biuf":
        return ""
    if len(label) == 1:
        return _label(label[0], names)
    kinds = [kind for kind in np.argsort(-label, kind="stable")[:3] if label[kind] > 0.005]
    if len(kinds) == 1 and label[kinds[0]] > 0.995:
        return _name(int(kinds[0]), names)
    return ", ".join(f"{_name(int(kind), names)} {label[kind]:.2f}" for kind in kinds)


def _name(kind: int, names: Sequence[str] | None) -> str:
    return names[kind] if names is not None and 0 <= kind < len(names) else str(kind)


def _color(kind: int) -> tuple[float, ...]:
    from matplotlib import colormaps

    return colormaps["tab10"](kind % 10)[:3]


def check_names(names: Any) -> list[str] | None:
    """A list of strings, or None."""
    if names is None:
        return None
    several = hasattr(names, "__iter__") and not isinstance(names, str)
    if not several or not all(isinstance(name, str) for name in names):
        raise arguments.refusal(_OWNER, "class_names", "a list of strings or None", names)
    return list(names)
