"""Where the images, and what belongs to them, are in an element of a dataset, and how they are put back.

An element is the images alone, a tuple that starts with them, or a dict that has them under
`"images"`, as in Keras' preprocessing layers. What a plan does not change passes through untouched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kerasreg._core import arguments

KEY = "images"
LABELS = "labels"
MASKS, BOXES, KEYPOINTS = FOLLOW_GEOMETRY = ("segmentation_masks", "bounding_boxes", "keypoints")

Path = tuple[int | str, ...]


def places(element: Any) -> dict[str, list[Path]]:
    """Where the images are, and what Keras has names for: the keys to follow, by name.

    >>> places(({"images": 0, "keypoints": 1}, 2))
    {'images': [(0, 'images')], 'keypoints': [(0, 'keypoints')], 'labels': [(1,)]}
    """
    found: dict[str, list[Path]] = {}
    start: Path = ()
    inner = element
    while isinstance(inner, tuple) and inner:
        inner, start = inner[0], (*start, 0)
    if isinstance(inner, dict):
        if KEY not in inner:
            came = arguments.Came(f"the keys {', '.join(map(repr, inner))}")
            raise arguments.refusal("Pipeline", "element", f"a dict with the key {KEY!r}", came)
        found = {key: [(*start, key)] for key in (KEY, *FOLLOW_GEOMETRY, LABELS) if key in inner}
    else:
        found[KEY] = [start]
    if isinstance(element, tuple) and len(element) > 1 and element[1] is not None:
        found.setdefault(LABELS, []).append((1,))
    return found


def images_of(element: Any) -> Any:
    """The images (or their spec) in an element."""
    return part_at(element, places(element)[KEY][0])


def companions_of(element: Any) -> dict[str, Any]:
    """What stands beside the images without a name of its own: the rest of tuples, and the key `"labels"`."""
    found = {f"the element's entry {i}": part for i, part in enumerate(_rest(element), 1)}
    while isinstance(element, tuple) and element:
        element = element[0]
    if isinstance(element, dict) and LABELS in element:
        found[f"the key {LABELS!r}"] = element[LABELS]
    return found


def split(element: Any, wanted: Iterable[str] = ()) -> dict[str, Any]:
    """The images of an element and what else of it a plan changes, by Keras' names."""
    where = places(element)
    return {key: part_at(element, where[key][0]) for key in (KEY, *wanted) if key in where}


def joined(element: Any, parts: dict[str, Any]) -> Any:
    """The element with the parts that `split` took, changed, in their place."""
    where = places(element)
    for key, part in parts.items():
        path = where[key][0]
        # Further entries for each box, a confidence for one, keep the row that their box keeps.
        part = {**part_at(element, path), **part} if key == BOXES else part
        element = with_part(element, path, part)
    return element


def part_at(element: Any, path: Path) -> Any:
    """What is at a place in an element."""
    for step in path:
        element = element[step]
    return element


def with_part(element: Any, path: Path, part: Any) -> Any:
    """The element with something else at a place, in types of its own; the given one stays as it is."""
    if not path:
        return part
    step, rest = path[0], path[1:]
    part = with_part(element[step], rest, part)
    if isinstance(element, dict):
        return {**element, step: part}
    if hasattr(element, "_replace"):
        return element._replace(**{element._fields[step]: part})
    return (*element[:step], part, *element[step + 1 :])


def _rest(element: Any) -> list[Any]:
    if not isinstance(element, tuple) or not element:
        return []
    return [*element[1:], *_rest(element[0])]
