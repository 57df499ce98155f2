"""Where the images are in an element of a dataset, and how they are put back.

An element is the images alone, a tuple that starts with them, or a dict that has them under
`"images"`, as in Keras' preprocessing layers. Everything else in it passes through untouched.
"""

from __future__ import annotations

from typing import Any

from kerasreg._core import arguments

KEY = "images"
_FOLLOW_GEOMETRY = ("segmentation_masks", "bounding_boxes", "keypoints")


def images_of(element: Any) -> Any:
    """The images (or their spec) in an element."""
    if isinstance(element, tuple) and element:
        return images_of(element[0])
    if isinstance(element, dict):
        if KEY not in element:
            found = arguments.Came(f"the keys {', '.join(map(repr, element))}")
            raise arguments.refusal("Pipeline", "element", f"a dict with the key {KEY!r}", found)
        return element[KEY]
    return element


def with_images(element: Any, images: Any) -> Any:
    """The element with other images in their place."""
    if isinstance(element, tuple) and element:
        first = with_images(element[0], images)
        if hasattr(element, "_replace"):
            return element._replace(**{element._fields[0]: first})
        return (first, *element[1:])
    if isinstance(element, dict):
        return {**element, KEY: images}
    return images


def split(element: Any) -> dict[str, Any]:
    """What a plan has to know of an element, by Keras' names for it."""
    return {KEY: images_of(element)}


def joined(element: Any, parts: dict[str, Any]) -> Any:
    """The element with the parts that `split` took, changed, in their place."""
    return with_images(element, parts[KEY])


def refuse_unmoved(element: Any, movers: list[str]) -> None:
    """Refuse an element with masks, boxes or points when `movers`, the geometric transforms, move the image.

    Raises:
        ValueError: They would silently no longer lie on what they mark.
    """
    if isinstance(element, tuple) and element:
        refuse_unmoved(element[0], movers)
    if not isinstance(element, dict):
        return
    marks = [key for key in _FOLLOW_GEOMETRY if key in element]
    if marks and movers:
        raise arguments.refusal(
            "Pipeline",
            "element",
            f"without {' or '.join(map(repr, _FOLLOW_GEOMETRY))} where a transform moves pixels",
            arguments.Came(f"{', '.join(map(repr, marks))} together with {', '.join(movers)}"),
            "these keys are not supported by geometric transforms, leave them or the transforms out",
        )
