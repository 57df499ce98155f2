"""A pipeline inside a model: what `Pipeline.as_layer` gives."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasreg._core import arguments
from kerasreg._core.registry import register
from kerasreg.augment import draws, elements, stream, values
from kerasreg.augment.pipeline import Pipeline


@register
class Augmentation(keras.layers.Layer):
    """A `Pipeline` as a layer: augments in training, and elsewhere passes images on in the same units.

    In training every call takes the next draw; how many there were is a weight, so that a model that is saved
    and loaded goes on where it was. Elsewhere images pass as they are, in the pipeline's dtype and, with a
    `Rescale`, in its units. Inputs are taken as they come: a policy of float16 casts no pixel.

    It runs where the model runs, on an accelerator too, and costs the model's time, which a dataset's
    `apply(pipeline)` does not. Values are not looked at inside a model. In a `tf.distribute` strategy each
    replica draws for itself.

    Args:
        pipeline: A `Pipeline` whose transforms keep the size of the images and change nothing but them.
        trainable: As of every layer; there is nothing to train.
        dtype: As of every layer; it is not that of the output, which the pipeline says.
        name: As of every layer.

    Input shape: `(batch, height, width, channels)` of any real dtype.
    Output shape: the same, in the pipeline's dtype.

    Raises:
        ValueError: The pipeline changes sizes or needs labels, images are of another shape or dtype than
            it takes, or Keras runs on another backend than TensorFlow.

    Example:
        >>> from kerasreg.augment import Pipeline, RandomFlip
        >>> layer = Augmentation(Pipeline([RandomFlip()], seed=1))
        >>> layer.pipeline
        Pipeline(transforms=[RandomFlip()], seed=1)
    """

    def __init__(
        self, pipeline: Pipeline, trainable: bool = True, dtype: Any = None, name: str | None = None
    ) -> None:
        # A pixel cast to float16 loses its last bits before the pipeline sees it.
        super().__init__(trainable=trainable, dtype=dtype, name=name, autocast=False)
        self.pipeline = _check_pipeline(pipeline)
        self._plan = pipeline.explain()

    def build(self, input_shape: Any) -> None:
        """Make the counter of draws."""
        check_backend()
        # TensorFlow keeps variables of int32 on the host, those of int64 where the model is.
        self.draws = self.add_weight(
            name="draws", shape=(), dtype="int64", initializer="zeros", trainable=False, autocast=False
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The images of the next draw in training, else the images."""
        check_backend()
        self._check(inputs)
        if not training:
            return self._unchanged(inputs)
        epoch = draws.call_epoch(keras.ops.convert_to_tensor(self.draws))
        self.draws.assign_add(1)
        index = _replica() * 2**32 + stream.count_up(inputs)
        images = self.pipeline.augmented({elements.KEY: inputs}, epoch, index)[elements.KEY]
        return tf.ensure_shape(images, inputs.shape)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        """The inputs' shape in the pipeline's dtype."""
        check_backend()
        self._check(inputs)
        return keras.KerasTensor(inputs.shape, dtype=self._plan.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Every argument of `__init__`."""
        return {**super().get_config(), "pipeline": keras.saving.serialize_keras_object(self.pipeline)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Augmentation:
        """The layer that `get_config` described."""
        pipeline = config["pipeline"]
        if not isinstance(pipeline, Pipeline):
            pipeline = keras.saving.deserialize_keras_object(pipeline)
        return cls(**{**config, "pipeline": pipeline})

    def _unchanged(self, images: Any) -> Any:
        units = self._plan.units
        if units.scale != (1.0,) or units.offset != (0.0,):
            images = tf.cast(images, tf.float32) * units.scale + units.offset
        return tf.cast(images, self._plan.dtype)

    def _check(self, images: Any) -> None:
        spec = tf.TensorSpec(images.shape, images.dtype)
        if spec.shape.rank != 4:
            raise arguments.refusal(
                "Augmentation",
                "inputs",
                "images of shape (batch, height, width, channels)",
                arguments.Came(f"shape {tuple(images.shape)}"),
            )
        values.check_spec(spec, self.pipeline.value_range)
        values.check_channels(spec, self._plan.channels)


def _check_pipeline(pipeline: Any) -> Pipeline:
    if not isinstance(pipeline, Pipeline):
        raise arguments.refusal("Augmentation", "pipeline", "a kerasreg.augment.Pipeline", pipeline)
    plan = pipeline.explain()
    resizers = [step.name for segment in plan.segments for step in segment.resizers]
    mixers = [step.name for step in plan.mixes]
    for names, allowed, remedy in (
        (resizers, "one that keeps the size of images, which are to be the same without training", "crop"),
        (mixers, "one that changes images alone", "mix"),
    ):
        if names:
            came = arguments.Came(f"one with {', '.join(names)}")
            remedy = f"{remedy} in tf.data, with dataset.apply(pipeline)"
            raise arguments.refusal("Augmentation", "pipeline", allowed, came, remedy)
    return pipeline


def check_backend() -> None:
    """Refuse a model of another backend.

    Raises:
        ValueError: With what to do instead.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise arguments.refusal(
            "Pipeline.as_layer",
            "backend",
            "'tensorflow' for a layer inside a model",
            backend,
            "augment the data instead, with dataset.apply(pipeline)",
        )


def _replica() -> tf.Tensor | int:
    context = tf.distribute.get_replica_context()
    found = 0 if context is None else context.replica_id_in_sync_group
    return tf.cast(found, tf.int64)
