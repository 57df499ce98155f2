"""What masks, boxes, keypoints and labels must look like, by shape and dtype alone."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kerasreg._core.arguments import Came, refusal
from kerasreg.augment.elements import FOLLOW_GEOMETRY, KEY
from kerasreg.augment.targets.formats import BOX_FORMATS

_OWNER = "Pipeline"


def check_companions(companions: dict[str, Any], images: Any) -> None:
    """Refuse what lies on the images, and stands where nothing moves it.

    Args:
        companions: What stands beside the images, by words for its place.
        images: The images' spec.
    """
    for place, part in companions.items():
        marks = [repr(key) for key in ("boxes", *FOLLOW_GEOMETRY) if isinstance(part, dict) and key in part]
        if marks:
            raise _unmoved(f"{place} with {', '.join(marks)}")
        first = images.shape.rank - 3
        for leaf in tf.nest.flatten(part):
            shape = getattr(leaf, "shape", None)
            if shape is None or tf.TensorShape(shape).rank is None:
                continue
            shape = tf.TensorShape(shape).as_list()
            if len(shape) >= first + 2 and shape[first : first + 2] == images.shape.as_list()[first:-1]:
                raise _unmoved(f"{place} of shape {tuple(shape)}, as high and as wide as the images")


def check_rows(parts: dict[str, Any]) -> None:
    """Refuse what is not there once for each image of a batch, as far as sizes are known."""
    rows = parts[KEY].shape[0]
    for key, part in parts.items():
        for leaf in tf.nest.flatten(part):
            shape = getattr(leaf, "shape", None)
            if shape is None or shape.rank in (None, 0) or None in (rows, shape[0]) or shape[0] == rows:
                continue
            raise refusal(_OWNER, key, f"one for each of the {rows} images", Came(f"shape {tuple(shape)}"))


def check_masks(masks: Any, images: Any, fill_value: float | None) -> None:
    """Refuse masks that are not of their images' size.

    Args:
        masks: Their specs, one or a structure of them.
        images: The images' spec.
        fill_value: What a constant fill writes into them; None with another fill.
    """
    batch = images.shape.rank - 3
    like = images.shape.as_list()[batch:-1]
    allowed = "of shape (height, width) or (height, width, channels), as high and as wide as their images"
    for mask in tf.nest.flatten(masks):
        _refuse_ragged("segmentation_masks", mask)
        shape = mask.shape.as_list() if mask.shape.rank is not None else None
        fits = shape is not None and len(shape) - batch in (2, 3)
        fits = fits and tf.TensorShape(shape[batch : batch + 2]).is_compatible_with(like)
        if not fits:
            came = "unknown shape" if shape is None else f"shape {tuple(shape)}"
            raise refusal(
                _OWNER, "segmentation_masks", allowed, Came(f"{came} for images of {tuple(images.shape)}")
            )
        if not (mask.dtype.is_integer or mask.dtype.is_floating or mask.dtype.is_bool):
            raise refusal(_OWNER, "segmentation_masks", "of a number or bool dtype", Came(mask.dtype.name))
        if fill_value is not None and not _holds(mask.dtype, fill_value):
            raise refusal(
                _OWNER, "mask_fill_value", f"a value of the masks, which are {mask.dtype.name}", fill_value
            )


def check_boxes(boxes: Any, batched: bool, box_format: str | None) -> None:
    """Refuse boxes that are not in Keras' form, or that nobody told the format of."""
    if not isinstance(boxes, dict) or not {"boxes", "labels"} <= set(boxes):
        came = f"the keys {', '.join(map(repr, boxes))}" if isinstance(boxes, dict) else type(boxes).__name__
        raise refusal(_OWNER, "bounding_boxes", "a dict with the keys 'boxes' and 'labels'", Came(came))
    if box_format is None:
        listed = ", ".join(map(repr, BOX_FORMATS))
        raise refusal(
            _OWNER, "bounding_box_format", f"one of {listed} where a transform moves bounding boxes", None
        )
    for key in ("boxes", "labels"):
        _refuse_ragged("bounding_boxes", boxes[key])
    found, labels = boxes["boxes"], boxes["labels"]
    rank = 2 + batched
    if found.shape.rank != rank or found.shape[-1] != 4 or not _is_number(found.dtype):
        allowed = f"numbers of shape {'(batch, boxes, 4)' if batched else '(boxes, 4)'} under 'boxes'"
        raise refusal(_OWNER, "bounding_boxes", allowed, Came(f"{found.dtype.name} of {found.shape}"))
    in_step = labels.shape.rank in (rank - 1, rank) and labels.shape[: rank - 1].is_compatible_with(
        found.shape[:-1]
    )
    if not in_step:
        came = f"labels of shape {labels.shape} for boxes of shape {found.shape}"
        raise refusal(_OWNER, "bounding_boxes", "a dict with one of 'labels' for each of 'boxes'", Came(came))
    if not _is_number(labels.dtype) or labels.dtype.is_unsigned:
        raise refusal(
            _OWNER,
            "bounding_boxes",
            "a dict with 'labels' of a signed or floating dtype, which holds the -1 of padding",
            Came(labels.dtype.name),
        )


