"""Random lists of transforms on random images: exact is op by op, and targets stay with their images."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn
from drawing import examples, numbers, plain
from hypothesis import given
from hypothesis import strategies as st
from targets_oracle import outcome

from kerasreg import augment
from kerasreg.augment import Pipeline
from kerasreg.augment.execute import execute
from kerasreg.augment.plan import make_plan

chances = st.sampled_from([1.0, 0.5])


def pair(low, high):
    """A rising pair within the bounds."""
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(lambda ends: tuple(sorted(ends)))


shares, factors, shifts = pair(-0.4, 0.4), pair(0.3, 1.8), pair(-0.5, 0.5)
MOVES = {
    "augment.RandomFlip": {"mode": st.sampled_from(["horizontal", "vertical", "both"])},
    "augment.RandomRotation": {
        "degrees": st.tuples(st.floats(-180, 0), st.floats(0, 180)),
        "step": st.sampled_from([None, 90.0]),
    },
    "augment.RandomZoom": {"factor": shares},
    "augment.RandomShear": {"x_factor": shares, "y_factor": shares},
    "augment.RandomTranslation": {
        "height_factor": shifts,
        "width_factor": shifts,
        "whole_pixels": st.booleans(),
    },
    "augment.RandomPerspective": {"distortion": st.floats(0, 0.5)},
    "augment.RandomCrop": {"size": st.tuples(st.integers(1, 40), st.integers(1, 40))},
    "augment.RandomResizedCrop": {"size": st.tuples(st.integers(1, 40), st.integers(1, 40))},
}
COLOURS = {
    "augment.RandomBrightness": {"factor": shares},
    "augment.RandomContrast": {"factor": factors},
    "augment.RandomSaturation": {"factor": factors},
    "augment.RandomHue": {"degrees": pair(-180, 180)},
    "augment.RandomGrayscale": {},
    "augment.RandomInvert": {},
    "augment.ColorJitter": {"brightness": shares, "contrast": factors, "saturation": factors},
    "augment.RandomPosterize": {"bits": st.integers(1, 8)},
    "augment.RandomSolarize": {"threshold": st.floats(0, 1)},
    "augment.RandomEqualize": {},
    "augment.RandomAutoContrast": {},
    "augment.RandomSharpness": {"factor": factors},
    "augment.RandomGaussianBlur": {"sigma": pair(0.1, 3)},
    "augment.RandomGaussianNoise": {"std": st.floats(0, 0.2)},
    "augment.RandomErasing": {"area": pair(0.02, 0.5)},
    "augment.Rescale": {"scale": st.sampled_from([1 / 255, 1 / 127.5, -0.5]), "offset": st.floats(-1, 1)},
}
SIMPLE = {**MOVES, **COLOURS}
OPERATIONS = st.lists(
    st.sampled_from(["Rotate", "ShearX", "TranslateY", "Brightness", "Posterize", "Equalize", "Sharpness"]),
    min_size=1,
    max_size=3,
    unique=True,
)
POLICIES = {
    "augment.RandAugment": {
        "n": st.integers(1, 2),
        "magnitude": st.floats(0, 30),
        "operations": OPERATIONS,
    },
    "augment.TrivialAugment": {"wide": st.booleans(), "operations": OPERATIONS},
    "augment.AugMix": {"severity": st.floats(1, 10), "width": st.integers(1, 2), "operations": OPERATIONS},
}
MIXES = {"augment.MixUp": {"alpha": st.floats(0.1, 2)}, "augment.CutMix": {"alpha": st.floats(0.1, 2)}}


def transform_of(draw, label, choices, place):
    arguments = draw(st.fixed_dictionaries(choices))
    if label != "augment.Rescale":
        arguments["probability"] = draw(chances)
    if label == "augment.RandomCrop":
        arguments["pad_if_needed"] = True
    # A name of its own for each, so that a shorter list draws the same for those that stay.
    return getattr(augment, label.partition(".")[2])(**arguments, name=f"{place}")


def listed(draw, tables, most=5, least=1):
    """Some transforms, each with arguments and a name of its own."""
    labels = draw(st.lists(st.sampled_from(list(tables)), min_size=least, max_size=most))
    return [transform_of(draw, label, tables[label], place) for place, label in enumerate(labels)]


def images_of(draw, count=3):
    """Images of 1 to 40 pixels a side, of whole numbers or not."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(numbers))
    images = rng.integers(0, 256, (count, height, width, 3))
    return images.astype(draw(st.sampled_from(["uint8", "float32"])))


