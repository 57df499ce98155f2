"""Everything that goes with the images, through the same draws and the same matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf

from kerasreg._core.arguments import Came, refusal
from kerasreg.augment.elements import (
    BOXES,
    FOLLOW_GEOMETRY,
    KEY,
    KEYPOINTS,
    LABELS,
    MASKS,
    companions_of,
    places,
    split,
)
from kerasreg.augment.execute import Compile, chain_matrix, size_after
from kerasreg.augment.mix import CutMix, as_numbers, mix_labels, mix_pixels
from kerasreg.augment.pixels import Found
from kerasreg.augment.plan import Plan
from kerasreg.augment.targets import checks, looks
from kerasreg.augment.targets.boxes import move_boxes
from kerasreg.augment.targets.frames import Frame
from kerasreg.augment.targets.keypoints import move_keypoints
from kerasreg.augment.targets.masks import move_masks
from kerasreg.augment.transform import Size
from kerasreg.augment.warp import sizes

Parts = dict[str, Any]
Pairs = dict[str, Found]


@dataclass(frozen=True)
class Targets:
    """What a plan does to what belongs to the images.

    Attributes:
        plan: What is done to the images.
        box_format: The format of bounding boxes; None where there are none.
        min_visible: The least share of a box that keeps it.
        mask_fill_value: What a constant fill writes into masks.
    """

    plan: Plan
    box_format: str | None
    min_visible: float
    mask_fill_value: float

    def __post_init__(self) -> None:
        """Refuse transforms that count the classes differently."""
        counts = {s.name: s.transform.num_classes for s in self.plan.mixes if s.transform.num_classes}
        if len(set(counts.values())) > 1:
            came = ", ".join(f"{count} of {name}" for name, count in counts.items())
            raise refusal("Pipeline", "transforms", "a list with one num_classes", Came(came))

    @property
    def wanted(self) -> list[str]:
        """The parts of an element, beside the images, that the plan changes."""
        keys = list(FOLLOW_GEOMETRY) if self.plan.geometry else [MASKS] if self.plan.mixes else []
        return [*keys, LABELS] if self.plan.mixes else keys

    def split(self, element: Any) -> Parts:
        """The parts of an element that the plan changes, as tensors; of its spec, as specs."""
        parts = split(element, self.wanted)
        for key, part in parts.items():
            if key == BOXES and isinstance(part, dict):
                parts[key] = {name: _tensor(key, part[name]) for name in ("boxes", "labels") if name in part}
            elif key == MASKS:
                parts[key] = tf.nest.map_structure(partial(_tensor, key), part)
            elif key != LABELS or not isinstance(part, dict | tuple):
                parts[key] = _tensor(key, part)
        return parts

    def check(self, element: Any, parts: Parts) -> None:
        """Refuse by shapes and dtypes what cannot follow the images.

        Args:
            element: The element, or its spec.
            parts: What `split` made of it.
        """
        images = parts[KEY]
        batched = images.shape.rank == 4
        if self.plan.mixes:
            self._check_mixes(element, parts, batched)
        self._check_mixtures(element)
        if self.plan.geometry:
            checks.check_companions(companions_of(element), images)
        if batched:
            checks.check_rows(parts)
        self._check_parts(parts, batched)

    def _check_parts(self, parts: Parts, batched: bool) -> None:
        if MASKS in parts:
            fill = self.mask_fill_value if self._fills else None
            checks.check_masks(parts[MASKS], parts[KEY], fill)
        if BOXES in parts:
            checks.check_boxes(parts[BOXES], batched, self.box_format)
        if KEYPOINTS in parts:
            checks.check_keypoints(parts[KEYPOINTS], batched)

    def _check_mixtures(self, element: Any) -> None:
        marks = [key for key in FOLLOW_GEOMETRY if key in places(element)]
        if marks and self.plan.mixtures:
            names = ", ".join(step.name for step in self.plan.mixtures)
            allowed = f"without {', '.join(map(repr, marks))} for {names}"
            remedy = "what they mark is in several places in a mixture"
            raise refusal("Pipeline", "element", allowed, Came("both"), remedy)

    def _check_mixes(self, element: Any, parts: Parts, batched: bool) -> None:
        names = ", ".join(step.name for step in self.plan.mixes)
        if not batched:
            raise refusal(
                "Pipeline", "images", f"a batch for {names}", Came("single images"), "batch the dataset first"
            )
        where = places(element)
        pastes = all(isinstance(step.transform, CutMix) for step in self.plan.mixes)
        marks = [key for key in FOLLOW_GEOMETRY if key in where and not (pastes and key == MASKS)]
        if marks:
            allowed = f"without {', '.join(map(repr, marks))} for {names}"
            raise refusal(
                "Pipeline",
                "element",
                allowed,
                Came("both"),
                "they have no meaning in a mixture of two images",
            )
        if len(where.get(LABELS, [])) > 1:
            came = Came(f"them in the tuple and under the key {LABELS!r}")
            raise refusal("Pipeline", "element", f"an element with labels in one place for {names}", came)
        if LABELS in where:
            checks.check_labels(parts[LABELS], self.plan.num_classes, names)
        elif MASKS not in where:
            allowed = f"(images, labels), or a dict with {LABELS!r}, for {names}"
            raise refusal("Pipeline", "element", allowed, Came("no labels"))

    def needs_look(self, parts: Parts) -> bool:
        """Whether values can be wrong that shapes and dtypes do not tell."""
        return BOXES in parts or (LABELS in parts and not parts[LABELS].dtype.is_floating)

    def look(self, parts: Parts) -> None:
        """Refuse boxes outside the images, labels that are no class, and sizes that only now are known."""
        self._check_parts(parts, parts[KEY].shape.rank == 4)
        height, width = parts[KEY].shape[-3:-1]
        if BOXES in parts:
            looks.look_at_boxes(parts[BOXES], self.box_format, (height, width))
        if LABELS in parts and not parts[LABELS].dtype.is_floating:
            names = ", ".join(step.name for step in self.plan.mixes)
            looks.look_at_labels(parts[LABELS], self.plan.num_classes, names)

    def find_pairs(self, size: Size, uniform: tf.Tensor, rows: tf.Tensor) -> Pairs:
        """Which image is mixed with which, by the name of each transform that mixes."""
        found = {}
        for segment in self.plan.segments:
            if segment.kind == "mix":
                (step,) = segment.steps
                found[step.name] = step.pairs(uniform, size, rows)
            size = size_after(segment.geometry, size)
        return found

    def follow(self, parts: Parts, uniform: tf.Tensor, pairs: Pairs, compiled: Compile) -> Parts:
        """All parts but the images after the plan.

        Args:
            parts: From `split`, all batched.
            uniform: float32 of shape `(images, lanes)`, numbers in [0, 1).
            pairs: From `find_pairs`.
            compiled: Wraps each function of masks; boxes and points are few, and change in number.
        """
        found: Parts = {}
        size = sizes(parts[KEY])[:2]
        if MASKS in parts:
            self._assert_sizes(parts)
            through = compiled(partial(self._masks, size))
            found[MASKS] = tf.nest.map_structure(lambda mask: through(mask, uniform, pairs), parts[MASKS])
        if BOXES in parts or KEYPOINTS in parts:
            frames = [frame for frame, _ in self._frames(size, uniform) if frame]
            if BOXES in parts:
                boxes = self._in_step(parts[BOXES])
                found[BOXES] = move_boxes(boxes, frames, self.box_format, self.min_visible)
            if KEYPOINTS in parts:
                found[KEYPOINTS] = move_keypoints(parts[KEYPOINTS], frames)
        if LABELS in parts:
            labels = as_numbers(self._in_range(parts[LABELS]), self.plan.num_classes)
            for step in self.plan.mixes:
                labels = mix_labels(labels, pairs[step.name])
            found[LABELS] = labels
        return found

    @property
    def _fills(self) -> bool:
        return self.plan.fill_mode == "constant" and self.plan.fills

    def _frames(self, size: Size, uniform: tf.Tensor) -> list[tuple[Frame | None, str]]:
        """Of each step of the plan, how it warps the images, and the name of what mixes them."""
        found = []
        for segment in self.plan.segments:
            frame, after = None, size
            if segment.geometry:
                after = size_after(segment.geometry, size)
                frame = Frame(chain_matrix(segment.geometry, uniform, *size), size, after)
            found.append((frame, segment.steps[0].name if segment.kind == "mix" else ""))
            size = after
        return found

    def _masks(self, size: Size, masks: tf.Tensor, uniform: tf.Tensor, pairs: Pairs) -> tf.Tensor:
        transforms = {step.name: step.transform for step in self.plan.mixes}
        waiting: list[Frame] = []
        for frame, mix in self._frames(size, uniform):
            waiting += [frame] if frame else []
            if mix:
                masks, waiting = self._warped(masks, waiting), []
                masks = mix_pixels(transforms[mix], masks, pairs[mix])
        return self._warped(masks, waiting)

    def _warped(self, masks: tf.Tensor, frames: Sequence[Frame]) -> tf.Tensor:
        if not frames:
            return masks
        return move_masks(masks, frames, self.plan.fill_mode, self.mask_fill_value)

    def _assert_sizes(self, parts: Parts) -> None:
        """Where sizes are known only at run time, refuse masks of another size then."""
        like = parts[KEY].shape[1:3]
        for mask in tf.nest.flatten(parts[MASKS]):
            if not (like.is_fully_defined() and mask.shape[1:3].is_fully_defined()):
                tf.debugging.assert_equal(
                    tf.shape(mask)[1:3],
                    tf.shape(parts[KEY])[1:3],
                    "Argument `segmentation_masks` of Pipeline must be as high and as wide as their images.",
                )

    def _in_step(self, boxes: Parts) -> Parts:
        """The boxes, with a check at run time that each has a label, where only then it is known."""
        found, labels = boxes["boxes"], boxes["labels"]
        if not (found.shape[1:2].is_fully_defined() and labels.shape[1:2].is_fully_defined()):
            sentence = "must be a dict with one of 'labels' for each of 'boxes'"
            tf.debugging.assert_equal(
                tf.shape(found)[:2],
                tf.shape(labels)[:2],
                f"Argument `bounding_boxes` of Pipeline {sentence}.",
            )
        return boxes

    def _in_range(self, labels: tf.Tensor) -> tf.Tensor:
        """The labels, with a check at run time that sparse ones are classes."""
        if labels.dtype.is_floating:
            return labels
        count = self.plan.num_classes
        names = ", ".join(step.name for step in self.plan.mixes)
        wide = tf.cast(labels, tf.int64)
        sentence = f"Argument `labels` of Pipeline must be {looks.labels_allowed(count, names)}."
        tf.debugging.Assert(tf.reduce_all((wide >= 0) & (wide < count)), [sentence, labels])
        return labels


def _tensor(key: str, part: Any) -> Any:
    """An array as a tensor; a tensor of any kind, or the spec of one, as it is."""
    if tf.is_tensor(part) or isinstance(part, tf.TypeSpec | tf.RaggedTensor | tf.SparseTensor):
        return part
    try:
        return tf.convert_to_tensor(part)
    except (TypeError, ValueError) as error:
        came = Came("None" if part is None else f"a {type(part).__name__} that is none")
        raise refusal("Pipeline", key, "an array or a tensor", came) from error
