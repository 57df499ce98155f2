"""The pipeline: a list of transforms, made into a plan, compiled once, run on images and datasets."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment import draws, elements, files, preview, stream, values
from kerasreg.augment.compiled import Compiled, Parts
from kerasreg.augment.crop import whole_pair
from kerasreg.augment.execute import size_after
from kerasreg.augment.plan import Plan, make_plan
from kerasreg.augment.policy import unique_names
from kerasreg.augment.taps import FILL_MODES, INTERPOLATIONS
from kerasreg.augment.targets.follow import Targets
from kerasreg.augment.targets.formats import BOX_FORMATS
from kerasreg.augment.transform import Transform, readable_arguments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kerasreg.augment.layer import Augmentation


@register
class Pipeline:
    """Random image transforms, fused: one resample and one colour map per image, in one compiled step.

    With the inverse-warp matrices `G_k` of its geometric transforms and the colour maps
    `x -> C_k x + b_k` of its colour transforms, a pipeline computes

        out[p] = clip(C image[G_1 G_2 ... G_n p] + b),    C = C_m ... C_1,

    reads each pixel once and clips once, at the end, to `value_range`. Where the `G_k` take whole pixels to
    whole pixels (flips, quarter turns, crops, whole-pixel shifts), nothing is interpolated and the
    result holds the very pixels of the input. `RandomCrop` and `RandomResizedCrop` change the size, and are
    part of the same matrix: a pixel that a crop cuts off can be turned into sight again by what follows it.
    What is no matrix has a step of its own between those of
    matrices: tables of values (`RandomPosterize`, `RandomSolarize`, `RandomEqualize`,
    `RandomAutoContrast`), which are given values clipped to the range, stencils (`RandomSharpness`,
    `RandomGaussianBlur`), noise and cut-outs (`RandomErasing`). `explain()` tells what was fused into
    what, and what was not and why.

    Use it as `dataset.apply(pipeline)`, on a dataset of single images or, which is faster, of batches:
    what tf.data spends on each element then counts once per batch, and small images gain the most. Or
    call it as `pipeline(images)`. Elements are images, `(images, labels)`,
    `(images, labels, sample_weight)`, a dict with the key `"images"`, or such a dict in place of the images.

    What lies on the images moves with them, through the same matrices, under Keras' keys of the dict:

    - `"segmentation_masks"`: `(height, width)` or `(height, width, channels)`, one or a dict of several, by
      nearest neighbour, in their own dtype, with the fill of the images.
    - `"bounding_boxes"`: a dict of `"boxes"` `(boxes, 4)` and `"labels"` `(boxes,)`, padded with label -1.
      A box becomes the smallest upright one around its moved corners, cut off at the frame; one that is out
      of sight becomes padding, box 0 and label -1. Shapes stay, and each box its row.
    - `"keypoints"`: `(..., points, 2)` in pixels from the upper left corner of the image, where the middle of
      the first pixel is at (0.5, 0.5); outside the frame they keep the coordinates that they have there.
      With a third column, the visibility, points outside get 0 there. A flip does not swap left and right
      points' names.

    Fills that repeat the image repeat no boxes and no points. Integer boxes and points become float32.
    `MixUp` and `CutMix` mix the labels; everything else passes through untouched, in its own dtype. Boxes
    are looked at when the pipeline is applied: those of the first element must lie in their images.

    Randomness: each number is a function of the seed, the epoch, the image's place in it, and the
    transform's name. The same seed gives the same images in every run, whatever the number of
    threads or the batch size; iterating the dataset again gives new ones; a transform that is added
    does not change what the others draw; saved dataset iterators resume where they were, in later epochs too
    if `repeat` stands directly behind the pipeline. (Behind a `shuffle` of tf.data's the order of later
    epochs may not come again; `augment.indices` shuffles without one.)

    Shared data: the pass and the place in it are counted where the pipeline runs. Where it runs on a share
    of the data - behind `shard`, in a tf.data service - shares would count alike, and a service would count
    every iteration as the first. `index_key` and `epoch_key` name entries of the element's dict to take
    instead, one for each image; `augment.indices` is a dataset that has them. With both, whoever augments an
    example draws the same for it, and `repeat` behind them repeats images. In a tf.data service:

    - `ShardingPolicy.DYNAMIC` and `FILE`: give both keys, and the workers together give the images of a run
      without a service. Without the keys workers draw the same numbers for different images.
    - `DATA`: counted places are right, as every worker counts the whole data and gives a share of it;
      the epoch needs its key.
    - `OFF`: every worker gives the whole data; with or without the keys, each image comes in the same form
      from all.

    Files: where images are scalar strings, the paths of JPEG, PNG, GIF or BMP files, they are read and
    decoded, to uint8 with 3 channels, in the pipeline. Of a JPEG whose plan starts with a crop (and measures
    no mean colour, and moves nothing but images) only what is seen is decoded, with the result that the whole
    would have. An unreadable file is an error that names it. Batch behind the pipeline.

    Values: images are looked at, to see that they lie in `value_range`: those of every call, and of a
    dataset the first element of each pass, as it comes by (there the error is TensorFlow's
    `InvalidArgumentError`). uint8 images with the default range are not looked at, nor are images given to a
    call inside a `tf.function`. Floating images that lie in [0, 1] are refused for a range like (0, 255).
    What is refused takes no draw; an empty batch comes back empty, and a point of NaN as one.

    Compilation: XLA compiles for a batch size when it first sees it, about a second. A smaller batch
    at the end of an epoch is padded to the size of the others and cut back, so it needs no second one.
    Images of unknown height or width take an uncompiled graph.

    Args:
        transforms: The transforms, in the order in which they act. Their names must differ; by
            default they are `RandomFlip`, `RandomFlip_1`, ... in order.
        seed: A whole number, or `None` for images that differ from one run to the next.
        value_range: The smallest and the largest value that a pixel can have, `(low, high)`.
        fill_mode: What stands outside the image: `"reflect"` (`d c b a | a b c d | d c b a`),
            `"nearest"` (the edge pixel), `"wrap"` (the image again) or `"constant"`.
        fill_value: The value of a constant fill, in the units of the images.
        dtype: The dtype of the result: `"float32"`, `"float16"`, `"bfloat16"` or `"uint8"` (rounded).
        exact: Whether to go one transform at a time and clip to the range after each, as a chain of
            separate operations does; nothing is rounded in between. It costs a resample for every warp
            and a pass for every colour, and draws the same numbers.
        interpolation: How pixels are read between pixels: `"bilinear"`, `"nearest"` (which copies
            values and makes no new ones) or `"bicubic"` (Keys' cubic with a = -1/2, as Pillow's; sharper, and
            slower). Where an image shrinks to less than half along an axis, each pixel of the result is the
            mean of as many places as it covers pixels, but with `"nearest"`.
        bounding_box_format: The format of bounding boxes, as Keras names it: `"xyxy"`, `"yxyx"`, `"xywh"`,
            `"center_xywh"`, `"center_yxhw"`, `"rel_xyxy"`, `"rel_yxyx"`, `"rel_xywh"` or
            `"rel_center_xywh"`. There is no default: boxes that a transform moves need it.
        min_visible: The least share of a moved box's area in the frame that keeps it, a number in [0, 1].
            One without any is always dropped.
        mask_fill_value: What a constant fill writes into masks.
        index_key: For datasets of dicts, the key of each image's own number, or of a string of its own (a
            file's name): int64 or string, one per image. By default images are counted.
        epoch_key: The key of the number of the pass over the data, one per image; with `index_key` only. By
            default passes are counted.

    Raises:
        ValueError: No transforms, something else among them, two of one name, or an argument or
            images outside what is stated here.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomContrast, RandomFlip, RandomRotation
        >>> pipeline = Pipeline([RandomFlip(), RandomRotation(10), RandomContrast(0.2)], seed=1)
        >>> print(pipeline.explain())
        3 transforms in 1 step
        1. geometry: RandomFlip, RandomRotation -> one bilinear warp, fill reflect
           colour: RandomContrast -> one affine map per image
           mean colour: measured once, before the warp
        resamples per image: 1 (one transform at a time: 1)
        computed in float32, clipped to [0, 255] at the end, returned as float32
        >>> images = tf.zeros([10, 8, 8, 3], tf.uint8)
        >>> dataset = tf.data.Dataset.from_tensor_slices((images, tf.range(10))).batch(4)
        >>> dataset.apply(pipeline).element_spec[0].dtype.name
        'float32'
    """

    def __init__(
        self,
        transforms: Sequence[Transform],
        seed: int | None = 0,
        value_range: tuple[float, float] = (0, 255),
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        dtype: str = "float32",
        exact: bool = False,
        interpolation: str = "bilinear",
        bounding_box_format: str | None = None,
        min_visible: float = 0.1,
        mask_fill_value: float = 0.0,
        index_key: str | None = None,
        epoch_key: str | None = None,
    ) -> None:
        self.transforms = _check_transforms(transforms)
        self.seed = None if seed is None else arguments.integer("Pipeline", "seed", seed)
        self.value_range = values.check_value_range(value_range)
        self.fill_mode = arguments.choice("Pipeline", "fill_mode", fill_mode, FILL_MODES)
        self.fill_value = values.check_fill_value(fill_value)
        self.dtype = values.check_dtype(dtype)
        self.exact = arguments.flag("Pipeline", "exact", exact)
        self.interpolation = arguments.choice("Pipeline", "interpolation", interpolation, INTERPOLATIONS)
        self.bounding_box_format = bounding_box_format
        if bounding_box_format is not None:
            arguments.choice("Pipeline", "bounding_box_format", bounding_box_format, BOX_FORMATS)
        self.min_visible = arguments.number("Pipeline", "min_visible", min_visible, 0, 1)
        self.mask_fill_value = arguments.number("Pipeline", "mask_fill_value", mask_fill_value)
        self.index_key, self.epoch_key = stream.check_key_names(index_key, epoch_key)
        self._plan = make_plan(
            self.transforms,
            unique_names(self.transforms),
            self.fill_mode,
            self.fill_value,
            self.value_range,
            self.dtype,
            self.exact,
            self.interpolation,
        )
        values.check_dtype_holds(self.dtype, self._plan.units.outer)
        self._targets = Targets(self._plan, self.bounding_box_format, self.min_visible, self.mask_fill_value)
        self._key = secrets.randbits(64) if self.seed is None else self.seed
        self.augmented = Compiled(self._targets, self._key)
        self._keys = stream.Keys(self.index_key, self.epoch_key)
        with tf.init_scope(), tf.device("CPU:0"):
            self._calls = tf.Variable(0, dtype=tf.int64, trainable=False, name="calls")

    def __call__(
        self,
        inputs: Any,
        draw: int | None = None,
        num_parallel_calls: int | None = None,
        deterministic: bool = True,
    ) -> Any:
        """Augment a `tf.data.Dataset`, or images at once.

        Args:
            inputs: A dataset; or one image `(height, width, channels)`, a batch of them, or an
                element with images in it, as tensors or arrays.
            draw: For images, which draw to take: the same number gives the same result. By default
                each call takes the next, from 0, also inside a `tf.function`.
            num_parallel_calls: For a dataset, how many elements are augmented at a time; by default tf.data
                decides. It changes no image.
            deterministic: For a dataset, whether elements keep their order. If not, what is ready first comes
                first; the images are the same.

        Returns:
            A dataset of the same structure and cardinality; or the element with new images.
        """
        if isinstance(inputs, tf.data.Dataset):
            if draw is not None:
                raise arguments.refusal("Pipeline", "draw", "None for a dataset", draw)
            return self._apply(inputs, *stream.check_calls(num_parallel_calls, deterministic))
        parts = self._targets.split(inputs)
        images = parts[elements.KEY]
        self._check(inputs, tf.TensorSpec(images.shape, images.dtype), parts)
        if tf.executing_eagerly():
            self._look(parts)
        if draw is None:
            draw = self._calls.assign_add(1) - 1
        else:
            draw = draw if tf.is_tensor(draw) else arguments.integer("Pipeline", "draw", draw, 0)
        epoch = draws.call_epoch(tf.cast(draw, tf.int64))
        return elements.joined(inputs, self.augmented(parts, epoch, stream.count_up(images)))

    def explain(self, image_size: tuple[int, int] | None = None) -> Plan:
        """What is fused into what, how often pixels are interpolated, and in which dtype; `print` it.

        Args:
            image_size: Height and width of the images, to be told how they change.
        """
        if image_size is None:
            return self._plan
        size = whole_pair("Pipeline.explain", "image_size", image_size, 1, "(height, width)")
        size_after(self._plan.geometry, size)
        return dataclasses.replace(self._plan, image_size=size)

    def preview(
        self,
        images: Any,
        labels: Any = None,
        count: int = 4,
        draws: int = 5,
        class_names: Sequence[str] | None = None,
    ) -> Figure:
        """Draw images as they are and, beside each, what the pipeline makes of it.

        Labels stand above the images. Of a dict, masks lie over them (translucent, class 0 clear), boxes
        with their class, and keypoints. Column `draw k` is `pipeline(batch, draw=k)` of the images shown,
        mapped from its range of values to what a screen has.

        Args:
            images: One image, a batch, an element with images in it, or a dataset of such, of which the
                first images are taken. Boxes need the pipeline's `bounding_box_format`.
            labels: Labels of the images, if the element has none.
            count: How many images at most, a whole number of at least 1.
            draws: How many draws of each, a whole number of at least 1.
            class_names: A name for each class, to be shown in place of its number.

        Returns:
            A matplotlib `Figure`, which pyplot knows nothing of: a notebook shows it, `figure.savefig(path)`
            writes it.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: An argument outside what is stated here, or what the pipeline refuses.

        Example:
            >>> from kerasreg.augment import Pipeline, RandomRotation
            >>> batch = tf.random.uniform([8, 16, 16, 3], maxval=255)
            >>> figure = Pipeline([RandomRotation(20)]).preview(batch, count=2, draws=3)
            >>> [panel.get_title() for panel in figure.axes[:4]]
            ['as it is', 'draw 0', 'draw 1', 'draw 2']
        """
        count = arguments.integer("Pipeline.preview", "count", count, 1)
        draws = arguments.integer("Pipeline.preview", "draws", draws, 1)
        names = preview.check_names(class_names)
        element = preview.element_of(images, labels, count)
        drawn = [self(element, draw=draw) for draw in range(draws)]
        units = self._plan.steps[0].units, self._plan.units
        return preview.draw_figure(element, drawn, *units, self.bounding_box_format, names)

    def as_layer(self, name: str | None = None) -> Augmentation:
        """The pipeline as a Keras layer, to augment inside a model, where the model runs; TensorFlow only.

        In training it draws anew at every call, and counts in a weight how often: a saved model goes on where
        it was. Elsewhere it passes images on. See `Augmentation`.

        Args:
            name: The layer's name.

        Raises:
            ValueError: The pipeline changes the size of images or mixes their labels, or Keras runs on
                another backend.

        Example:
            >>> def make_model(pipeline):
            ...     first = [keras.Input([32, 32, 3], dtype="uint8"), pipeline.as_layer()]
            ...     return keras.Sequential([*first, keras.layers.Flatten(), keras.layers.Dense(10)])
        """
        from kerasreg.augment.layer import Augmentation, check_backend

        check_backend()
        return Augmentation(self, name=name)

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`, in types that JSON has."""
        return {
            "transforms": [keras.saving.serialize_keras_object(transform) for transform in self.transforms],
            "seed": self.seed,
            "value_range": list(self.value_range),
            "fill_mode": self.fill_mode,
            "fill_value": self.fill_value,
            "dtype": self.dtype,
            "exact": self.exact,
            "interpolation": self.interpolation,
            "bounding_box_format": self.bounding_box_format,
            "min_visible": self.min_visible,
            "mask_fill_value": self.mask_fill_value,
            "index_key": self.index_key,
            "epoch_key": self.epoch_key,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Pipeline:
        """The pipeline that `get_config` described."""
        transforms = [
            transform
            if isinstance(transform, Transform)
            else keras.saving.deserialize_keras_object(transform)
            for transform in config["transforms"]
        ]
        return cls(**{**config, "transforms": transforms})

    def __repr__(self) -> str:
        return f"Pipeline({readable_arguments(self)})"

    def _apply(self, dataset: tf.data.Dataset, calls: int, deterministic: bool) -> tf.data.Dataset:
        given = dataset.element_spec
        from_files = files.are_paths(elements.images_of(given))
        element_spec = elements.joined(given, {elements.KEY: files.IMAGE}) if from_files else given
        specs = self._targets.split(element_spec)
        spec = specs[elements.KEY]
        self._check(element_spec, spec, specs)
        stream.check_keys(element_spec, self._keys)
        if tf.executing_eagerly() and self._targets.needs_look(specs) and not from_files:
            for element in dataset.take(1):
                self._targets.look(self._targets.split(element))

        def augment(place: stream.Place, element: Any) -> Any:
            frame = None
            if from_files:
                element, frame = element
            parts = self._targets.split(element)
            if values.needs_look(spec.dtype, self.value_range):
                stream.only_first(place, lambda: values.check_values(parts[elements.KEY], self.value_range))
            parts = self.augmented(parts, place.epoch, place.index, place.widest, frame)
            return elements.joined(element, parts)

        batched = spec.shape.rank == 4
        opener = files.opener(self._plan, self._key, set(specs) == {elements.KEY}) if from_files else None
        return stream.map_numbered(dataset, batched, augment, self._keys, calls, deterministic, opener)

    def _check(self, element: Any, spec: Any, parts: Parts) -> None:
        values.check_spec(spec, self.value_range)
        values.check_channels(spec, self._plan.channels)
        size = tuple(spec.shape[-3:-1])
        if None not in size:
            size_after(self._plan.geometry, size)
        self._targets.check(element, parts)

    def _look(self, parts: Parts) -> None:
        images = parts[elements.KEY]
        if values.needs_look(images.dtype, self.value_range):
            values.check_values(images, self.value_range)
        self._targets.look(parts)


def _check_transforms(transforms: Any) -> list[Transform]:
    allowed = "a non-empty list of transforms"
    if not isinstance(transforms, list | tuple) or not transforms:
        raise arguments.refusal("Pipeline", "transforms", allowed, transforms)
    for transform in transforms:
        if not isinstance(transform, Transform):
            hint = "write its call, with parentheses" if isinstance(transform, type) else None
            raise arguments.refusal(
                "Pipeline", "transforms", allowed, arguments.Came(f"{transform!r} in it"), hint
            )
    return list(transforms)
