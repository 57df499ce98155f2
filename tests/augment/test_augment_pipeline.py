"""What a user is promised: reproducible draws, untouched companions, exact pixels, clear refusals."""

import inspect
import json
from collections import namedtuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn, random_images

from kerasreg import augment
from kerasreg.augment import Pipeline, dispatch, stream
from kerasreg.augment.execute import execute

IMAGES = random_images(22, 6, 8)


def gentle(**arguments):
    """A pipeline whose result identifies every draw, and that compiles fast."""
    transforms = [augment.RandomTranslation(0.3), augment.RandomBrightness(0.3)]
    return Pipeline(transforms, **arguments)


def dataset(*companions):
    return tf.data.Dataset.from_tensor_slices((IMAGES, *companions) if companions else IMAGES)


def collect(data):
    """All images of one pass, whatever the batching."""
    arrays = [np.asarray(x) for x in data]
    return np.concatenate(arrays) if arrays[0].ndim == 4 else np.stack(arrays)


@pytest.fixture(scope="module")
def pipeline():
    return gentle(seed=5)


@pytest.fixture(scope="module")
def first_epoch(pipeline):
    return collect(dataset().batch(4).apply(pipeline))


def test_images_differ_from_each_other_and_from_the_input(first_epoch):
    assert np.all(np.abs(first_epoch - IMAGES).max((1, 2, 3)) > 1)
    one = np.repeat(IMAGES[:1], 22, 0)
    out = gentle()(one).numpy()
    assert len(np.unique(out.reshape(22, -1), axis=0)) == 22


def test_epochs_differ_and_come_again_with_the_seed(pipeline, first_epoch):
    data = dataset().batch(4).apply(pipeline)
    first, second, third = collect(data), collect(data), collect(data)
    np.testing.assert_array_equal(first, first_epoch)
    assert np.all(np.abs(second - first).max((1, 2, 3)) > 1)
    assert np.all(np.abs(third - second).max((1, 2, 3)) > 1)
    again = dataset().batch(4).apply(gentle(seed=5))
    np.testing.assert_array_equal(collect(again), first)
    np.testing.assert_array_equal(collect(again), second)


def test_seeds_differ(first_epoch):
    other = collect(dataset().batch(4).apply(gentle(seed=6)))
    assert np.all(np.abs(other - first_epoch).max((1, 2, 3)) > 1)


def test_no_seed_differs_between_pipelines_and_says_so():
    first, second = gentle(seed=None), gentle(seed=None)
    assert np.all(np.abs(first(IMAGES) - second(IMAGES)).max((1, 2, 3)) > 1)
    assert first.get_config()["seed"] is None


def test_the_global_seed_is_not_read():
    # Traced anew, as in a process of its own; the module's function has long been traced.
    expected = int(next(iter(stream.epoch_numbers())))
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        fresh = tf.function(stream.epoch_numbers.python_function)
        assert int(next(iter(fresh()))) == expected


@pytest.mark.parametrize("batch", [None, 1, 3, 22])
def test_draws_do_not_depend_on_the_batch_size(pipeline, first_epoch, batch):
    data = dataset() if batch is None else dataset().batch(batch)
    np.testing.assert_allclose(collect(data.apply(pipeline)), first_epoch, atol=1e-4)


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_the_last_batch_keeps_its_size(pipeline, first_epoch, drop_remainder):
    data = dataset().batch(5, drop_remainder=drop_remainder).apply(pipeline)
    assert [len(x) for x in data] == ([5, 5, 5, 5] if drop_remainder else [5, 5, 5, 5, 2])
    expected = first_epoch[: 20 if drop_remainder else 22]
    fresh = dataset().batch(5, drop_remainder=drop_remainder).apply(pipeline)
    np.testing.assert_allclose(collect(fresh), expected, atol=1e-4)
    assert data.element_spec.shape.as_list() == [5 if drop_remainder else None, 6, 8, 3]


def test_a_smaller_last_batch_is_run_at_the_size_of_the_others(monkeypatch):
    sizes = []

    def spy(plan, images, uniform, *rest):
        tf.py_function(lambda n: sizes.append(int(n)), [tf.shape(images)[0]], [])
        return execute(plan, images, uniform)

    monkeypatch.setattr("kerasreg.augment.compiled.execute", spy)
    assert len(collect(dataset().batch(5).apply(gentle()))) == 22
    assert sizes == [5] * 5


