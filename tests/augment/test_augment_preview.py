"""What a preview draws is what the pipeline gives, and what lies on the images lies where it says."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import random_images
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kerasreg import augment
from kerasreg.augment import Pipeline

IMAGES = random_images(3, 10, 14)
MOVES = [augment.RandomFlip(), augment.RandomRotation(20), augment.RandomBrightness(0.2)]


def grid(figure, columns):
    return np.array(figure.axes).reshape(-1, columns)


def picture(panel):
    return np.asarray(panel.get_images()[0].get_array())


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline(MOVES, seed=3, bounding_box_format="xywh")


def test_a_column_is_a_draw(pipeline):
    loaded = "matplotlib.pyplot" in sys.modules
    figure = pipeline.preview(IMAGES, count=2, draws=3)
    assert ("matplotlib.pyplot" in sys.modules) == loaded
    assert isinstance(figure, Figure)
    panels = grid(figure, 4)
    assert panels.shape == (2, 4)
    assert [p.get_title() for p in panels[0]] == ["as it is", "draw 0", "draw 1", "draw 2"]
    for row in range(2):
        np.testing.assert_allclose(picture(panels[row, 0]), IMAGES[row] / 255, atol=1e-6)
        for k in range(3):
            expected = pipeline(IMAGES[:2], draw=k)[row] / 255
            np.testing.assert_allclose(picture(panels[row, 1 + k]), expected, atol=1e-6)
    assert np.abs(picture(panels[0, 1]) - picture(panels[0, 2])).max() > 0.1
    figure.canvas.draw()


@pytest.mark.parametrize(
    "transforms",
    [
        [augment.Rescale(1 / 127.5, -1)],
        [augment.Rescale.standardized([120, 110, 100], [60, 61, 62])],
        [augment.Rescale(-1 / 255, 1)],
    ],
)
def test_a_rescaled_image_looks_as_before(transforms):
    panels = grid(Pipeline(transforms).preview(IMAGES, count=1, draws=1), 2)
    expected = IMAGES[0] / 255
    if transforms[0].scale == -1 / 255:
        expected = 1 - expected
    np.testing.assert_allclose(picture(panels[0, 1]), expected, atol=1e-5)
    np.testing.assert_allclose(picture(panels[0, 0]), IMAGES[0] / 255, atol=1e-6)


def test_grey_images_floats_and_single_ones():
    pipeline = Pipeline([augment.RandomInvert(1)], value_range=(0, 1))
    grey = np.float32(IMAGES[0, ..., :1] / 255)
    panels = grid(pipeline.preview(grey, draws=1), 2)
    assert panels.shape == (1, 2)
    assert panels[0, 0].get_images()[0].get_clim() == (0, 1)
    np.testing.assert_allclose(picture(panels[0, 1]), 1 - grey[..., 0], atol=1e-6)


def element():
    masks = np.zeros((3, 10, 14), np.uint8)
    masks[:, 2:5, 3:9] = 2
    boxes = np.tile(np.float32([[3, 2, 6, 3], [0, 0, 0, 0]]), (3, 1, 1))
    return {
        "images": IMAGES,
        "segmentation_masks": masks,
        "bounding_boxes": {"boxes": boxes, "labels": np.tile(np.int32([1, -1]), (3, 1))},
        "keypoints": np.tile(np.float32([[3, 2, 2], [9, 5, 1], [1, 1, 0]]), (3, 1, 1)),
        "labels": np.int32([0, 1, 2]),
    }


def marks(panel):
    (box,) = [patch for patch in panel.patches if isinstance(patch, Rectangle)]
    corners = np.array([*box.get_xy(), box.get_width(), box.get_height()])
    (points,) = panel.lines
    return corners, np.array(points.get_data()).T, np.asarray(panel.get_images()[1].get_array())


def test_what_lies_on_an_image_is_drawn_where_it_lies(pipeline):
    panels = grid(pipeline.preview(element(), draws=2, class_names=["cat", "dog"]), 3)
    assert [row[0].get_title().split("\n")[-1] for row in panels] == ["cat", "dog", "2"]
    assert {text.get_text() for panel in panels.ravel() for text in panel.texts} == {"dog"}
    for row in range(3):
        assert panels[row, 0].get_xlim() == (0, 14)
        assert panels[row, 0].get_ylim() == (10, 0)
        corners, points, mask = marks(panels[row, 0])
        np.testing.assert_array_equal(corners, [3, 2, 6, 3])
        np.testing.assert_array_equal(points, [[3, 2], [9, 5]])
        np.testing.assert_array_equal(mask[..., 3] > 0, element()["segmentation_masks"][0] > 0)
        # The corners of the box are those of the mask, on the axes that both are drawn on.
        np.testing.assert_array_equal(panels[row, 0].get_images()[1].get_extent(), (0, 14, 10, 0))
        for k in range(2):
            out = pipeline(element(), draw=k)
            corners, points, mask = marks(panels[row, 1 + k])
            np.testing.assert_allclose(corners, out["bounding_boxes"]["boxes"][row, 0], atol=1e-5)
            seen = out["keypoints"][row].numpy()
            np.testing.assert_allclose(points, seen[seen[:, 2] > 0, :2], atol=1e-5)
            np.testing.assert_array_equal(mask[..., 3] > 0, out["segmentation_masks"][row] > 0)


def test_labels_of_every_kind():
    flip = Pipeline([augment.RandomFlip()])

    def titles(labels, **more):
        panels = grid(flip.preview(IMAGES, labels, draws=1, **more), 2)
        assert panels[0, 1].get_title().startswith("draw 0")
        return [panel.get_title().split("\n")[-1] for panel in panels[:, 1]]

    assert titles([4, 0, 1], class_names=["cat", "dog"]) == ["4", "cat", "dog"]
    assert titles(np.eye(3)) == ["0", "1", "2"]
    assert titles([[0.7, 0.3, 0], [0, 0, 1], [0.2, 0, 0.8]])[0] == "0 0.70, 1 0.30"
    assert titles(np.array([b"a", b"b", b"c"])) == ["a", "b", "c"]
    assert titles([0.25, 1.5, 2.0])[0] == "0.25"


def test_a_dataset_gives_its_first_images(pipeline):
    pairs = tf.data.Dataset.from_tensor_slices((IMAGES, [5, 6, 7]))
    for dataset in (pairs, pairs.batch(3), pairs.map(lambda x, y: {"images": x, "labels": y})):
        panels = grid(pipeline.preview(dataset, count=2, draws=1), 2)
        assert [row[0].get_title().split("\n")[-1] for row in panels] == ["5", "6"]
        np.testing.assert_allclose(picture(panels[1, 0]), IMAGES[1] / 255, atol=1e-6)


def test_lists_and_tuples_are_taken_as_they_are_typed():
    flip = Pipeline([augment.RandomFlip()])
    for batch in ((IMAGES, [7, 8, 9]), (IMAGES.tolist(), [7, 8, 9]), (IMAGES, [7, 8, 9], [1.0, 1.0, 1.0])):
        panels = grid(flip.preview(batch, count=2, draws=1), 2)
        assert [row[0].get_title().split("\n")[-1] for row in panels] == ["7", "8"]


def test_images_of_different_sizes_are_refused():
    sizes = tf.data.Dataset.range(4, 8).map(lambda n: tf.zeros([n, 5, 3]))
    with pytest.raises(ValueError, match="different shapes"):
        Pipeline([augment.RandomFlip()]).preview(sizes)


def test_mixed_labels_are_shown_after_the_mix():
    mix = Pipeline([augment.MixUp(num_classes=3)])
    panels = grid(mix.preview(IMAGES, labels=[0, 1, 2], draws=1), 2)
    labels = mix((IMAGES, np.array([0, 1, 2])), draw=0)[1].numpy()
    top = labels[0].argmax()
    assert f"{top}" in panels[0, 1].get_title()
    assert panels[0, 0].get_title() == "as it is\n0"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: p.preview(IMAGES, count=0), ["count", "0"]),
        (lambda p: p.preview(IMAGES, draws=1.5), ["draws", "1.5"]),
        (lambda p: p.preview(IMAGES, labels=[1, 2]), ["labels", "3 images", "(2,)"]),
        (lambda p: p.preview((IMAGES, [1, 2, 3]), labels=[1, 2, 3]), ["labels"]),
        (lambda p: p.preview(IMAGES[0, 0]), ["images", "shape"]),
        (lambda p: p.preview(IMAGES, class_names="cat"), ["class_names", "cat"]),
        (lambda p: p.preview(tf.data.Dataset.from_tensor_slices(IMAGES[:0])), ["images", "empty"]),
        (lambda p: p.preview({"pictures": IMAGES}), ["'images'", "'pictures'"]),
    ],
)
def test_bad_input_is_one_sentence(call, words):
    with pytest.raises(ValueError, match="must be") as caught:
        call(Pipeline([augment.RandomFlip()]))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_boxes_need_their_format():
    with pytest.raises(ValueError, match="bounding_box_format"):
        Pipeline([augment.RandomBrightness(0.1)]).preview(element(), draws=1)
