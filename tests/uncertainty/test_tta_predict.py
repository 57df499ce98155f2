"""tta_predict: the right average over views, the way back through geometry, the variance by its source."""

import keras
import numpy as np
import pytest

import kerasreg as kr

L, A = keras.layers, kr.augment


def pipeline(*transforms, **arguments):
    return A.Pipeline(list(transforms), **{"value_range": (0, 1), **arguments})


# One, so that it is compiled once.
MIXED = pipeline(A.RandomFlip(), A.RandomTranslation(0.3), A.RandomContrast(0.3))


def segmenter(classes=3, size=8):
    """Sees its surroundings and where they are, so that no view says what the image says."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            L.Conv2D(4, 3, padding="same", activation="relu"),
            L.Conv2D(classes, 1, activation="softmax"),
        ]
    )


def classifier(*extra, rate=None):
    keras.utils.set_random_seed(0)
    drop = [] if rate is None else [L.Dropout(rate)]
    return keras.Sequential([keras.Input((8, 8, 1)), *extra, L.Flatten(), *drop, L.Dense(3, "softmax")])


def predict(model, x):
    return np.asarray(model.predict(np.asarray(x, "float32"), verbose=0))


def state(model):
    return [np.asarray(keras.ops.convert_to_numpy(v.value)).copy() for v in model.variables]


@pytest.fixture
def images(rng):
    return rng.uniform(size=(7, 8, 8, 1)).astype("float32")


def test_views_that_are_all_one_are_the_prediction_for_it(images):
    model = classifier()
    found = kr.tta_predict(model, images, pipeline(A.RandomFlip(probability=1)), samples=4)
    np.testing.assert_allclose(found.mean, predict(model, images[:, :, ::-1]), rtol=1e-5)
    assert np.abs(found.mean - predict(model, images)).max() > 1e-2
    assert (found.variance == 0).all()
    assert (found.standard_error == 0).all()
    assert (found.samples_used == 4).all()
    assert found.variance_of is None
    assert found.votes is None


def test_each_view_is_the_image_or_its_mirror_image_and_every_row_draws_by_itself(images):
    model = classifier()
    same = np.repeat(images[:1], 40, axis=0)
    found = kr.tta_predict(model, same, pipeline(A.RandomFlip()), samples=6, seed=1, return_samples=True)
    plain, mirrored = predict(model, images[:1])[0], predict(model, images[:1, :, ::-1])[0]
    assert found.samples.shape == (6, 40, 3)
    is_plain, is_mirrored = (np.abs(found.samples - y).max(-1) < 1e-5 for y in (plain, mirrored))
    assert (is_plain ^ is_mirrored).all()
    assert 80 < is_plain.sum() < 160
    assert len(np.unique(is_plain, axis=1).T) > 20
    assert len(np.unique(is_plain, axis=0)) == 6


@pytest.mark.parametrize("dropout_samples", [0, 3])
@pytest.mark.parametrize("dense", [False, True])
def test_moments_are_those_of_the_samples(images, dropout_samples, dense):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([*segmenter().layers[:1], L.Dropout(0.4), L.Conv2D(3, 1, activation="softmax")])
    model.build((None, 8, 8, 1))
    found = kr.tta_predict(
        model, images, MIXED, 5, 3, dense, dropout_samples=dropout_samples, return_samples=True
    )
    passes = max(dropout_samples, 1)
    assert found.samples.shape == (5 * passes, 7, 8, 8, 3)
    samples = found.samples.astype("float64").reshape(5, passes, 7, 8, 8, 3)
    votes = (~np.isnan(samples[:, 0, ..., 0])).sum(0)
    if dense:
        np.testing.assert_array_equal(found.votes, votes)
        assert votes.min() < 5
        assert (found.samples_used == 5 * passes).all()
    else:
        assert (votes == 5).all()
    np.testing.assert_allclose(found.mean, np.nanmean(samples, axis=(0, 1)), rtol=1e-5)
    variance = np.nanvar(samples, axis=(0, 1))
    np.testing.assert_allclose(found.variance, variance, rtol=1e-3, atol=1e-8)
    means = np.full((5, 7, 8, 8, 3), np.nan)
    seen = ~np.isnan(samples).any(1)
    means[seen] = np.moveaxis(samples, 1, -1)[seen].mean(-1)
    several = np.broadcast_to(votes[..., None] > 1, variance.shape)
    error = np.sqrt(
        np.nansum((means - np.nanmean(means, 0)) ** 2, 0)[several] / (votes - 1)[votes > 1].repeat(3)
    )
    error /= np.sqrt(votes[votes > 1].repeat(3))
    np.testing.assert_allclose(found.standard_error[several], error, rtol=1e-3, atol=1e-6)
    assert np.isinf(found.standard_error[~several]).all()
    entropy = -np.nansum(samples * np.log(samples), axis=-1)
    entropy[np.isnan(samples[..., 0])] = np.nan
    np.testing.assert_allclose(found.expected_entropy, np.nanmean(entropy, axis=(0, 1)), rtol=1e-4)
    if dropout_samples:
        within = np.nanmean(np.where(seen, samples.var(1), np.nan), 0) * 3 / 2
        np.testing.assert_allclose(
            found.variance_of["dropout"], np.minimum(within, variance), rtol=1e-3, atol=1e-8
        )
        total = found.variance_of["dropout"] + found.variance_of["augmentation"]
        np.testing.assert_allclose(total, found.variance, rtol=1e-5)
        assert (found.variance_of["augmentation"] >= 0).all()


def test_the_variance_falls_into_that_of_the_views_and_that_of_the_dropout(rng):
    keras.utils.set_random_seed(0)
    rate, samples, passes = 0.4, 500, 4
    model = keras.Sequential([keras.Input((4, 4, 1)), L.Flatten(), L.Dropout(rate), L.Dense(20)])
    kernel, bias = model.layers[-1].get_weights()
    x = rng.uniform(size=(5, 4, 4, 1)).astype("float32")
    flat, mirrored = x.reshape(5, 16), x[:, :, ::-1].reshape(5, 16)
    noise = [(h**2) @ (kernel**2) * rate / (1 - rate) for h in (flat, mirrored)]
    moved = np.square((flat - mirrored) @ kernel / 2)
    found = kr.tta_predict(model, x, pipeline(A.RandomFlip()), samples, 0, dropout_samples=passes)
    np.testing.assert_allclose(found.variance_of["dropout"], np.mean(noise, 0), rtol=0.25)
    # In the mean over 100 numbers: the quarter of the dropout's variance in the views' means is not here.
    assert found.variance_of["augmentation"].mean() == pytest.approx(moved.mean(), rel=0.1)
    assert found.variance_of["dropout"].mean() == pytest.approx(np.mean(noise), rel=0.05)
    still = kr.tta_predict(model, x, pipeline(A.RandomFlip(probability=0)), 50, 0, dropout_samples=passes)
    assert still.variance_of["augmentation"].mean() < 0.15 * still.variance_of["dropout"].mean() / passes**0.5
    np.testing.assert_allclose(still.mean, flat @ kernel + bias, atol=6 * np.sqrt(np.max(noise) / 200))


@pytest.mark.parametrize("mode", ["horizontal", "vertical"])
def test_dense_mirrors_back(images, mode):
    model, axis = segmenter(), {"horizontal": 2, "vertical": 1}[mode]
    found = kr.tta_predict(model, images, pipeline(A.RandomFlip(mode, probability=1)), 4, dense=True)
    back = np.flip(predict(model, np.flip(images, axis)), axis)
    expected = (predict(model, images) + 3 * back) / 4
    assert np.abs(back - predict(model, images)).max() > 1e-2
    np.testing.assert_allclose(found.mean, expected, rtol=1e-5)
    assert (found.votes == 4).all()


@pytest.mark.parametrize("fill_mode", ["reflect", "constant"])
def test_dense_pixels_that_left_the_frame_do_not_vote(images, fill_mode):
    model = segmenter()
    down = A.RandomTranslation((0.25, 0.25), (-0.125, -0.125))  # two down, one to the left
    found = kr.tta_predict(model, images, pipeline(down, fill_mode=fill_mode), 3, dense=True)
    wide = [(0, 0), (2, 0), (0, 1), (0, 0)]
    mode = {"reflect": "symmetric", "constant": "constant"}[fill_mode]
    said = predict(model, np.pad(images, wide, mode)[:, :8, 1:])
    plain = predict(model, images)
    expected = plain.copy()
    expected[:, :6, 1:] = (plain[:, :6, 1:] + 2 * said[:, 2:, :7]) / 3
    np.testing.assert_allclose(found.mean, expected, rtol=1e-4)
    votes = np.ones((7, 8, 8))
    votes[:, :6, 1:] = 3
    np.testing.assert_array_equal(found.votes, votes)
    np.testing.assert_array_equal(np.isinf(found.standard_error), np.repeat(votes[..., None] == 1, 3, -1))
    assert (found.variance[votes == 1] == 0).all()


def test_dense_leads_back_through_a_chain_of_every_transform():
    """A ramp is interpolated without error: what a pixelwise model says comes back to where it was said."""
    size, margin = 24, 7
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    ramp = np.repeat(((2 * x + 5 * y) / (7 * size))[None, ..., None], 16, 0).astype("float32")
    model = keras.Sequential([keras.Input((size, size, 1)), L.Rescaling(3.0, 1.0)])
    views = pipeline(
        A.RandomFlip("both"),
        A.RandomRotation(25),
        A.RandomZoom(0.2),
        A.RandomShear(0.1),
        A.RandomTranslation(0.1),
    )
    found = kr.tta_predict(model, ramp, views, 6, 0, dense=True)
    inner = slice(margin, -margin)
    np.testing.assert_allclose(found.mean[:, inner, inner], 3 * ramp[:, inner, inner] + 1, atol=2e-4)
    assert (found.variance[:, inner, inner] < 1e-7).all()
    assert (found.votes[:, inner, inner] == 6).all()
    assert (found.votes >= 1).all()
    assert found.votes[:, 0, 0].mean() < 5


def test_dense_what_was_filled_on_the_way_does_not_vote(images):
    there, back = (A.RandomTranslation((0, 0), (by, by)) for by in (0.25, -0.25))
    views = pipeline(there, A.RandomBrightness((0.0, 0.0)), back, fill_mode="constant")
    assert len(views.explain().segments) == 2
    found = kr.tta_predict(segmenter(), images, views, 2, dense=True)
    assert (found.votes[:, :, :6] == 2).all()
    assert (found.votes[:, :, 6:] == 1).all()
    fused = kr.tta_predict(segmenter(), images, pipeline(there, back), 2, dense=True)
    assert (fused.votes == 2).all()
    np.testing.assert_allclose(fused.mean, predict(segmenter(), images), rtol=1e-4)


def test_dense_steps_are_undone_in_their_order(images):
    right, turn = A.RandomTranslation((0, 0), (0.25, 0.25)), A.RandomRotation((90, 90))
    views = pipeline(right, A.RandomBrightness((0.0, 0.0)), turn, fill_mode="constant")
    assert len(views.explain().segments) == 2
    model = keras.Sequential([keras.Input((8, 8, 1)), L.Rescaling(2.0)])
    found = kr.tta_predict(model, images, views, 2, dense=True)
    np.testing.assert_allclose(found.mean, 2 * images, atol=1e-4)
    assert (found.votes[:, :, :6] == 2).all()
    assert (found.votes[:, :, 6:] == 1).all()


@pytest.mark.parametrize("layer", [L.AveragePooling2D(2), L.UpSampling2D(2)])
def test_dense_outputs_of_other_sizes_show_the_same_frame(images, layer):
    model = keras.Sequential([keras.Input((8, 8, 1)), layer])
    # Two pixels of the image are one of the small output, four of the large one.
    move = A.RandomTranslation((0.25, 0.25), (0, 0))
    found = kr.tta_predict(model, images, pipeline(A.RandomFlip(probability=1), move), 2, dense=True)
    np.testing.assert_allclose(found.mean, predict(model, images), atol=1e-6)
    lost = found.votes.shape[1] // 4
    assert (found.votes[:, :-lost] == 2).all()
    assert (found.votes[:, -lost:] == 1).all()


def with_heads():
    keras.utils.set_random_seed(0)
    image, extra = keras.Input((8, 8, 1), name="picture"), keras.Input((2,), name="extra")
    h = L.Dropout(0.3)(L.Conv2D(4, 3, padding="same", activation="relu")(image))
    whole = L.Concatenate()([L.GlobalAveragePooling2D()(h), extra])
    outputs = {"mask": L.Conv2D(1, 1, activation="sigmoid")(h), "class": L.Dense(3, "softmax")(whole)}
    return keras.Model({"picture": image, "extra": extra}, outputs)


def test_several_inputs_and_outputs(images, rng):
    model = with_heads()
    x = {"picture": images, "extra": rng.normal(size=(7, 2)).astype("float32")}
    views = pipeline(A.RandomFlip(probability=1))
    found = kr.tta_predict(model, x, views, 2, dense=True)
    mirrored = model.predict({**x, "picture": images[:, :, ::-1]}, verbose=0)
    plain = model.predict(x, verbose=0)
    np.testing.assert_allclose(found.mean["class"], (plain["class"] + mirrored["class"]) / 2, rtol=1e-5)
    expected = (plain["mask"] + mirrored["mask"][:, :, ::-1]) / 2
    np.testing.assert_allclose(found["mask"].mean, expected, rtol=1e-5)
    assert found["mask"].votes.shape == (7, 8, 8)
    assert found["class"].votes.tolist() == [2] * 7
    assert found["class"].entropy.shape == (7,)
    sampled = kr.tta_predict(model, x, views, 2, dense=True, dropout_samples=4)
    assert sampled["class"].variance_of["dropout"].min() > 0


def test_the_same_seed_gives_the_same_whatever_the_batching_and_the_form_of_the_data(images):
    tf = pytest.importorskip("tensorflow")
    model = classifier(rate=0.4)
    views = pipeline(A.RandomFlip("both"), A.RandomBrightness(0.2), seed=None)
    other = pipeline(A.RandomFlip("both"), A.RandomBrightness(0.2), seed=7)
    for dropout_samples in (0, 3):
        arguments = {"samples": 3, "dropout_samples": dropout_samples}
        whole = kr.tta_predict(model, images, views, seed=5, **arguments)
        dataset = tf.data.Dataset.from_tensor_slices((images, np.zeros(7))).batch(3)
        for again in (
            kr.tta_predict(model, images, views, seed=5, batch_size=2, **arguments),
            kr.tta_predict(model, dataset, other, seed=5, **arguments),
            kr.tta_predict(model, images.tolist(), views, seed=5, **arguments),
        ):
            np.testing.assert_allclose(again.mean, whole.mean, rtol=1e-5)
            np.testing.assert_allclose(again.variance, whole.variance, rtol=1e-3, atol=1e-8)
        for seed in (6, None):
            assert (
                np.abs(kr.tta_predict(model, images, views, seed=seed, **arguments).mean - whole.mean).max()
                > 1e-4
            )
    unseeded = [kr.tta_predict(model, images, views, 2).mean for _ in range(2)]
    assert np.abs(unseeded[0] - unseeded[1]).max() > 1e-4


def test_nothing_changes_and_every_noise_is_silent(images):
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 1))
    h = L.BatchNormalization()(L.Flatten()(L.GaussianNoise(1.0)(x)))
    h = kr.layers.Dropout(0.5, mc=True)(L.Dense(6)(L.Dropout(0.5)(h, training=True)))
    model = keras.Model(x, L.Dense(3)(h))
    quiet = keras.Sequential(
        [keras.Input((8, 8, 1)), L.Flatten(), L.BatchNormalization(), L.Dense(6), L.Dense(3)]
    )
    for mine, theirs in zip(quiet.layers[1:], [model.layers[i] for i in (3, 5, 7)], strict=True):
        mine.set_weights(theirs.get_weights())
    views = pipeline(A.RandomFlip(probability=1))
    before, calls = state(model), int(views._calls)
    found = kr.tta_predict(model, images, views, 3)
    kr.tta_predict(model, images, views, 2, dropout_samples=2)
    np.testing.assert_allclose(found.mean, predict(quiet, images[:, :, ::-1]), rtol=1e-4, atol=1e-6)
    assert (found.variance == 0).all()
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(new, old)
    assert int(views._calls) == calls
    # Weights are read anew at each call.
    model.layers[-1].set_weights([w * 2 for w in model.layers[-1].get_weights()])
    np.testing.assert_allclose(
        kr.tta_predict(model, images, views, 2).mean, 2 * found.mean, rtol=1e-4, atol=1e-6
    )


def test_mixed_precision_and_bytes(rng):
    keras.utils.set_random_seed(0)
    dense = L.Dense(3, "softmax", dtype="mixed_float16")
    model = keras.Sequential([keras.Input((8, 8, 1)), L.Rescaling(1 / 255), L.Flatten(), dense])
    x = rng.integers(0, 256, (4, 8, 8, 1)).astype("uint8")
    views = A.Pipeline([A.RandomFlip(probability=1)])
    found = kr.tta_predict(model, x, views, 2)
    assert found.mean.dtype == np.float32
    np.testing.assert_allclose(found.mean, predict(model, x[:, :, ::-1]), atol=2e-3)
    assert found.entropy.shape == (4,)


def test_a_model_is_not_kept_by_what_is_compiled_for_it(images):
    import gc
    import weakref

    model, views = classifier(), pipeline(A.RandomFlip())
    kr.tta_predict(model, images, views, 2)
    kept = [weakref.ref(model), weakref.ref(views)]
    del model, views
    keras.backend.clear_session()
    gc.collect()
    assert [reference() for reference in kept] == [None, None]


class Opaque(A.Transform):
    """Neither geometry nor colour."""


@pytest.mark.parametrize(
    ("change", "argument", "shown"),
    [
        ({"model": 3}, "model", "3"),
        ({"dense": True}, "model", "(7, 3)"),
        ({"pipeline": A.RandomFlip()}, "pipeline", "RandomFlip()"),
        ({"samples": 1}, "samples", "1"),
        ({"seed": -1}, "seed", "-1"),
        ({"seed": 0.5}, "seed", "0.5"),
        ({"dense": 1}, "dense", "1"),
        ({"return_samples": "all"}, "return_samples", "'all'"),
        ({"batch_size": 0}, "batch_size", "0"),
        ({"dropout_samples": 1}, "dropout_samples", "1"),
        ({"dropout_samples": -2}, "dropout_samples", "-2"),
        ({"dropout_samples": 2}, "model", "stochastic layers found: none"),
        ({"verbose": "yes"}, "verbose", "'yes'"),
        ({"x": np.zeros((7, 64))}, "x", "[(7, 64)]"),
        ({"x": [np.zeros((7, 8, 8, 1))] * 2}, "x", "(7, 8, 8, 1), (7, 8, 8, 1)"),
        ({"x": np.full((7, 8, 8, 1), 200.0)}, "value_range", "200"),
        ({"x": np.full((7, 8, 8, 1), np.nan)}, "value_range", "NaN"),
        ({"pipeline": pipeline(A.RandomGrayscale())}, "images", "1 in shape"),
        (
            {"pipeline": pipeline(A.RandomFlip(), Opaque(name="cut out")), "dense": True},
            "pipeline",
            "cut out",
        ),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(images, change, argument, shown):
    good = {"model": classifier(), "x": images, "pipeline": pipeline(A.RandomFlip()), "samples": 2}
    with pytest.raises(
        ValueError, match=f"Argument `{argument}` of (tta_predict|Pipeline) must be"
    ) as caught:
        kr.tta_predict(**{**good, **change})
    sentence = str(caught.value)
    assert shown in sentence.partition(", got ")[2]
    assert sentence.endswith(".")
    assert "\n" not in sentence