@pytest.mark.parametrize("calls", [1, 2, 7])
def test_any_number_of_parallel_calls_gives_the_serial_images(pipeline, first_epoch, calls):
    data = pipeline(dataset(np.arange(22)).batch(4), num_parallel_calls=calls)
    np.testing.assert_array_equal(collect(data.map(lambda x, _: x)), first_epoch)
    loose = pipeline(dataset(np.arange(22)).batch(4), num_parallel_calls=calls, deterministic=False)
    images, places = (np.concatenate(part) for part in zip(*loose, strict=True))
    np.testing.assert_array_equal(images, first_epoch[places])


def test_repeat_before_or_after_gives_new_images_every_epoch(pipeline, first_epoch):
    after = collect(dataset().batch(11).apply(pipeline).repeat(3))
    before = collect(dataset().batch(11).repeat(3).apply(pipeline))
    for epochs in (after, before):
        first, second, third = np.split(epochs, 3)
        assert np.all(np.abs(second - first).max((1, 2, 3)) > 1)
        assert np.all(np.abs(third - second).max((1, 2, 3)) > 1)
    np.testing.assert_allclose(before[:22], first_epoch, atol=1e-4)


@pytest.mark.parametrize("fresh_dataset", [False, True])
@pytest.mark.parametrize("repeated", [False, True])
def test_a_restored_iterator_goes_on_with_the_same_images(tmp_path, pipeline, fresh_dataset, repeated):
    def build():
        data = dataset().batch(4).apply(pipeline)
        return data.repeat(2) if repeated else data

    data = build()
    collect(data)
    iterator = iter(data)
    for _ in range(7 if repeated else 2):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "at"))
    expected = collect(iterator)

    restored = iter(build() if fresh_dataset else data)
    tf.train.Checkpoint(iterator=restored).read(path).assert_consumed()
    np.testing.assert_array_equal(collect(restored), expected)