@pytest.mark.parametrize("label", SIMPLE)
@examples(3)
@given(data=st.data())
def test_exact_is_one_transform_after_the_other(label, data):
    draw = data.draw
    others = draw(st.lists(st.sampled_from(list(SIMPLE)), max_size=4))
    tried = [label, *others]
    chain = [transform_of(draw, each, SIMPLE[each], place) for place, each in enumerate(tried)]
    how = {
        "fill_mode": draw(st.sampled_from(["reflect", "constant", "nearest", "wrap"])),
        "fill_value": draw(st.sampled_from([0.0, 100.0])),
        "interpolation": draw(st.sampled_from(["nearest", "bilinear", "bicubic"])),
    }
    images, seed = images_of(draw), draw(st.integers(-(2**40), 2**70))
    pipeline = Pipeline(chain, seed, exact=True, **how)
    found = execute(pipeline.explain(), tf.constant(images), drawn(pipeline, len(images))).numpy()

    uniform, lane = drawn(pipeline, len(images)), 0
    pixels, bounds = tf.constant(images), (0.0, 255.0)
    scale, offset = 1.0, 0.0
    for step in chain:
        fill = how["fill_value"] * scale + offset
        if isinstance(step, augment.RandomErasing):
            # Its fill, too, is in the units of the images that came in.
            config = step.get_config()
            step = augment.RandomErasing(**{**config, "fill_value": config["fill_value"] * scale + offset})
        alone = make_plan(
            [step], ["alone"], how["fill_mode"], fill, bounds, "float32", True, how["interpolation"]
        )
        pixels = execute(alone, pixels, uniform[:, lane : lane + step.lanes])
        lane, bounds = lane + step.lanes, alone.units.outer
        if isinstance(step, augment.Rescale):
            scale, offset = scale * step.scale, offset * step.scale + step.offset
    close = np.isclose(found, pixels.numpy(), rtol=1e-4, atol=2e-3 * (bounds[1] - bounds[0]) / 255)
    # A table may tell two values apart that differ by a rounding.
    steps = any(
        isinstance(s, augment.RandomPosterize | augment.RandomSolarize | augment.RandomEqualize)
        for s in chain
    )
    assert close.mean() >= (0.97 if steps else 1.0)
    assert found.shape[1:3] == tuple(pipeline.explain().image_size or found.shape[1:3])

    # Nothing leaves its range, and a copy from JSON is the same pipeline.
    low, high = pipeline.explain().units.outer
    assert found.min() >= low - 1e-3
    assert found.max() <= high + 1e-3
    again = Pipeline.from_config(plain(pipeline.get_config()))
    assert again.get_config() == pipeline.get_config()
    np.testing.assert_array_equal(drawn(again, len(images)), uniform)
    again = keras.saving.deserialize_keras_object(plain(keras.saving.serialize_keras_object(pipeline)))
    assert str(again.explain()) == str(pipeline.explain())


@examples(12)
@given(data=st.data())
def test_fused_or_not_a_list_draws_the_same_and_moves_the_same(data):
    draw = data.draw
    chain, images, seed = listed(draw, SIMPLE), images_of(draw), draw(st.integers(0, 2**40))
    height, width = images.shape[1:3]
    rng = np.random.default_rng(draw(numbers))
    corners = np.sort(rng.uniform(0, 1, (len(images), 4, 2, 2)), axis=2).reshape(len(images), 4, 4)
    boxes = np.float32(corners * [width, height, width, height])
    element = {
        "images": images,
        "segmentation_masks": images[..., :1].astype("int32"),
        "bounding_boxes": {"boxes": boxes, "labels": np.tile(np.arange(4), (len(images), 1))},
        "keypoints": boxes[..., :2],
        "labels": np.arange(len(images)),
    }
    how = {"fill_mode": draw(st.sampled_from(["reflect", "constant"])), "bounding_box_format": "xyxy"}
    fused, exact = (
        element | outcome(Pipeline(chain, seed, exact=exactly, **how), element) for exactly in (False, True)
    )
    moving = [transform for transform in chain if isinstance(transform, augment.GeometricTransform)]
    cropped = any(transform.changes_size for transform in chain)
    targets = ("segmentation_masks", "bounding_boxes", "keypoints")
    # Colours move nothing: a list without them does the same to what lies on the images.
    alone = element | (outcome(Pipeline(moving, seed, **how), element) if moving else {})
    for name in targets:
        for a, b, c in zip(
            *(keras.tree.flatten(found[name]) for found in (fused, exact, alone)), strict=True
        ):
            np.testing.assert_allclose(a, c, atol=1e-3)
            # What a crop has cut off is out of sight in one matrix, and gone in exact mode.
            if not cropped:
                np.testing.assert_allclose(a, b, atol=1e-3)
    assert fused["segmentation_masks"].shape[:3] == fused["images"].shape[:3] == exact["images"].shape[:3]
    after_height, after_width = fused["images"].shape[1:3]
    kept = fused["bounding_boxes"]["labels"] >= 0
    moved = fused["bounding_boxes"]["boxes"]
    assert (moved >= 0).all()
    assert (moved <= [after_width, after_height, after_width, after_height]).all()
    assert not moved[~kept].any()
    assert (moved[kept][:, 2:] >= moved[kept][:, :2]).all()
    # A box's first corner, inside of the frame, is inside of the box.
    points = fused["keypoints"]
    inside = kept & (points >= 0).all(-1) & (points <= [after_width, after_height]).all(-1)
    assert (points[inside] >= moved[inside][:, :2] - 1e-2).all()
    assert (points[inside] <= moved[inside][:, 2:] + 1e-2).all()


