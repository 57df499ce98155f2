"""Masks, boxes and keypoints: against SciPy and NumPy, against each other, and what nobody may touch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import fixed, random_images
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from targets_oracle import area, matrices, numpy_boxes, numpy_points, outcome

from kerasreg import augment
from kerasreg.augment import Pipeline
from kerasreg.augment.targets.formats import BOX_FORMATS, from_corners, to_corners

SIZE = HEIGHT, WIDTH = 12, 16
COUNT = 7
IMAGES = random_images(COUNT, HEIGHT, WIDTH)
RNG = np.random.default_rng(3)
SCIPY_NEAREST = {"reflect": "reflect", "nearest": "nearest", "wrap": "grid-wrap", "constant": "grid-constant"}
NEVER = augment.RandomSolarize(0.5, probability=0)


def random_corners(count=COUNT, boxes=4):
    ends = RNG.uniform(0, 1, (count, boxes, 2, 2)) * [WIDTH - 3, HEIGHT - 3]
    return np.float32(np.concatenate([ends.min(2), ends.max(2) + 2], -1))


CORNERS = random_corners()
LABELS = np.arange(COUNT * 4).reshape(COUNT, 4)


def element(**more):
    return {"images": IMAGES, **more}


def boxes_of(corners=CORNERS, labels=LABELS):
    return {"boxes": corners, "labels": labels}


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_the_formats_are_those_of_keras(box_format):
    kerass = keras.utils.bounding_boxes.convert_format(CORNERS, "xyxy", box_format, *SIZE)
    ours = from_corners(tf.constant(CORNERS), box_format, SIZE)
    np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(kerass), rtol=1e-6)
    np.testing.assert_allclose(to_corners(ours, box_format, SIZE), CORNERS, atol=1e-5)


CHAINS = st.lists(
    st.sampled_from(
        [
            lambda: augment.RandomFlip("both"),
            lambda: augment.RandomRotation(180),
            lambda: augment.RandomZoom(0.4, 0.3),
            lambda: augment.RandomTranslation(0.3),
            lambda: augment.RandomShear(0.4, 0.2),
            lambda: augment.RandomBrightness(0.1),
        ]
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=12, deadline=None)
@given(
    chain=CHAINS, seed=st.integers(0, 1000), box_format=st.sampled_from(BOX_FORMATS), least=st.floats(0, 1)
)
def test_boxes_are_the_hull_of_their_moved_corners(chain, seed, box_format, least):
    pipeline = Pipeline(
        [augment.RandomFlip(name="first"), *(make() for make in chain)],
        seed,
        bounding_box_format=box_format,
        min_visible=least,
    )
    given_boxes = from_corners(tf.constant(CORNERS), box_format, SIZE).numpy()
    corner_points = CORNERS[:, :, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(COUNT, 4, 4, 2)
    found = outcome(pipeline, element(bounding_boxes=boxes_of(given_boxes), keypoints=corner_points))
    moved, labels = found["bounding_boxes"]["boxes"], found["bounding_boxes"]["labels"]
    moved = to_corners(tf.constant(moved), box_format, SIZE).numpy()
    for i, matrix in enumerate(matrices(pipeline, COUNT, *SIZE)):
        hull, cut = numpy_boxes(CORNERS[i], matrix, SIZE)
        share = area(cut) / area(hull)
        sure = (abs(share - least) > 1e-3) & (share != 0)
        kept = share >= least
        np.testing.assert_array_equal(labels[i][sure], np.where(kept, LABELS[i], -1)[sure])
        np.testing.assert_allclose(moved[i][sure & kept], cut[sure & kept], atol=2e-3)
        assert not moved[i][labels[i] == -1].any()
        # A box's corners, as points, land where the box says.
        points = found["keypoints"][i]
        np.testing.assert_allclose(np.concatenate([points.min(1), points.max(1)], -1), hull, atol=2e-3)


def test_points_outside_lose_their_visibility_and_unknown_ones_stay():
    points = np.float32(
        np.concatenate(
            [RNG.uniform(0, 1, (COUNT, 5, 2)) * [WIDTH, HEIGHT], RNG.integers(0, 3, (COUNT, 5, 1))], -1
        )
    )
    pipeline = Pipeline([augment.RandomTranslation(0.5), augment.RandomRotation(40)])
    found = outcome(pipeline, element(keypoints=points))["keypoints"]
    bare = outcome(pipeline, element(keypoints=points[..., :2]))["keypoints"]
    seen = []
    for i, matrix in enumerate(matrices(pipeline, COUNT, *SIZE)):
        expected = numpy_points(points[i, :, :2], matrix, SIZE)
        np.testing.assert_allclose(bare[i], expected, atol=1e-3)
        inside = np.all((expected >= 0) & (expected <= [WIDTH, HEIGHT]), -1)
        known = points[i, :, 2] > 0
        np.testing.assert_array_equal(found[i, :, 2], np.where(inside, points[i, :, 2], 0))
        np.testing.assert_allclose(found[i, known, :2], expected[known], atol=1e-3)
        np.testing.assert_array_equal(found[i, ~known], points[i, ~known])
        seen += inside.tolist()
    assert 5 < np.sum(seen) < len(seen) - 5


@pytest.mark.parametrize("fill_mode", SCIPY_NEAREST)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float16"])
def test_masks_are_scipys_nearest_neighbours(fill_mode, dtype):
    masks = RNG.integers(0, 2 if dtype == "bool" else 200, (COUNT, *SIZE, 2)).astype(dtype)
    fill = 1 if dtype == "bool" else 7
    pipeline = Pipeline(
        [augment.RandomRotation(180), augment.RandomZoom(0.5), augment.RandomTranslation(0.6)],
        fill_mode=fill_mode,
        mask_fill_value=fill,
    )
    found = outcome(pipeline, element(segmentation_masks={"both": masks, "first": masks[..., 0]}))
    both, first = found["segmentation_masks"]["both"], found["segmentation_masks"]["first"]
    assert both.dtype == masks.dtype
    np.testing.assert_array_equal(both[..., 0], first)
    differ = 0
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    for i, matrix in enumerate(matrices(pipeline, COUNT, *SIZE)):
        places = np.einsum("ij,jhw->ihw", matrix, np.stack([x - 7.5, y - 5.5, np.ones_like(x)]))
        where = [places[1] + 5.5, places[0] + 7.5]
        expected = map_coordinates(
            masks[i, ..., 1].astype(float), where, order=0, mode=SCIPY_NEAREST[fill_mode], cval=fill
        )
        differ += np.sum(both[i, ..., 1] != expected)
    # Places on the very border between two pixels may fall to either.
    assert differ <= 2


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["horizontal", "vertical"])
def test_a_rectangle_of_a_mask_stays_in_its_box(degrees, flip):
    masks = np.zeros((1, *SIZE), np.uint8)
    masks[0, 4:9, 5:8] = 1
    pipeline = Pipeline(
        [augment.RandomFlip(flip, probability=1), fixed("RandomRotation", degrees)],
        fill_mode="constant",
        bounding_box_format="xyxy",
    )
    box = boxes_of(np.float32([[[5, 4, 8, 9]]]), np.array([[1]]))
    found = outcome(pipeline, {"images": IMAGES[:1], "segmentation_masks": masks, "bounding_boxes": box})
    rows, columns = np.nonzero(found["segmentation_masks"][0])
    hull = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(
        found["bounding_boxes"]["boxes"][0, 0], hull, atol=0.01 if degrees % 180 == 0 else 1
    )


@pytest.mark.parametrize("fill_mode", SCIPY_NEAREST)
@pytest.mark.parametrize("exact", [False, True])
def test_masks_see_the_fills_of_every_warp(fill_mode, exact):
    # Whole pixels, so that the image shows what its mask must: what left the frame in between is a fill.
    there, back = ((x, x) for x in (0.5, -0.25))
    moves = [augment.RandomTranslation(there), NEVER, augment.RandomTranslation(back)]
    fills = {"fill_mode": fill_mode, "fill_value": 3, "mask_fill_value": 3}
    pipeline = Pipeline(moves, exact=exact, bounding_box_format="xyxy", min_visible=0.2, **fills)
    corners = np.float32([[[2, 2, 12, 10], [12, 2, 15, 9], [6, 2, 14, 10]]])
    box = boxes_of(np.tile(corners, (COUNT, 1, 1)), LABELS[:, :3])
    points = np.tile(np.float32([[[2, 2, 2], [12, 10, 2], [10, 2, 1]]]), (COUNT, 1, 1))
    found = outcome(pipeline, element(segmentation_masks=IMAGES, bounding_boxes=box, keypoints=points))
    np.testing.assert_array_equal(found["segmentation_masks"], found["images"])
    # 8 right and 6 down, beyond 16 x 12 is lost, then 4 and 3 back: of the last box an eighth.
    kept = [[6, 5, 12, 9], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(found["bounding_boxes"]["boxes"][0], kept, atol=1e-4)
    np.testing.assert_array_equal(found["bounding_boxes"]["labels"][:, 1:], -1)
    np.testing.assert_allclose(found["keypoints"][0], [[6, 5, 2], [16, 13, 0], [14, 5, 0]], atol=1e-4)


def test_what_is_out_of_sight_is_dropped_whatever_the_share():
    pipeline = Pipeline(
        [augment.RandomTranslation((0.0, 0.0), (0.5, 0.5))], bounding_box_format="xyxy", min_visible=0
    )
    box = boxes_of(np.float32([[[8, 2, 15, 9], [7.9, 2, 15, 9], [0, 2, 0, 9]]]), np.array([[1, 2, 3]]))
    found = outcome(pipeline, {"images": IMAGES[:1], "bounding_boxes": box})["bounding_boxes"]
    assert found["labels"].tolist() == [[-1, 2, -1]]
    np.testing.assert_allclose(found["boxes"][0], [[0] * 4, [15.9, 2, 16, 9], [0] * 4], atol=1e-4)
    none = boxes_of(np.zeros([1, 0, 4], np.float32), np.zeros([1, 0], np.int64))
    found = outcome(pipeline, {"images": IMAGES[:1], "bounding_boxes": none})["bounding_boxes"]
    assert found["boxes"].shape == (1, 0, 4)


def test_padding_stays_padding_and_further_entries_keep_their_row():
    corners, labels = CORNERS.copy(), LABELS.astype(np.int32)
    corners[:, 2:], labels[:, 2:] = -7.0, -1
    boxes = {
        **boxes_of(corners, labels),
        "confidence": RNG.uniform(size=(COUNT, 4)),
        "name": LABELS.astype(str),
    }
    pipeline = Pipeline([augment.RandomTranslation(1.0)], bounding_box_format="xyxy", min_visible=0.5)
    found = pipeline(element(bounding_boxes=boxes))["bounding_boxes"]
    np.testing.assert_array_equal(found["boxes"][:, 2:], corners[:, 2:])
    assert found["labels"].dtype == tf.int32
    dropped = found["labels"].numpy() == -1
    assert 0 < dropped[:, :2].sum() < 2 * COUNT
    np.testing.assert_array_equal(found["confidence"], boxes["confidence"])
    np.testing.assert_array_equal(found["name"], boxes["name"])
    one_hot = np.float32(np.eye(28)[labels])
    one_hot[labels == -1] = -1
    again = outcome(pipeline, element(bounding_boxes=boxes_of(corners, one_hot)))["bounding_boxes"]
    wide = again["labels"]
    np.testing.assert_allclose(again["boxes"], found["boxes"], atol=1e-4)
    np.testing.assert_array_equal(np.all(wide == -1, -1), dropped)
    np.testing.assert_array_equal(wide[~dropped], one_hot[~dropped])


def test_integer_boxes_become_floats_and_floats_stay():
    pipeline = Pipeline([augment.RandomFlip(probability=1)], bounding_box_format="xywh")
    for dtype, expected in (("int32", "float32"), ("float64", "float64"), ("float16", "float16")):
        corners = np.array([[[2, 3, 4, 5]]], dtype)
        parts = {
            "images": IMAGES[:1],
            "bounding_boxes": boxes_of(corners, np.array([[4]])),
            "keypoints": corners[..., :2],
        }
        found = outcome(pipeline, parts)
        assert found["bounding_boxes"]["boxes"].dtype == found["keypoints"].dtype == expected
        assert found["bounding_boxes"]["boxes"].tolist() == [[[10, 3, 4, 5]]]
        assert found["keypoints"].tolist() == [[[14, 3]]]


def everything():
    visible = np.float32(np.concatenate([CORNERS[..., :2], np.full((COUNT, 4, 1), 2)], -1))
    inner = {
        "images": IMAGES,
        "segmentation_masks": RNG.integers(0, 2**60, (COUNT, *SIZE, 1)),
        "bounding_boxes": boxes_of(),
        "keypoints": visible,
        "id": LABELS[:, 0].astype(str),
        "labels": np.float64(LABELS),
    }
    return inner, np.full(COUNT, 25005), np.linspace(0, 1, COUNT)


@pytest.fixture(scope="module")
def mover():
    return Pipeline([augment.RandomFlip(), augment.RandomRotation(30)], bounding_box_format="xyxy")


def together(data):
    rows = [tf.nest.map_structure(np.asarray, one) for one in data]
    if rows[0][0]["images"].ndim == 3:
        return tf.nest.map_structure(lambda *parts: np.stack(parts), *rows)
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *rows)


def test_batches_threads_and_single_images_agree_and_the_rest_is_untouched(mover):
    whole = everything()
    data = tf.data.Dataset.from_tensor_slices(whole)
    options = tf.data.Options()
    options.threading.private_threadpool_size = 3
    ragged, threaded, single, again = (
        together(data.batch(4).apply(mover)),
        together(data.batch(4).apply(mover).with_options(options).prefetch(2)),
        together(data.apply(mover)),
        together(data.batch(COUNT, drop_remainder=True).apply(mover)),
    )
    for other in (threaded, single, again):
        tf.nest.map_structure(lambda a, b: np.testing.assert_array_equal(a.dtype, b.dtype), ragged, other)
        for key in ("segmentation_masks", "keypoints"):
            np.testing.assert_allclose(other[0][key], ragged[0][key], atol=1e-3)
        for key in ("boxes", "labels"):
            found = other[0]["bounding_boxes"][key]
            np.testing.assert_allclose(found, ragged[0]["bounding_boxes"][key], atol=1e-3)
    assert not np.array_equal(ragged[0]["segmentation_masks"], whole[0]["segmentation_masks"])
    np.testing.assert_array_equal(ragged[1], whole[1])
    np.testing.assert_array_equal(ragged[2], whole[2])
    assert ragged[1].dtype == np.int64
    assert ragged[2].dtype == np.float64
    for key in ("id", "labels"):
        np.testing.assert_array_equal(ragged[0][key].astype(str), whole[0][key].astype(str))
    spec = data.batch(4).apply(mover).element_spec[0]
    assert spec["bounding_boxes"]["boxes"].shape.as_list() == [None, 4, 4]
    assert spec["segmentation_masks"] == tf.TensorSpec([None, *SIZE, 1], tf.int64)


def test_colours_alone_touch_nothing_and_ask_for_nothing():
    whole = everything()
    found = Pipeline([augment.RandomBrightness(0.3)])(whole)
    assert found[0]["bounding_boxes"]["boxes"] is whole[0]["bounding_boxes"]["boxes"]
    assert found[0]["segmentation_masks"] is whole[0]["segmentation_masks"]
    assert Pipeline([NEVER])((IMAGES, IMAGES))[1] is IMAGES


def test_what_came_in_is_not_changed(mover):
    whole = everything()
    before = tf.nest.map_structure(np.copy, whole)
    mover(whole)
    tf.nest.map_structure(np.testing.assert_array_equal, whole, before)
    assert set(whole[0]) == set(before[0])


BOX = boxes_of()
RAGGED = tf.ragged.constant([[1]] * 6 + [[2, 3]])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"segmentation_masks": IMAGES[:, :5]}, ["`segmentation_masks`", "(7, 5, 16, 3)", "(7, 12, 16, 3)"]),
        ({"segmentation_masks": IMAGES[:, :, 0]}, ["`segmentation_masks`", "(7, 12, 3)"]),
        ({"segmentation_masks": IMAGES.astype(str)}, ["`segmentation_masks`", "string"]),
        ({"bounding_boxes": CORNERS}, ["'boxes' and 'labels'"]),
        (
            {"bounding_boxes": {"boxes": CORNERS, "classes": LABELS}},
            ["'boxes' and 'labels'", "the keys 'boxes'"],
        ),
        (
            {"bounding_boxes": {"boxes": RAGGED, "labels": RAGGED}},
            ["`bounding_boxes`", "Ragged", "to_tensor"],
        ),
        (
            {"bounding_boxes": boxes_of(CORNERS[..., :3])},
            ["`bounding_boxes`", "(batch, boxes, 4)", "(7, 4, 3)"],
        ),
        ({"bounding_boxes": boxes_of(CORNERS[:, 0])}, ["`bounding_boxes`", "(batch, boxes, 4)"]),
        ({"bounding_boxes": boxes_of(labels=LABELS[:, :3])}, ["one of 'labels' for each", "(7, 3)"]),
        ({"bounding_boxes": boxes_of(labels=LABELS.astype("uint8"))}, ["signed", "uint8"]),
        ({"bounding_boxes": boxes_of(CORNERS + 10)}, ["`bounding_boxes`", "inside", "12 high and 16 wide"]),
        ({"bounding_boxes": boxes_of(CORNERS * np.nan)}, ["`bounding_boxes`", "inside", "nan"]),
        ({"bounding_boxes": boxes_of(CORNERS[..., [2, 3, 0, 1]])}, ["`bounding_boxes`", "'xyxy'"]),
        ({"bounding_boxes": boxes_of(CORNERS / 16)}, ["`bounding_boxes`", "'rel_xyxy'?"]),
        ({"keypoints": CORNERS}, ["`keypoints`", "(batch, ..., points, 2)", "(7, 4, 4)"]),
        ({"keypoints": CORNERS[0, :, :2]}, ["`keypoints`", "(4, 2)"]),
        ({"labels": IMAGES[..., 0]}, ["`element`", "'labels'", "(7, 12, 16)", "'segmentation_masks'"]),
    ],
)
def test_what_does_not_fit_is_one_sentence(mover, changed, words):
    for refused in (
        lambda: mover(element(**changed)),
        lambda: tf.data.Dataset.from_tensors(element(**changed)).apply(mover),
    ):
        with pytest.raises(ValueError, match="must be") as error:
            refused()
        for word in words:
            assert word in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        ((IMAGES, IMAGES[..., 0]), ["entry 1", "(7, 12, 16)", "'segmentation_masks'"]),
        ((IMAGES, LABELS, IMAGES[..., :1]), ["entry 2", "(7, 12, 16, 1)"]),
        ((IMAGES, BOX), ["entry 1 with 'boxes'", "'bounding_boxes'"]),
    ],
)
def test_what_lies_on_the_images_is_refused_where_nothing_moves_it(mover, whole, words):
    for one, batched in ((whole, True), (tf.nest.map_structure(lambda part: part[0], whole), False)):
        with pytest.raises(ValueError, match="must be labels beside the images") as error:
            mover(one)
        for word in words if batched else words[:1]:
            assert word in str(error.value)


def test_boxes_need_a_format_and_masks_hold_their_fill():
    with pytest.raises(
        ValueError, match=r"`bounding_box_format` of Pipeline must be one of 'xyxy'.*got None"
    ):
        Pipeline([augment.RandomFlip()])(element(bounding_boxes=BOX))
    pipeline = Pipeline([augment.RandomRotation(3)], fill_mode="constant", mask_fill_value=-1)
    with pytest.raises(ValueError, match=r"`mask_fill_value` of Pipeline .* uint8, got -1"):
        pipeline(element(segmentation_masks=IMAGES))
    with pytest.raises(ValueError, match="`min_visible` of Pipeline"):
        Pipeline([augment.RandomFlip()], min_visible=1.5)


def test_sizes_known_only_at_run_time_are_checked_there():
    pipeline = Pipeline([augment.RandomFlip(probability=1)], bounding_box_format="xyxy")

    def rows(height, boxes):
        yield {
            "images": IMAGES[0],
            "segmentation_masks": IMAGES[0, :height],
            "bounding_boxes": {"boxes": CORNERS[0], "labels": LABELS[0, :boxes]},
        }

    spec = {
        "images": tf.TensorSpec([None, None, 3], tf.uint8),
        "segmentation_masks": tf.TensorSpec([None, None, 3], tf.uint8),
        "bounding_boxes": {
            "boxes": tf.TensorSpec([None, 4], tf.float32),
            "labels": tf.TensorSpec([None], tf.int64),
        },
    }
    for args, words in (((HEIGHT, 4), None), ((5, 4), "segmentation_masks"), ((HEIGHT, 3), "bounding_boxes")):
        data = tf.data.Dataset.from_generator(rows, args=args, output_signature=spec)
        if words is None:
            (found,) = data.apply(pipeline)
            np.testing.assert_array_equal(found["segmentation_masks"], IMAGES[0, :, ::-1])
            np.testing.assert_allclose(
                found["bounding_boxes"]["boxes"][:, 0], WIDTH - CORNERS[0, :, 2], atol=1e-5
            )
        else:
            with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=f"`{words}` of Pipeline"):
                list(data.apply(pipeline))