def test_inserting_a_transform_leaves_the_others_draws():
    alone = Pipeline([augment.RandomBrightness(0.2)], seed=1)(IMAGES // 4 + 80)
    flip = augment.RandomFlip(probability=1)
    both = Pipeline([flip, augment.RandomRotation(0.0), augment.RandomBrightness(0.2)], seed=1)(
        IMAGES // 4 + 80
    )
    np.testing.assert_allclose(both[:, :, ::-1], alone, atol=1e-3)


def test_transforms_of_one_class_draw_independently():
    images = np.full((300, 1, 1, 1), 127, np.uint8)
    pair = [augment.RandomBrightness(0.1), augment.RandomBrightness(0.1)]
    total = (Pipeline(pair)(images).numpy().ravel() - 127) / 25.5
    # Two independent uniforms have half the variance of one uniform counted twice.
    assert np.var(total) == pytest.approx(2 / 3, rel=0.25)
    assert [step.name for step in Pipeline(pair).explain().steps] == [
        "RandomBrightness",
        "RandomBrightness_1",
    ]


def test_a_name_carries_the_draws():
    images = np.full((50, 1, 1, 1), 127, np.uint8)
    mine = augment.RandomBrightness(0.1, name="mine")
    alone = Pipeline([mine])(images)
    after = Pipeline([augment.RandomBrightness(0.0), mine])(images)
    np.testing.assert_allclose(alone, after, atol=1e-4)
    assert np.abs(alone - Pipeline([augment.RandomBrightness(0.1)])(images)).max() > 1


def test_every_call_draws_anew_and_the_sequence_follows_from_the_seed():
    first, second = gentle(), gentle()
    calls = [first(IMAGES).numpy() for _ in range(3)]
    assert np.all(np.abs(calls[0] - calls[1]).max((1, 2, 3)) > 1)
    assert np.all(np.abs(calls[1] - calls[2]).max((1, 2, 3)) > 1)
    for call in calls:
        np.testing.assert_array_equal(second(IMAGES), call)
    np.testing.assert_array_equal(first(IMAGES, draw=1), calls[1])
    np.testing.assert_array_equal(first(IMAGES, draw=tf.constant(2)), calls[2])


def test_a_call_in_a_graph_is_not_frozen(pipeline):
    expected = [gentle(seed=9)(IMAGES, draw=i).numpy() for i in range(2)]
    function = tf.function(gentle(seed=9))
    for images in expected:
        np.testing.assert_allclose(function(IMAGES), images, atol=1e-4)


def test_plain_graph_and_xla_agree(monkeypatch):
    transforms = [
        augment.RandomFlip("both"),
        augment.RandomRotation(20),
        augment.RandomZoom(0.2),
        augment.RandomTranslation(0.1),
        augment.RandomBrightness(0.1),
        augment.RandomContrast(0.3),
    ]
    xla = Pipeline(transforms)(IMAGES)
    monkeypatch.setattr(dispatch, "has_xla", lambda: False)
    np.testing.assert_allclose(Pipeline(transforms)(IMAGES), xla, atol=0.01)


def test_images_of_unknown_size_take_one_graph(pipeline):
    sizes = [(6, 8), (9, 5), (6, 8)]
    data = tf.data.Dataset.from_generator(
        lambda: iter([random_images(1, *size)[0] for size in sizes]),
        output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
    )
    out = [x.numpy() for x in data.apply(pipeline)]
    assert [x.shape for x in out] == [(*size, 3) for size in sizes]
    expected = gentle(seed=5)
    same = tf.data.Dataset.from_tensors(random_images(1, 6, 8)[0]).apply(expected)
    np.testing.assert_allclose(out[0], next(iter(same)), atol=0.01)


# Structure


@pytest.mark.parametrize("batch", [None, 4])
def test_companions_pass_through_untouched(pipeline, first_epoch, batch):
    labels, weights = np.arange(25005, 25027, dtype=np.int64), np.linspace(0, 1, 22)
    data = dataset(labels, weights)
    data = (data if batch is None else data.batch(batch)).apply(pipeline)
    assert [spec.dtype for spec in data.element_spec] == [tf.float32, tf.int64, tf.float64]
    assert int(data.cardinality()) == (22 if batch is None else 6)
    out = list(data)
    join = np.stack if batch is None else np.concatenate
    np.testing.assert_array_equal(join([y for _, y, _ in out]), labels)
    np.testing.assert_array_equal(join([w for _, _, w in out]), weights)
    np.testing.assert_allclose(join([x for x, _, _ in out]), first_epoch, atol=1e-4)


def test_a_dict_keeps_its_other_keys(pipeline, first_epoch):
    names = np.array([f"image {i}" for i in range(22)])
    data = tf.data.Dataset.from_tensor_slices(
        {"images": IMAGES, "labels": np.full(22, 25005, np.int64), "id": names}
    )
    data = data.batch(4).apply(pipeline)
    assert set(data.element_spec) == {"images", "labels", "id"}
    out = list(data)
    np.testing.assert_array_equal(np.concatenate([x["id"] for x in out]).astype(str), names)
    assert all(np.all(x["labels"] == 25005) and x["labels"].dtype == tf.int64 for x in out)
    np.testing.assert_array_equal(np.concatenate([x["images"] for x in out]), first_epoch)


def test_named_tuples_and_direct_calls_keep_their_structure(pipeline):
    Example = namedtuple("Example", ["image", "label"])
    data = tf.data.Dataset.from_tensor_slices(Example(IMAGES, np.arange(22))).batch(4).apply(pipeline)
    assert next(iter(data)).label.numpy().tolist() == [0, 1, 2, 3]
    images, labels = pipeline((IMAGES, "anything"), draw=0)
    assert labels == "anything"
    np.testing.assert_array_equal(images, pipeline({"images": IMAGES}, draw=0)["images"])
    np.testing.assert_array_equal(images[0], pipeline(IMAGES[0], draw=0))


def test_an_empty_dataset_stays_empty(pipeline):
    assert list(dataset().take(0).batch(4).apply(pipeline)) == []
    floats = dataset().map(lambda x: tf.cast(x, tf.float32)).take(0)
    assert list(floats.apply(pipeline)) == []


# Values


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64", "float16"])
def test_flips_return_the_very_pixels(dtype):
    images = IMAGES.astype(dtype)
    out = Pipeline([augment.RandomFlip("vertical", probability=1)])(images)
    assert out.dtype == tf.float32
    np.testing.assert_array_equal(out, images[:, ::-1])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
def test_the_result_has_the_stated_dtype(dtype):
    transforms = [augment.RandomRotation(30), augment.RandomBrightness(0.9)]
    exact = Pipeline(transforms)(IMAGES).numpy()
    out = Pipeline(transforms, dtype=dtype)(IMAGES)
    assert out.dtype == dtype
    tolerance = {"float32": 0, "float16": 0.07, "bfloat16": 0.6, "uint8": 0.501}[dtype]
    np.testing.assert_allclose(tf.cast(out, tf.float32), exact, atol=tolerance)
    assert exact.min() == 0
    assert exact.max() == 255


def test_the_scale_of_the_values_does_not_matter():
    transforms = [augment.RandomRotation(30), augment.RandomBrightness(0.3), augment.RandomContrast(0.5)]
    expected = Pipeline(transforms)(IMAGES)
    out = Pipeline(transforms, value_range=(-1, 1))(IMAGES.astype(np.float32) / 127.5 - 1)
    np.testing.assert_allclose((out + 1) * 127.5, expected, atol=0.01)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels(channels):
    images = random_images(4, 6, 8, channels)
    out = gentle()(images)
    for channel in range(channels):
        single = gentle()(images[..., channel : channel + 1])
        np.testing.assert_allclose(out[..., channel : channel + 1], single, atol=1e-3)


# Refusals


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pipeline([]), ["`transforms` of Pipeline", "[]"]),
        (lambda: Pipeline(augment.RandomFlip()), ["`transforms` of Pipeline", "RandomFlip()"]),
        (lambda: Pipeline([augment.RandomFlip(), "flip"]), ["`transforms` of Pipeline", "'flip'"]),
        (lambda: Pipeline([augment.RandomFlip]), ["`transforms` of Pipeline", "parentheses"]),
        (
            lambda: Pipeline([augment.RandomFlip(name="a"), augment.RandomZoom(0.1, name="a")]),
            ["different names", "'a'"],
        ),
        (lambda: gentle(seed=1.5), ["`seed` of Pipeline", "1.5"]),
        (lambda: gentle(value_range=(255, 0)), ["`value_range` of Pipeline", "(255, 0)", "low < high"]),
        (lambda: gentle(value_range=255), ["`value_range` of Pipeline", "255"]),
        (lambda: gentle(value_range=(0, float("nan"))), ["`value_range` of Pipeline", "nan"]),
        (lambda: gentle(fill_mode="mirror"), ["`fill_mode` of Pipeline", "'mirror'", "'reflect'"]),
        (lambda: gentle(index_key=3), ["`index_key` of Pipeline", "3"]),
        (lambda: gentle(index_key="a", epoch_key=""), ["`epoch_key` of Pipeline", "''"]),
        (lambda: gentle(epoch_key="epoch"), ["`index_key` of Pipeline", "together with epoch_key", "None"]),
        (lambda: gentle()(dataset(), num_parallel_calls=0), ["`num_parallel_calls` of Pipeline", "0"]),
        (lambda: gentle()(dataset(), deterministic=1), ["`deterministic` of Pipeline", "1"]),
        (lambda: augment.indices(0), ["`count` of indices", "0"]),
        (lambda: augment.indices(3, epochs=-1), ["`epochs` of indices", "-1"]),
        (lambda: augment.indices(3, shuffle="yes"), ["`shuffle` of indices", "'yes'"]),
        (lambda: augment.indices(3, seed=0.5), ["`seed` of indices", "0.5"]),
        (lambda: augment.indices(3, start=-1), ["`start` of indices", "-1"]),
        (lambda: augment.indices(3, epochs=2, start=7), ["`start` of indices", "6 elements", "7"]),
        (lambda: gentle(fill_value="black"), ["`fill_value` of Pipeline", "'black'"]),
        (lambda: gentle(dtype="int64"), ["`dtype` of Pipeline", "'int64'"]),
        (lambda: gentle(dtype="uint8", value_range=(0, 1)), ["`dtype` of Pipeline", "(0, 1)"]),
        (lambda: augment.RandomFlip("diagonal"), ["`mode` of RandomFlip", "'diagonal'", "'horizontal'"]),
        (lambda: augment.RandomFlip(probability=1.5), ["`probability` of RandomFlip", "1.5", "[0, 1]"]),
        (lambda: augment.RandomRotation((30, 10)), ["`degrees` of RandomRotation", "(30, 10)"]),
        (lambda: augment.RandomRotation("ten"), ["`degrees` of RandomRotation", "'ten'"]),
        (lambda: augment.RandomZoom((-1, 0)), ["`factor` of RandomZoom", "above -1"]),
        (lambda: augment.RandomZoom(0, (-2, 0)), ["`width_factor` of RandomZoom", "-2"]),
        (lambda: augment.RandomTranslation(0.1, "x"), ["`width_factor` of RandomTranslation", "'x'"]),
        (lambda: augment.RandomBrightness(None), ["`factor` of RandomBrightness", "None"]),
        (lambda: augment.RandomContrast(1.5), ["`factor` of RandomContrast", "1.5"]),
        (lambda: augment.RandomContrast((-0.1, 1)), ["`factor` of RandomContrast", "-0.1"]),
        (lambda: augment.RandomShear(1), ["`x_factor` of RandomShear", "0.99"]),
        (lambda: augment.RandomSaturation((0.2, -1)), ["`factor` of RandomSaturation", "-1"]),
        (lambda: augment.RandomContrast(0.1, name=3), ["`name` of RandomContrast", "3"]),
    ],
)
def test_a_bad_argument_is_one_sentence_with_its_value(make, words):
    with pytest.raises(ValueError, match="must be") as error:
        make()
    message = str(error.value)
    for word in words:
        assert word in message
    assert "\n" not in message


