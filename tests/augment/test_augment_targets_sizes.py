"""Masks, boxes and keypoints where images change their size or are seen from the side."""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import random_images
from hypothesis import given, settings
from hypothesis import strategies as st
from targets_oracle import area, matrices, numpy_boxes, numpy_points, outcome

from kerasreg import augment
from kerasreg.augment import Pipeline
from kerasreg.augment.targets.formats import from_corners, to_corners

SIZE = HEIGHT, WIDTH = 20, 28
COUNT = 6
IMAGES = random_images(COUNT, HEIGHT, WIDTH)
RNG = np.random.default_rng(5)
ENDS = RNG.uniform(0, 1, (COUNT, 5, 2, 2)) * [WIDTH - 4, HEIGHT - 4]
CORNERS = np.float32(np.concatenate([ENDS.min(2), ENDS.max(2) + 3], -1))
LABELS = np.arange(COUNT * 5).reshape(COUNT, 5)

WHOLE = [
    [augment.RandomCrop((9, 13)), augment.RandomFlip("both")],
    [augment.RandomCrop(24, padding=6)],
    [augment.RandomCrop(16), augment.RandomSolarize(0.5, probability=0), augment.RandomCrop(16, padding=5)],
]


@pytest.mark.parametrize("fill_mode", ["reflect", "constant", "wrap", "nearest"])
@pytest.mark.parametrize("transforms", WHOLE)
def test_masks_are_cut_as_their_images_are(transforms, fill_mode):
    pipeline = Pipeline(transforms, fill_mode=fill_mode)
    found = outcome(pipeline, {"images": IMAGES, "segmentation_masks": IMAGES})
    crop = transforms[-1 if len(transforms) == 3 else 0]
    assert found["segmentation_masks"].shape == (COUNT, *crop.size, 3)
    assert found["segmentation_masks"].dtype == np.uint8
    np.testing.assert_array_equal(found["segmentation_masks"], found["images"])


CHAINS = st.lists(
    st.sampled_from(
        [
            lambda: augment.RandomCrop((15, 18), pad_if_needed=True),
            lambda: augment.RandomResizedCrop((24, 17), area=(0.3, 1)),
            lambda: augment.RandomPerspective(0.5, probability=1),
            lambda: augment.RandomRotation(30),
            lambda: augment.RandomFlip(),
        ]
    ),
    min_size=1,
    max_size=3,
    unique_by=id,
)


@settings(max_examples=8, deadline=None)
@given(chain=CHAINS, seed=st.integers(0, 1000), box_format=st.sampled_from(["xyxy", "rel_center_xywh"]))
def test_boxes_and_points_follow_into_the_new_size(chain, seed, box_format):
    first = augment.RandomResizedCrop((18, 22), area=(0.5, 1), name="first")
    transforms = [first, *(make() for make in chain)]
    pipeline = Pipeline(transforms, seed)
    after = (18, 22)
    for transform in transforms:
        after = transform.size_after(after)
    assert_followed(pipeline, after, box_format)


@pytest.mark.parametrize(
    "policy",
    [
        augment.RandAugment(2),
        augment.TrivialAugment(),
        augment.RandomChoice([augment.RandomFlip("both", probability=1), augment.RandomShear(0.3)]),
    ],
)
def test_boxes_and_points_follow_what_a_policy_chose(policy):
    assert_followed(Pipeline([augment.RandomRotation(20), policy], seed=2), SIZE, "xyxy")


def assert_followed(pipeline, after, box_format):
    """Boxes and points of a first draw are where NumPy takes them."""
    config = {**pipeline.get_config(), "bounding_box_format": box_format, "min_visible": 0.25}
    pipeline = Pipeline.from_config(config)
    boxes = {"boxes": from_corners(tf.constant(CORNERS), box_format, SIZE).numpy(), "labels": LABELS}
    points = np.float32(np.concatenate([CORNERS[..., :2], np.full((COUNT, 5, 1), 2)], -1))
    found = outcome(pipeline, {"images": IMAGES, "bounding_boxes": boxes, "keypoints": points})
    assert found["images"].shape[1:3] == after
    moved, labels = found["bounding_boxes"]["boxes"], found["bounding_boxes"]["labels"]
    moved = to_corners(tf.constant(moved), box_format, after).numpy()
    for i, matrix in enumerate(matrices(pipeline, COUNT, *SIZE)):
        hull, cut = numpy_boxes(CORNERS[i], matrix, SIZE, after)
        share = area(cut) / area(hull)
        sure, kept = abs(share - 0.25) > 1e-3, share >= 0.25
        np.testing.assert_array_equal(labels[i][sure], np.where(kept, LABELS[i], -1)[sure])
        np.testing.assert_allclose(moved[i][sure & kept], cut[sure & kept], atol=5e-3)
        places = numpy_points(points[i, :, :2], matrix, SIZE, after)
        np.testing.assert_allclose(found["keypoints"][i, :, :2], places, atol=5e-3, rtol=1e-4)
        inside = np.all((places >= 0) & (places <= [after[1], after[0]]), -1)
        np.testing.assert_array_equal(found["keypoints"][i, :, 2], 2 * inside)


def test_a_dataset_of_new_sizes_has_static_shapes():
    element = {
        "images": IMAGES,
        "segmentation_masks": np.int32(IMAGES[..., 0]),
        "bounding_boxes": {"boxes": CORNERS, "labels": LABELS},
    }
    pipeline = Pipeline([augment.RandomCrop((9, 13))], bounding_box_format="xywh", min_visible=0)
    element["bounding_boxes"]["boxes"] = from_corners(tf.constant(CORNERS), "xywh", SIZE).numpy()
    data = tf.data.Dataset.from_tensor_slices(element).batch(4).apply(pipeline)
    assert data.element_spec["segmentation_masks"] == tf.TensorSpec([None, 9, 13], tf.int32)
    for batch in data:
        np.testing.assert_array_equal(batch["segmentation_masks"], batch["images"][..., 0])
        boxes = batch["bounding_boxes"]["boxes"].numpy()
        assert np.all(boxes[..., :2] + boxes[..., 2:] <= [13.001, 9.001])
