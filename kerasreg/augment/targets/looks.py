"""A look at values that shapes and dtypes do not tell: boxes in their images, labels among their classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from kerasreg._core.arguments import Came, refusal
from kerasreg.augment.targets.formats import to_corners

_OWNER = "Pipeline"
_SLACK = 1.0
"""Pixels by which a box may reach out of its image: those who drew it rounded."""


def look_at_boxes(boxes: dict[str, Any], box_format: str, size: tuple[int, int]) -> None:
    """Refuse boxes that do not lie in images of this height and width, as the format reads them."""
    given, labels = np.asarray(boxes["boxes"]), np.asarray(boxes["labels"])
    padding = np.all(labels < 0, axis=-1) if labels.ndim == given.ndim else labels < 0
    given = given[~padding]
    if not given.size:
        return
    corners = to_corners(tf.constant(given, tf.float32), box_format, size).numpy()
    limit = np.array([size[1], size[0]] * 2) + _SLACK
    # Written so that NaN, which compares false, is refused.
    fits = np.all((corners >= -_SLACK) & (corners <= limit), axis=-1)
    fits &= np.all(corners[:, :2] <= corners[:, 2:], axis=-1)
    allowed = f"inside their images, in the format {box_format!r}"
    if not fits.all():
        came = f"{given[~fits][0].tolist()} for an image {size[0]} high and {size[1]} wide"
        raise refusal(_OWNER, "bounding_boxes", allowed, Came(came), "clip them or state their format")
    if not box_format.startswith("rel_") and min(size) > 2 and corners.max() <= 1:
        came = f"{given[0].tolist()}, nothing beyond the first pixel"
        raise refusal(_OWNER, "bounding_boxes", allowed, Came(came), f"is it 'rel_{box_format}'?")


def look_at_labels(labels: Any, num_classes: int, names: str) -> None:
    """Refuse sparse labels that are no class, for `names`, the transforms that mix them."""
    values = np.asarray(labels)
    strange = (values < 0) | (values >= num_classes)
    if strange.any():
        raise refusal(_OWNER, "labels", labels_allowed(num_classes, names), values[strange].flat[0].item())


def labels_allowed(num_classes: int, names: str) -> str:
    """What sparse labels may be, in words."""
    return f"whole numbers from 0 to {num_classes - 1} for {names}"