FLOATS = IMAGES.astype(np.float32)


@pytest.mark.parametrize(
    ("images", "value_range", "words"),
    [
        (FLOATS[0, 0], (0, 255), ["`images` of Pipeline", "(8, 3)"]),
        (IMAGES > 3, (0, 255), ["`images` of Pipeline", "bool"]),
        (IMAGES, (0, 1), ["`value_range` of Pipeline", "uint8", "(0.0, 1.0)"]),
    ],
)
def test_images_of_another_shape_or_type_are_refused(images, value_range, words):
    pipeline = gentle(value_range=value_range)
    data = tf.data.Dataset.from_tensors(images)
    for refused in (lambda: pipeline(images), lambda: data.apply(pipeline)):
        with pytest.raises(ValueError, match="must be") as error:
            refused()
        for word in words:
            assert word in str(error.value)


@pytest.mark.parametrize(
    ("images", "value_range", "words"),
    [
        (FLOATS + 1, (0, 1), ["(0, 1)", "from 1 to 256"]),
        (FLOATS - 300, (0, 255), ["(0, 255)", "from -300 to -45"]),
        (np.where(FLOATS > 200, np.nan, FLOATS), (0, 255), ["hold NaN", "clean the images"]),
        (IMAGES, (0, 100), ["(0, 100)", "to 255"]),
        (FLOATS / 255, (0, 255), ["(0, 255)", "from 0 to 1;", "multiply them by 255", "value_range=(0, 1)"]),
        (FLOATS / 128 - 1, (-128, 127), ["from -1 to 0.99", "multiply them by 127", "value_range=(-1, 1)"]),
    ],
)
def test_values_that_do_not_fit_are_refused_with_their_numbers(images, value_range, words):
    pipeline = gentle(value_range=value_range)
    data = tf.data.Dataset.from_tensor_slices(images).batch(11).apply(pipeline)
    with pytest.raises(ValueError, match="`value_range` of Pipeline") as called:
        pipeline(images)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`value_range` of Pipeline") as applied:
        list(data)
    for error in (called, applied):
        for word in words:
            assert word in str(error.value)
    assert str(called.value) in str(applied.value) or len(images) > 11


