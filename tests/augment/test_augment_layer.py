"""A pipeline inside a model: when it draws, what it draws, and that this survives a file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import random_images

from kerasreg import augment
from kerasreg.augment import Augmentation, Pipeline

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a layer of TensorFlow's backend"
)
IMAGES = random_images(6, 4, 5)


def pipeline(**arguments):
    transforms = [augment.RandomTranslation(0.3), augment.RandomContrast(0.5)]
    return Pipeline(transforms, **{"seed": 2, **arguments})


@pytest.fixture(scope="module")
def draws():
    """What the pipeline gives for the draws 0, 1, ..., by a call of its own."""
    once = pipeline()
    return [once(IMAGES, draw=i).numpy() for i in range(5)]


def model_of(layer, **arguments):
    model = keras.Sequential(
        [keras.Input([4, 5, 3], dtype="uint8"), layer, keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse", **arguments)
    return model


@on_tensorflow
def test_it_augments_in_training_only(draws):
    layer = pipeline().as_layer()
    for expected in draws[:2]:
        for idle in ({}, {"training": False}):
            out = layer(IMAGES, **idle)
            assert out.dtype == tf.float32
            np.testing.assert_array_equal(out, IMAGES)
        np.testing.assert_allclose(layer(IMAGES, training=True), expected, atol=1e-3)
    assert int(layer.draws) == 2


@on_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_model_draws_once_a_step_and_goes_on_after_it_was_saved(jit_compile, draws, tmp_path):
    layer = pipeline().as_layer(name="augmentation")
    model = model_of(layer, jit_compile=jit_compile)
    model.fit(IMAGES, np.zeros(6), batch_size=2, epochs=1, verbose=0)
    model.evaluate(IMAGES, np.zeros(6), verbose=0)
    model.predict(IMAGES, verbose=0)
    assert int(layer.draws) == 3
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True).get_layer("augmentation")
    step = tf.function(lambda x: loaded(x, training=True), jit_compile=jit_compile)
    np.testing.assert_allclose(step(tf.constant(IMAGES)), draws[3], atol=1e-3)
    np.testing.assert_allclose(step(tf.constant(IMAGES)), draws[4], atol=1e-3)
    assert int(loaded.draws) == 5
    assert layer.trainable_variables == []


@on_tensorflow
def test_images_of_any_batch_size_and_of_unknown_sizes(draws):
    inputs = keras.Input([None, None, 3], dtype="uint8")
    model = keras.Model(inputs, pipeline().as_layer()(inputs))
    assert model.output_shape == (None, None, None, 3)
    np.testing.assert_allclose(model(IMAGES[:4], training=True), draws[0][:4], atol=0.01)
    np.testing.assert_allclose(model(IMAGES, training=True), draws[1], atol=0.01)


@on_tensorflow
def test_a_policy_of_float16_casts_no_pixel(draws):
    images = IMAGES + np.float32(0.03)
    with_float16 = pipeline().as_layer()
    with_float16.dtype_policy = "mixed_float16"
    made = Augmentation(pipeline(), dtype="mixed_float16")
    for layer in (with_float16, made):
        out = layer(images, training=True)
        assert out.dtype == tf.float32
        np.testing.assert_array_equal(out, pipeline()(images, draw=0))
        np.testing.assert_array_equal(layer(images), images)


@on_tensorflow
def test_without_training_images_leave_in_the_same_units():
    transforms = [augment.RandomBrightness(0.0), augment.Rescale(1 / 127.5, -1)]
    layer = Pipeline(transforms, dtype="float16").as_layer()
    idle, active = layer(IMAGES), layer(IMAGES, training=True)
    assert idle.dtype == active.dtype == tf.float16
    np.testing.assert_allclose(idle, IMAGES / 127.5 - 1, atol=1e-3)
    np.testing.assert_allclose(idle, active, atol=1e-3)


@on_tensorflow
def test_replicas_draw_for_themselves(monkeypatch, draws):
    monkeypatch.setattr("kerasreg.augment.layer._replica", lambda: tf.constant(1, tf.int64))
    other = pipeline().as_layer()(IMAGES, training=True)
    assert np.all(np.abs(other - draws[0]).max((1, 2, 3)) > 1)


@on_tensorflow
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Augmentation([augment.RandomFlip()]), ["`pipeline` of Augmentation", "[RandomFlip()]"]),
        (
            lambda: Pipeline([augment.RandomCrop(3)]).as_layer(),
            ["keeps the size", "RandomCrop", "in tf.data"],
        ),
        (lambda: Pipeline([augment.MixUp()]).as_layer(), ["images alone", "MixUp", "in tf.data"]),
        (lambda: pipeline().as_layer()(IMAGES[0]), ["`inputs` of Augmentation", "(4, 5, 3)"]),
        (lambda: pipeline(value_range=(0, 1)).as_layer()(IMAGES), ["`value_range`", "uint8", "(0, 255)"]),
        (
            lambda: Pipeline([augment.RandomGrayscale()]).as_layer()(IMAGES[..., :1]),
            ["of 3 channels for RandomGrayscale"],
        ),
    ],
)
def test_what_a_layer_cannot_do_is_refused(make, words):
    with pytest.raises(ValueError, match=r"must be|of 3 channels") as error:
        make()
    for word in words:
        assert word in str(error.value)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="what other backends are told")
def test_another_backend_is_told_to_augment_the_data():
    inputs = keras.Input([4, 5, 3])
    for refused in (pipeline().as_layer, lambda: Augmentation(pipeline())(inputs)):
        with pytest.raises(ValueError, match=r"`backend` of Pipeline.as_layer.*dataset.apply\(pipeline\)"):
            refused()
