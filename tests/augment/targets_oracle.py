"""Pipelines on whole elements with nothing to compile, and their geometry in NumPy."""

import numpy as np
import tensorflow as tf
from augment_oracle import drawn

from kerasreg.augment.execute import chain_matrix, execute


def outcome(pipeline, element, rows=None):
    """The first draw of a pipeline for a batched dict, carried out operation by operation."""
    targets = pipeline._targets
    parts = targets.split(element)
    targets.check(element, parts)
    images = parts["images"]
    uniform = drawn(pipeline, len(images))
    rows = len(images) if rows is None else rows
    pairs = targets.find_pairs(tuple(images.shape[1:3]), uniform, tf.constant(rows, tf.int64))
    found = targets.follow(parts, uniform, pairs, lambda f: f)
    found["images"] = execute(targets.plan, images, uniform, pairs=pairs)
    return tf.nest.map_structure(lambda part: part.numpy(), {**found, "pairs": pairs})


def matrices(pipeline, count, height, width):
    """The matrix of everything that moves pixels, in float64."""
    return np.float64(chain_matrix(pipeline.explain().geometry, drawn(pipeline, count), height, width))


def numpy_points(points, matrix, size, after=None):
    """Where points of one image go, through the inverse of its matrix."""
    middle, behind = (np.array([width, height]) / 2 for height, width in (size, after or size))
    three = np.concatenate([points - middle, np.ones_like(points[..., :1])], -1) @ np.linalg.inv(matrix).T
    return three[..., :2] / three[..., 2:] + behind


def numpy_boxes(corners, matrix, size, after=None):
    """The upright hull of moved boxes of one image, and that hull cut off at the frame."""
    left, top, right, bottom = np.moveaxis(np.float64(corners), -1, 0)
    quads = np.stack(
        [np.stack(p, -1) for p in ((left, top), (right, top), (right, bottom), (left, bottom))], 1
    )
    after = after or size
    moved = numpy_points(quads, matrix, size, after)
    hull = np.concatenate([moved.min(1), moved.max(1)], -1)
    return hull, np.clip(hull, 0, np.array([after[1], after[0]] * 2))


def area(corners):
    return np.prod(corners[..., 2:] - corners[..., :2], -1)