@pytest.mark.parametrize("black", [FLOATS * 0, np.minimum(IMAGES, 1).astype(np.float16)])
def test_dark_images_are_no_mismatch(black):
    assert gentle()(black).shape == black.shape
    assert len(list(tf.data.Dataset.from_tensors(black).apply(gentle()))) == 1


def test_a_dataset_is_read_once():
    reads = []

    def read():
        reads.append(1)
        yield from FLOATS

    data = tf.data.Dataset.from_generator(read, output_signature=tf.TensorSpec([6, 8, 3], tf.float32))
    assert len(list(data.shuffle(22).apply(gentle()))) == 22
    assert len(reads) == 1


def test_transforms_about_rgb_refuse_other_channels():
    with pytest.raises(
        ValueError, match=r"of 3 channels for RandomGrayscale, got 1 in shape \(22, 6, 8, 1\)"
    ):
        Pipeline([augment.RandomGrayscale()])(IMAGES[..., :1])


def test_values_that_rounding_moved_out_of_the_range_pass():
    assert gentle(value_range=(0, 1))(FLOATS / 255 * 1.0001).shape == FLOATS.shape


def test_guaranteed_values_are_not_looked_at():
    def read_nothing():
        raise AssertionError("the dataset was read")
        yield

    data = tf.data.Dataset.from_generator(read_nothing, output_signature=tf.TensorSpec([6, 8, 3], tf.uint8))
    assert data.apply(gentle()).element_spec.dtype == tf.float32