def check_keypoints(keypoints: Any, batched: bool) -> None:
    """Refuse what are not points, or points without a place in the batch."""
    _refuse_ragged("keypoints", keypoints)
    shape = keypoints.shape
    if (
        shape.rank is None
        or shape.rank < 2 + batched
        or shape[-1] not in (2, 3)
        or not _is_number(keypoints.dtype)
    ):
        batch = "batch, " if batched else ""
        allowed = (
            f"numbers of shape ({batch}..., points, 2) or, with their visibility, ({batch}..., points, 3)"
        )
        raise refusal(_OWNER, "keypoints", allowed, Came(f"{keypoints.dtype.name} of {shape}"))


def check_labels(labels: Any, num_classes: int | None, names: str) -> None:
    """Refuse labels that `names`, transforms that mix, cannot mix."""
    allowed = (
        f"integers of shape (batch,) with num_classes, or floats of shape (batch, ...), one-hot, for {names}"
    )
    _refuse_ragged("labels", labels)
    if isinstance(labels, dict | tuple | list) or not hasattr(labels, "dtype"):
        raise refusal(_OWNER, "labels", f"one tensor for {names}", Came(type(labels).__name__))
    rank, came = labels.shape.rank, Came(f"{labels.dtype.name} of shape {labels.shape}")
    if labels.dtype.is_floating:
        if rank is None or rank < 2:
            raise refusal(
                _OWNER, "labels", allowed, came, "give single numbers as (batch, 1), classes as integers"
            )
        if num_classes is not None and labels.shape[-1] not in (None, num_classes):
            raise refusal(_OWNER, "labels", f"one-hot of {num_classes} classes for {names}", came)
        return
    if not labels.dtype.is_integer:
        raise refusal(_OWNER, "labels", allowed, came)
    if rank != 1 and not (rank == 2 and labels.shape[1] == 1):
        raise refusal(_OWNER, "labels", allowed, came, "cast one-hot labels to float32")
    if num_classes is None:
        raise refusal(
            _OWNER,
            "num_classes",
            f"given to {names} for integer labels",
            None,
            "say how many classes there are, or make the labels one-hot",
        )


def _unmoved(came: str) -> ValueError:
    return refusal(
        _OWNER,
        "element",
        "labels beside the images where a transform moves pixels",
        Came(came),
        "put what moves with the images in one dict with them, under 'segmentation_masks', 'bounding_boxes' "
        "or 'keypoints'",
    )


def _refuse_ragged(key: str, part: Any) -> None:
    if isinstance(part, tf.RaggedTensor | tf.RaggedTensorSpec | tf.SparseTensor | tf.SparseTensorSpec):
        raise refusal(
            _OWNER,
            key,
            "a dense tensor",
            Came(type(part).__name__),
            "pad it: rows.to_tensor(), or labels.to_tensor(-1) for the labels of boxes",
        )


def _is_number(dtype: tf.DType) -> bool:
    return dtype.is_integer or dtype.is_floating


def _holds(dtype: tf.DType, value: float) -> bool:
    if dtype.is_bool:
        return value in (0, 1)
    return dtype.is_floating or (value == int(value) and dtype.min <= value <= dtype.max)