@examples(10)
@given(data=st.data())
def test_masks_are_the_images_where_pixels_are_copied(data):
    chain, images = listed(data.draw, MOVES), images_of(data.draw).astype("uint8")
    fill = data.draw(st.integers(0, 255))
    how = {"fill_mode": data.draw(st.sampled_from(["reflect", "constant", "nearest", "wrap"]))}
    pipeline = Pipeline(
        chain, 3, interpolation="nearest", fill_value=fill, mask_fill_value=fill, dtype="uint8", **how
    )
    found = outcome(pipeline, {"images": images, "segmentation_masks": images})
    # But for places in the middle between two pixels, which may fall to either.
    assert (found["images"] == found["segmentation_masks"]).mean() > 0.97


@pytest.mark.parametrize("label", [*POLICIES, *MIXES, "augment.RandomChoice"])
@examples(2)
@given(data=st.data())
def test_policies_and_mixes_keep_range_rows_and_targets(label, data):
    draw, images = data.draw, images_of(data.draw, 4)
    if label == "augment.RandomChoice":
        chosen = augment.RandomChoice(listed(draw, _same_size(), least=2), name="0")
    else:
        chosen = transform_of(draw, label, {**POLICIES, **MIXES}[label], 0)
    more = listed(draw, _same_size(), 2)
    more = [type(t).from_config({**t.get_config(), "name": f"more {i}"}) for i, t in enumerate(more)]
    chain = [chosen, *more] if draw(st.booleans()) else [*more, chosen]
    pipeline = Pipeline(chain, 5, exact=draw(st.booleans()))
    labels = np.eye(4, dtype="float32")
    element = {"images": images, "labels": labels} if label in MIXES else {"images": images}
    found = outcome(pipeline, element)
    low, high = pipeline.explain().units.outer
    assert found["images"].shape == images.shape
    assert found["images"].min() >= low - 1e-3
    assert found["images"].max() <= high + 1e-3
    if label in MIXES:
        np.testing.assert_allclose(found["labels"].sum(-1), 1, atol=1e-5)
        assert (found["labels"] >= 0).all()
        # Each image is at least partly the one that it was.
        assert (np.diag(found["labels"]) > 0).all() or label == "augment.CutMix"
    again = Pipeline.from_config(plain(pipeline.get_config()))
    assert str(again.explain()) == str(pipeline.explain())


def _same_size():
    """Transforms that keep the size and the range."""
    left_out = ("augment.RandomCrop", "augment.RandomResizedCrop", "augment.Rescale")
    return {label: choices for label, choices in SIMPLE.items() if label not in left_out}


@examples(8)
@given(
    count=st.integers(1, 12),
    epochs=st.integers(1, 3),
    shuffle=st.booleans(),
    seed=st.integers(-(2**40), 2**70),
)
def test_every_epoch_has_every_number_once(count, epochs, shuffle, seed):
    found = next(augment.indices(count, epochs, shuffle, seed).batch(100).as_numpy_iterator())
    np.testing.assert_array_equal(found["epoch"], np.repeat(np.arange(epochs), count))
    for row in found["index"].reshape(epochs, count):
        np.testing.assert_array_equal(np.sort(row), np.arange(count))


LABELS = {
    *SIMPLE,
    *POLICIES,
    *MIXES,
    "augment.RandomChoice",
    "augment.Pipeline",
    "augment.Plan",
    "augment.indices",
}