def test_elements_without_images_are_refused(pipeline):
    with pytest.raises(ValueError, match=r"the key 'images', got the keys 'image', 'label'"):
        tf.data.Dataset.from_tensor_slices({"image": IMAGES, "label": IMAGES}).apply(pipeline)
    with pytest.raises(ValueError, match="must be images of shape"):
        tf.data.Dataset.from_tensors(tf.ragged.constant([[1], [2, 3]])).apply(pipeline)


def test_a_dataset_has_no_draw_to_pin(pipeline):
    with pytest.raises(ValueError, match="`draw` of Pipeline must be None for a dataset, got 3"):
        pipeline(dataset(), draw=3)


# Configuration

TRANSFORMS = [
    augment.RandomFlip("both", probability=0.3, name="mirror"),
    augment.RandomRotation((5, 20), probability=0.4),
    augment.RandomZoom(0.2, (0.1, 0.3), probability=0.5),
    augment.RandomTranslation(0.1, (0.0, 0.2), probability=0.6),
    augment.RandomBrightness((0.1, 0.2), probability=0.7),
    augment.RandomContrast((0.5, 0.9), probability=0.8, name="punch"),
    augment.RandomShear(0.1, (0.0, 0.2), probability=0.2),
    augment.RandomRotation((0, 270), name="quarters", step=90),
    augment.RandomTranslation(0.2, name="pixels", whole_pixels=True),
    augment.RandomPerspective(0.3, probability=0.4),
    augment.RandomCrop((6, 5), (0, 1), probability=0.4, pad_if_needed=True),
    augment.RandomResizedCrop((5, 6), (0.2, 0.5), probability=0.4),
    augment.RandomSaturation((0.5, 0.9), probability=0.9),
    augment.RandomGrayscale(probability=0.2),
    augment.RandomHue((-5, 20), probability=0.4),
    augment.RandomInvert(probability=0.2),
    augment.ColorJitter(0.1, 0.2, (0.5, 0.9), 10, probability=0.6),
    augment.RandomPosterize((2, 5), probability=0.4),
    augment.RandomSolarize((0.2, 0.5), probability=0.4),
    augment.RandomEqualize(probability=0.4),
    augment.RandomAutoContrast(probability=0.4),
    augment.RandomSharpness((0.5, 2.0), probability=0.4),
    augment.RandomGaussianBlur((0.5, 1.0), probability=0.4),
    augment.RandomGaussianNoise((0.01, 0.1), probability=0.4),
    augment.RandomErasing(0.2, (0.5, 1.0), [0.0, 0.5, -0.5], probability=0.4),
    augment.RandomChoice([augment.RandomFlip(), augment.RandomErasing(0.1)], [0.25, 0.75], probability=0.4),
    augment.RandAugment(1, 5, ["Rotate", "Equalize"], probability=0.4),
    augment.TrivialAugment(False, ["Rotate", "Color"], probability=0.4),
    augment.AugMix(2, 2, 1, 0.5, ["Rotate", "Solarize"], probability=0.4),
    augment.Rescale([0.5, 0.25, 2.0], -1.0, name="standardise"),
    augment.MixUp(0.4, 5, probability=0.4),
    augment.CutMix(0.5, probability=0.4),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_a_transform_comes_back_from_json(transform):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(transform)))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(transform)
    assert again.get_config() == transform.get_config()
    assert repr(again) == repr(transform)
    assert repr(eval(repr(transform), vars(augment))) == repr(transform)


def test_a_pipeline_comes_back_from_json():
    alone = [t for t in TRANSFORMS if not isinstance(t, augment.MixTransform)]
    pipeline = Pipeline(alone, 3, (-1, 1), "constant", -0.5, "float16", exact=True)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(pipeline)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == pipeline.get_config()
    assert set(pipeline.get_config()) == set(inspect.signature(Pipeline.__init__).parameters) - {"self"}
    # Not compiled: every transform is a step here.
    images = tf.constant(FLOATS / 127.5 - 1)
    first, second = (execute(p.explain(), images, drawn(p, len(images))) for p in (again, pipeline))
    np.testing.assert_array_equal(first, second)
    assert repr(eval(repr(pipeline), vars(augment))) == repr(pipeline)
    assert repr(gentle()) == (
        "Pipeline(transforms=[RandomTranslation(height_factor=(-0.3, 0.3), width_factor=(-0.3, 0.3)), "
        "RandomBrightness(factor=(-0.3, 0.3))])"
    )
