"""MixUp and CutMix: against NumPy and SciPy, and what becomes of labels of every kind."""

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn, random_images
from scipy import stats
from targets_oracle import outcome

import kerasreg as kr
from kerasreg import augment
from kerasreg.augment import CutMix, MixUp, Pipeline
from kerasreg.augment.mix import cut_rectangles, partners

COUNT, SIZE = 9, (10, 14)
IMAGES = random_images(COUNT, *SIZE)
SPARSE = np.arange(COUNT) % 4
ONE_HOT = np.eye(4, dtype=np.float64)[SPARSE]


def shares(transform, count, size=SIZE):
    pipeline = Pipeline([transform])
    (step,) = pipeline.explain().mixes
    return {k: v.numpy() for k, v in step.pairs(drawn(pipeline, count), size, tf.constant(count)).items()}


def test_partners_are_a_permutation_of_the_real_rows():
    rng = np.random.default_rng(0)
    counts = np.zeros((5, 5))
    for _ in range(400):
        found = partners(tf.constant(rng.uniform(size=8), tf.float32), tf.constant(5, tf.int64)).numpy()
        assert sorted(found[:5]) == [0, 1, 2, 3, 4]
        assert sorted(found[5:]) == [5, 6, 7]
        counts[np.arange(5), found[:5]] += 1
    # 80 each on average.
    assert stats.chi2.sf(np.sum((counts - 80) ** 2 / 80), 16) > 1e-3


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_of_mixup_are_beta(alpha):
    own = shares(MixUp(alpha), 2000)["own"]
    assert stats.kstest(own, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_the_parts_of_cutmix_are_yuns():
    found = shares(CutMix(0.7), 3000)
    uniform = drawn(Pipeline([CutMix(0.7)]), 3000).numpy()
    wish = stats.beta(0.7, 0.7).ppf(uniform[:, 2])
    for i in range(3000):
        edges = []
        for side, place in zip(SIZE, uniform[i, 3:], strict=True):
            cut, middle = int(side * np.sqrt(1 - wish[i])), int(place * side)
            edges += [np.clip(middle - cut // 2, 0, side), np.clip(middle - cut // 2 + cut, 0, side)]
        ours = [found[edge][i] for edge in ("top", "bottom", "left", "right")]
        # A length on the border of two whole numbers may be either.
        assert np.abs(np.subtract(ours, edges)).max() <= 1
        own = 1 - (ours[1] - ours[0]) * (ours[3] - ours[2]) / np.prod(SIZE)
        np.testing.assert_allclose(found["own"][i], own, atol=1e-6)
    places = uniform[:, 3] * SIZE[0]
    assert stats.kstest(places / SIZE[0], "uniform").pvalue > 1e-3


def test_a_rectangle_of_nothing_and_one_of_everything():
    own, middle = tf.constant([1.0, 0.0]), tf.constant([0.5, 0.5])
    top, bottom, left, right = cut_rectangles(own, middle, middle, SIZE)
    assert ((bottom - top) * (right - left)).numpy().tolist() == [0, 140]


@pytest.mark.parametrize("labels", [SPARSE, SPARSE[:, None].astype("int8"), ONE_HOT, np.float16(ONE_HOT)])
def test_mixup_is_the_formula_for_labels_of_every_kind(labels):
    pipeline = Pipeline([MixUp(0.8, num_classes=4)])
    found = outcome(pipeline, {"images": IMAGES, "labels": labels})
    pairs = found["pairs"]["MixUp"]
    own, partner = pairs["own"], pairs["partner"]
    assert len(set(partner)) == COUNT
    assert np.any(partner != np.arange(COUNT))
    wide = own[:, None, None, None]
    np.testing.assert_allclose(found["images"], wide * IMAGES + (1 - wide) * IMAGES[partner], atol=1e-3)
    expected = own[:, None] * ONE_HOT + (1 - own[:, None]) * ONE_HOT[partner]
    np.testing.assert_allclose(found["labels"], expected, atol=1e-6)
    assert found["labels"].dtype == np.float32


def test_targets_that_are_no_classes_are_averaged_as_they_stand():
    targets = np.random.default_rng(0).normal(size=(COUNT, 5, 2))
    found = outcome(Pipeline([MixUp(0.8)]), {"images": IMAGES, "labels": targets})
    pairs = found["pairs"]["MixUp"]
    own = pairs["own"][:, None, None]
    expected = own * targets + (1 - own) * targets[pairs["partner"]]
    np.testing.assert_allclose(found["labels"], expected, atol=1e-6)


def test_cutmix_labels_count_the_pixels_that_are_seen():
    flat = np.broadcast_to(np.arange(COUNT, dtype=np.uint8)[:, None, None, None], (COUNT, *SIZE, 1))
    classes = np.arange(COUNT)
    found = outcome(
        Pipeline([CutMix(num_classes=COUNT)]), {"images": flat, "labels": classes, "segmentation_masks": flat}
    )
    seen = (found["images"] == classes).mean((1, 2))
    np.testing.assert_allclose(found["labels"], seen, atol=1e-6)
    assert np.sum((seen > 0) & (seen < 1)) > COUNT
    assert found["segmentation_masks"].dtype == np.uint8
    np.testing.assert_array_equal(found["segmentation_masks"], found["images"])


def test_the_order_of_the_list_is_kept():
    before, after = augment.RandomFlip("both"), augment.RandomTranslation((0.5, 0.5))
    found = outcome(
        Pipeline([before, CutMix(), after]),
        {"images": IMAGES, "labels": ONE_HOT, "segmentation_masks": IMAGES},
    )
    pairs = found["pairs"]["CutMix"]
    flipped = outcome(Pipeline([before]), {"images": IMAGES})["images"]
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    top, bottom, left, right = (pairs[e][:, None, None] for e in ("top", "bottom", "left", "right"))
    inside = ((y >= top) & (y < bottom) & (x >= left) & (x < right))[..., None]
    mixed = np.where(inside, flipped[pairs["partner"]], flipped)
    moved = outcome(Pipeline([after]), {"images": mixed})["images"]
    np.testing.assert_allclose(found["images"], moved, atol=1e-3)
    np.testing.assert_array_equal(found["segmentation_masks"], found["images"])
    assert np.abs(outcome(Pipeline([before, after]), {"images": IMAGES})["images"] - moved).max() > 1


def test_two_mixes_act_one_after_the_other():
    found = outcome(Pipeline([MixUp(1.0, 4), CutMix()]), {"images": IMAGES, "labels": SPARSE})
    expected = ONE_HOT
    for name in ("MixUp", "CutMix"):
        own, partner = found["pairs"][name]["own"][:, None], found["pairs"][name]["partner"]
        expected = own * expected + (1 - own) * expected[partner]
    np.testing.assert_allclose(found["labels"], expected, atol=1e-6)


@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_images_that_are_not_drawn_stay(kind):
    found = outcome(Pipeline([kind(num_classes=4, probability=0.5)]), {"images": IMAGES, "labels": SPARSE})
    fires = next(iter(found["pairs"].values()))["fires"]
    assert 0 < fires.sum() < COUNT
    np.testing.assert_array_equal(found["images"][~fires], IMAGES[~fires])
    np.testing.assert_array_equal(found["labels"][~fires], ONE_HOT[~fires])


def test_a_dataset_is_mixed_in_its_batches_and_never_with_padding():
    whole = (np.full((COUNT, *SIZE, 3), 200, np.uint8), SPARSE, np.linspace(0, 1, COUNT))
    pipeline = Pipeline([augment.RandomFlip(), MixUp(1.0, num_classes=4), CutMix()], dtype="uint8")
    data = tf.data.Dataset.from_tensor_slices(whole).batch(4).apply(pipeline)
    assert data.element_spec[1] == tf.TensorSpec([None, 4], tf.float32)
    epochs = [
        [np.concatenate(part) for part in zip(*data.as_numpy_iterator(), strict=True)] for _ in range(2)
    ]
    for images, labels, weights in epochs:
        assert images.dtype == np.uint8
        assert np.all(images == 200)
        np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
        np.testing.assert_array_equal(weights, whole[2])
        # The last batch is a single image, its own partner.
        np.testing.assert_allclose(labels[-1], ONE_HOT[-1], atol=1e-6)
        # Within a batch, every label keeps its weight but for what the shares move.
        assert np.abs(labels[:8] - ONE_HOT[:8]).max() > 0.1
    assert np.abs(epochs[0][1] - epochs[1][1]).max() > 0.1
    again = np.concatenate(
        [one[1] for one in tf.data.Dataset.from_tensor_slices(whole).batch(4).apply(pipeline)]
    )
    np.testing.assert_array_equal(again, epochs[0][1])


def labelled(labels):
    return {"images": IMAGES, "labels": labels}


@pytest.mark.parametrize(
    ("transforms", "element", "words"),
    [
        ([MixUp()], IMAGES, ["(images, labels)", "for MixUp", "no labels"]),
        ([MixUp()], {"images": IMAGES}, ["no labels"]),
        ([MixUp()], (IMAGES, SPARSE), ["`num_classes`", "for integer labels"]),
        ([MixUp(num_classes=3)], (IMAGES, SPARSE), ["`labels`", "from 0 to 2", "got 3"]),
        ([CutMix(num_classes=4)], (IMAGES, SPARSE - 1), ["`labels`", "from 0 to 3", "got -1"]),
        ([MixUp(num_classes=4)], labelled(np.float32(SPARSE)), ["`labels`", "float32 of shape (9,)"]),
        ([MixUp(num_classes=4)], labelled(np.int64(ONE_HOT)), ["`labels`", "(9, 4)", "cast one-hot"]),
        ([MixUp(num_classes=5)], labelled(ONE_HOT), ["`labels`", "5 classes", "(9, 4)"]),
        ([MixUp(num_classes=4)], labelled(SPARSE > 1), ["`labels`", "bool"]),
        ([MixUp(num_classes=4)], (IMAGES, {"a": SPARSE}), ["`labels`", "one tensor", "dict"]),
        ([MixUp(num_classes=4)], (labelled(SPARSE), SPARSE), ["labels in one place"]),
        ([MixUp()], {**labelled(ONE_HOT), "segmentation_masks": IMAGES}, ["without 'segmentation_masks'"]),
        ([MixUp(), CutMix()], {**labelled(ONE_HOT), "segmentation_masks": IMAGES}, ["'segmentation_masks'"]),
        ([CutMix()], {**labelled(ONE_HOT), "keypoints": IMAGES}, ["without 'keypoints' for CutMix"]),
        ([CutMix()], {**labelled(ONE_HOT), "bounding_boxes": IMAGES}, ["without 'bounding_boxes'"]),
    ],
)
def test_what_cannot_be_mixed_is_one_sentence(transforms, element, words):
    pipeline = Pipeline(transforms)
    for refused in (lambda: pipeline(element), lambda: tf.data.Dataset.from_tensors(element).apply(pipeline)):
        with pytest.raises(ValueError, match="must be") as error:
            refused()
        for word in words:
            assert word in str(error.value)
        assert "\n" not in str(error.value)


def test_single_images_are_told_to_be_batched():
    data = tf.data.Dataset.from_tensor_slices((IMAGES, SPARSE))
    with pytest.raises(ValueError, match="a batch for MixUp, got single images; batch the dataset first"):
        data.apply(Pipeline([MixUp(num_classes=4)]))
    with pytest.raises(ValueError, match="a batch for CutMix"):
        Pipeline([CutMix()])((IMAGES[0], ONE_HOT[0]))


def test_a_later_label_that_is_no_class_stops_the_dataset():
    labels = np.r_[SPARSE[:8], 4]
    data = (
        tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(4).apply(Pipeline([MixUp(num_classes=4)]))
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="whole numbers from 0 to 3 for MixUp"):
        list(data)


def test_arguments_are_checked():
    for make, words in (
        (lambda: MixUp(0), "`alpha` of MixUp must be a finite number above 0, got 0"),
        (lambda: CutMix(num_classes=1), "`num_classes` of CutMix must be a whole number of at least 2"),
        (lambda: Pipeline([MixUp(num_classes=3), CutMix(num_classes=4)]), "3 of MixUp, 4 of CutMix"),
    ):
        with pytest.raises(ValueError, match=words):
            make()


def test_explain_says_what_becomes_of_the_labels():
    told = str(Pipeline([augment.RandomFlip(), MixUp(num_classes=10), augment.Rescale(1 / 255)]).explain())
    assert "2. mix: MixUp -> with another image of the batch" in told
    assert "labels: mixed by the same shares, returned as float32 (batch, 10)" in told
    assert "apart from the step before: MixUp takes the finished pixels of another image" in told


@pytest.mark.parametrize("dense", [False, True])
def test_tta_refuses_mixtures(dense):
    pipeline = Pipeline([augment.RandomFlip(), MixUp()])
    with pytest.raises(ValueError, match="a pipeline that mixes no images, got MixUp; leave these out"):
        kr.tta_predict(None, IMAGES, pipeline, dense=dense)
