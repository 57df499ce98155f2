"""Policies: which member acts on which image, and that what it does is what it does on its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import drawn, first_draw, random_images
from policy_oracle import apply_operation, picked
from scipy import stats

import kerasreg as kr
from kerasreg import augment
from kerasreg.augment import Pipeline, RandAugment, RandomChoice, TrivialAugment
from kerasreg.augment.choice import carry_out, find_work
from kerasreg.augment.draws import uniforms
from kerasreg.augment.execute import chain_matrix, execute
from kerasreg.augment.operations import OPERATIONS
from kerasreg.augment.plan import make_plan

IMAGES = random_images(6, 18, 17)
IMAGES[1:4] = IMAGES[1:4] // 3 + 40


def firing(transforms, count=4000, seed=0):
    """For each step of a plan, by its name, which images it acts on."""
    plan = Pipeline(transforms, seed=seed).explain()
    uniform = uniforms(seed, plan.lanes, tf.constant(0, tf.int64), tf.range(count, dtype=tf.int64))
    return {step.name: step.fires(uniform).numpy() for step in plan.steps}


ALONE = [
    augment.RandomRotation(40),
    augment.RandomFlip("both"),
    augment.RandomContrast(0.9),
    augment.RandomSaturation(0.9),
    augment.RandomPosterize((1, 5), probability=0.7),
    augment.RandomEqualize(0.7),
    augment.RandomAutoContrast(0.7),
    augment.RandomSharpness(0.9),
    augment.RandomGaussianBlur((0.5, 1.5)),
    augment.RandomGaussianNoise(0.1),
    augment.RandomErasing(0.25),
]


@pytest.mark.parametrize("transform", ALONE, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("exact", [False, True])
def test_a_member_that_is_always_drawn_does_what_it_does_alone(transform, exact):
    never = augment.RandomSolarize(0.5, probability=1)
    pipeline = Pipeline([RandomChoice([transform, never], weights=[1, 0])], exact=exact)
    step = pipeline.explain().steps[0]
    columns = drawn(pipeline, 6)[:, step.lane : step.lane + transform.lanes]
    expected = execute(
        make_plan([transform], ["alone"], "reflect", 0.0, (0, 255), "float32"), IMAGES, columns
    ).numpy()
    out = first_draw(pipeline.transforms, IMAGES, exact=exact)
    np.testing.assert_allclose(out, expected, atol=1e-3)
    assert np.abs(out - IMAGES).max() > 1


@pytest.mark.parametrize("exact", [False, True])
def test_rand_augment_is_the_operations_that_it_draws(exact):
    images = np.concatenate([random_images(30, 18, 17), random_images(30, 18, 17) // 3 + 40])
    pipeline = Pipeline([RandAugment(n=2, magnitude=19)], exact=exact)
    uniform = drawn(pipeline, 60)
    steps = pipeline.explain().steps
    out = first_draw(pipeline.transforms, images, exact=exact)
    changed, seen = 0, set()
    for i, image in enumerate(images):
        chosen = picked(steps, uniform, i)
        assert len({step.name.split("/")[1] for step in chosen}) == len(chosen)
        seen |= {step.name.split("/")[2] for step in chosen}
        if not exact:
            chosen.sort(key=lambda step: not isinstance(step.transform, augment.GeometricTransform))
        expected = apply_operation(image, chosen, uniform[i], magnitude=19, one_by_one=exact)
        names = [step.name.split("/")[2] for step in chosen]
        # On the edge between two levels the last bit decides, and a level more or less moves a histogram.
        close = np.abs(out[i] - expected) < (3 if "Equalize" in names else 0.1)
        assert close.mean() > 0.97, f"{names}: {close.mean()}"
        changed += np.abs(out[i] - image).max() > 1
    assert seen == set(OPERATIONS) - {"Identity"}
    assert changed > 50


def test_every_operation_is_drawn_as_often_and_each_round_on_its_own():
    first, second = (
        {name.split("/")[2]: acts for name, acts in firing([RandAugment()]).items() if f"/{r}/" in name}
        for r in "01"
    )
    assert set(first) == set(OPERATIONS) - {"Identity"}
    chosen = []
    for members in (first, second):
        together = np.stack(list(members.values()))
        assert together.sum(0).max() == 1
        counts = [*together.sum(1), 4000 - together.sum()]
        assert stats.chisquare(counts).pvalue > 1e-3
        chosen.append(np.where(together.any(0), together.argmax(0), 13))
    table = np.zeros((14, 14))
    np.add.at(table, tuple(chosen), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3
    # In one batch of 32 images, too.
    assert len(set(chosen[0][:32])) > 6


def test_weights_are_the_shares():
    transforms = [
        augment.RandomRotation(5),
        augment.RandomShear(0.1),
        augment.RandomPosterize(3, probability=1),
    ]
    acts = firing([RandomChoice(transforms, weights=[0.2, 0.5, 0.3])])
    counts = [fires.sum() for fires in acts.values()]
    assert sum(counts) == 4000
    assert stats.chisquare(counts, [800, 2000, 1200]).pvalue > 1e-3
    acts = firing([RandomChoice(transforms, probability=0.25)])
    assert abs(sum(fires.sum() for fires in acts.values()) - 1000) < 120


def test_a_member_keeps_its_own_probability():
    acts = firing([RandomChoice([augment.RandomRotation(5, probability=0.5), augment.RandomShear(0.1)])])
    assert abs(acts["RandomChoice/0/RandomRotation"].sum() - 1000) < 120
    assert abs(acts["RandomChoice/0/RandomShear"].sum() - 2000) < 130


def test_what_is_added_does_not_reshuffle_the_others():
    few = [augment.RandomRotation(5), augment.RandomShear(0.1), augment.RandomZoom(0.1)]
    before = firing([RandomChoice(few)])
    behind = firing([augment.RandomFlip(), RandomChoice(few)])
    for name, fires in before.items():
        np.testing.assert_array_equal(behind[name], fires)
    after = firing([RandomChoice([augment.RandomErasing(), *few])])
    new = after["RandomChoice/0/RandomErasing"]
    assert 800 < new.sum() / 0.5 < 1200
    for name, fires in before.items():
        # An image may only have gone to the new one.
        assert not np.any(after[name] & ~fires)
        assert abs((fires & ~after[name]).sum() - 333) < 90
    columns = [Pipeline([RandomChoice(m)]).explain() for m in (few, [augment.RandomErasing(), *few])]
    numbers = [
        {
            s.name: s.numbers(uniforms(0, p.lanes, tf.constant(0, tf.int64), tf.range(9, dtype=tf.int64)))
            for s in p.steps
        }
        for p in columns
    ]
    for name in before:
        np.testing.assert_array_equal(numbers[0][name], numbers[1][name])


def test_two_policies_of_a_kind_draw_on_their_own():
    acts = firing([TrivialAugment(), TrivialAugment()])
    a, b = acts["TrivialAugment/0/Rotate"], acts["TrivialAugment_1/0/Rotate"]
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.08
    assert a.any()


def test_signs_are_tossed_and_magnitudes_are_as_said():
    plan = Pipeline([RandAugment(n=1, magnitude=30, operations=["Rotate"])]).explain()
    uniform = uniforms(0, plan.lanes, tf.constant(0, tf.int64), tf.range(500, dtype=tf.int64))
    matrices = chain_matrix(plan.geometry, uniform, 20, 20).numpy()
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    np.testing.assert_allclose(np.abs(angles), 30, atol=1e-3)
    assert 200 < (angles > 0).sum() < 300
    plan = Pipeline([TrivialAugment(operations=["Rotate"])]).explain()
    matrices = chain_matrix(plan.geometry, uniform, 20, 20).numpy()
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert stats.kstest(angles, stats.uniform(-135, 270).cdf).pvalue > 1e-3


def test_trivial_augment_shifts_by_pixels():
    for wide, reach in ((True, 32), (False, 10)):
        plan = Pipeline([TrivialAugment(wide, operations=["TranslateX"])]).explain()
        uniform = uniforms(0, plan.lanes, tf.constant(0, tf.int64), tf.range(500, dtype=tf.int64))
        right = -chain_matrix(plan.geometry, uniform, 100, 200).numpy()[:, 0, 2]
        assert stats.kstest(right, stats.uniform(-reach, 2 * reach).cdf).pvalue > 1e-3


def test_a_magnitude_of_zero_is_nothing_to_be_seen():
    kept = [name for name in OPERATIONS if name not in ("AutoContrast", "Equalize")]
    policy = RandAugment(n=3, magnitude=0, operations=kept)
    np.testing.assert_allclose(first_draw([policy], IMAGES), IMAGES, atol=1e-2)


def test_images_of_one_channel_and_of_another_range_are_as_good():
    policy = [RandAugment(n=2, magnitude=15)]
    grey = first_draw(policy, IMAGES[..., :1])
    assert grey.shape == (6, 18, 17, 1)
    three = first_draw(policy, np.repeat(IMAGES[..., :1], 3, -1))
    np.testing.assert_allclose(grey, three[..., :1], atol=1e-2)
    small = first_draw(policy, (IMAGES / 255).astype("float32"), value_range=(0, 1))
    np.testing.assert_allclose(small * 255, first_draw(policy, IMAGES), atol=0.05)


def test_compiled_is_what_the_operations_give():
    members = ["ShearX", "Color", "Contrast", "Solarize", "Sharpness", "Equalize"]
    transforms = [augment.RandomFlip(), RandAugment(2, 15, members), augment.Rescale()]
    np.testing.assert_allclose(
        Pipeline(transforms)(IMAGES, draw=0), first_draw(transforms, IMAGES), atol=1e-3
    )


def test_no_draw_is_a_constant_of_the_compilation():
    # A slice whose place follows from the draws would be compiled anew for each draw.
    plan = Pipeline([RandAugment(operations=["Color", "Equalize"])]).explain()
    rounds = plan.segments[-1].rounds

    @tf.function
    def run(images, uniform):
        return carry_out(rounds, images, find_work(rounds, uniform))

    graph = run.get_concrete_function(
        tf.TensorSpec([4, 8, 8, 3]), tf.TensorSpec([4, len(plan.lanes)])
    ).graph.as_graph_def()
    slices = 0
    for function in graph.library.function:
        if "while_body" not in function.signature.name:
            continue  # Inside a branch, places follow from shapes.
        constants = {node.name for node in function.node_def if node.op == "Const"}
        for node in function.node_def:
            if node.op == "StridedSlice":
                assert {name.split(":")[0] for name in node.input[1:]} <= constants, node.name
                slices += 1
    assert slices


def test_a_policy_may_choose_among_policies():
    inner = RandAugment(n=2, operations=["Rotate", "Equalize", "Color"])
    outer = RandomChoice([inner, augment.RandomPosterize(2, probability=1), TrivialAugment()])
    acts = firing([outer])
    rounds = [name.rpartition("/")[0] for name in acts]
    assert set(rounds) == {
        "RandomChoice/0",
        "RandomChoice/0/RandAugment/0",
        "RandomChoice/0/RandAugment/1",
        "RandomChoice/0/TrivialAugment/0",
    }
    by_branch = {}
    for name, fires in acts.items():
        branch = name.split("/")[2]
        by_branch[branch] = by_branch.get(branch, 0) + fires.astype(int)
    assert by_branch["RandAugment"].max() == 2
    assert np.all(sum(count > 0 for count in by_branch.values()) <= 1)
    assert abs((by_branch["RandAugment"] > 0).sum() - 1333) < 130
    assert np.abs(first_draw([outer], IMAGES) - IMAGES).max() > 1


def test_keypoints_go_where_the_drawn_transform_takes_them():
    images = np.zeros((8, 9, 12, 1), np.uint8)
    images[:, 2, 3] = 255
    flips = RandomChoice([augment.RandomFlip(probability=1), augment.RandomFlip("vertical", probability=1)])
    element = {"images": images, "keypoints": np.tile(np.float32([[[3.5, 2.5]]]), (8, 1, 1))}
    out = Pipeline([flips])(element, draw=0)
    places = [tuple(np.argwhere(image[..., 0] > 0)[0][::-1]) for image in out["images"].numpy()]
    assert set(places) == {(8, 2), (3, 6)}
    np.testing.assert_allclose(np.asarray(out["keypoints"])[:, 0, :2], np.array(places) + 0.5, atol=1e-4)


def test_dense_predictions_are_led_back_through_a_policy():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
    x = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype("float32")
    flips = RandomChoice([augment.RandomFlip(probability=1), augment.RandomFlip("vertical", probability=1)])
    prediction = kr.tta_predict(model, x, Pipeline([flips]), samples=3, seed=0, dense=True)
    np.testing.assert_allclose(prediction.mean, x, atol=1e-2)
    hidden = RandomChoice([augment.RandomErasing(), augment.RandomFlip()])
    with pytest.raises(ValueError, match="RandomErasing"):
        kr.tta_predict(model, x, Pipeline([hidden]), samples=3, dense=True)


def test_a_plan_of_a_policy_is_readable():
    plan = Pipeline([augment.RandomFlip(), RandAugment(), augment.Rescale()]).explain()
    text = str(plan)
    assert "3 transforms in 3 steps" in text
    assert "RandAugment: ShearX, ShearY, TranslateX, TranslateY, Rotate\n" in text
    assert "RandAugment, 2 rounds" in text
    assert "resamples per image: 1 (one transform at a time: 2)" in text
    assert max(map(len, text.splitlines())) <= 110
    exact = Pipeline([RandAugment()], exact=True).explain()
    assert exact.resamples == 2


def test_a_saved_policy_draws_the_same():
    choice = RandomChoice(
        [RandAugment(3, 12, operations=["Rotate", "Color"]), augment.RandomErasing()], [0.5, 0.5], name="one"
    )
    pipeline = Pipeline([choice, TrivialAugment(False)], seed=4)
    config = keras.saving.serialize_keras_object(pipeline)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == pipeline.get_config()
    assert repr(again) == repr(pipeline)
    out = first_draw(again.transforms, IMAGES, seed=4)
    np.testing.assert_array_equal(out, first_draw(pipeline.transforms, IMAGES, seed=4))


FLIP = augment.RandomFlip()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomChoice([]), ["transforms", "[]"]),
        (lambda: RandomChoice([FLIP]), ["transforms", "two or more"]),
        (lambda: RandomChoice([FLIP, augment.RandomFlip]), ["transforms", "parentheses"]),
        (lambda: RandomChoice([FLIP, augment.Rescale()]), ["Rescale", "units"]),
        (lambda: RandomChoice([FLIP, augment.RandomCrop((8, 8))]), ["RandomCrop", "size"]),
        (lambda: RandomChoice([FLIP, augment.MixUp()]), ["MixUp", "transforms"]),
        (lambda: RandomChoice([FLIP, augment.AugMix()]), ["AugMix", "transforms"]),
        (
            lambda: RandomChoice([FLIP, augment.RandomZoom(0.1, name="RandomFlip")]),
            ["RandomChoice", "RandomFlip"],
        ),
        (lambda: RandomChoice([FLIP, augment.RandomErasing()], [1.0]), ["weights", "[1.0]"]),
        (lambda: RandomChoice([FLIP, augment.RandomErasing()], [0.5, 0.6]), ["weights", "1.1"]),
        (lambda: RandomChoice([FLIP, augment.RandomErasing()], [1.5, -0.5]), ["weights", "-0.5"]),
        (lambda: RandAugment(0), ["n", "0"]),
        (lambda: RandAugment(1.5), ["n", "1.5"]),
        (lambda: RandAugment(magnitude=31), ["magnitude", "31"]),
        (lambda: RandAugment(operations=[]), ["operations", "[]"]),
        (lambda: RandAugment(operations=["Rotate", "Rotate"]), ["operations", "different"]),
        (lambda: RandAugment(operations=["Rotation"]), ["operations", "'Rotation'", "'Rotate'"]),
        (lambda: TrivialAugment(operations=["Identity"]), ["operations", "Identity"]),
        (lambda: TrivialAugment(wide=1), ["wide", "1"]),
    ],
)
def test_bad_input_is_one_sentence(make, words):
    with pytest.raises(ValueError, match="Argument `") as caught:
        make()
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_colours_of_a_policy_stand_before_a_rescale_of_single_channels():
    with pytest.raises(ValueError, match="RandAugment"):
        Pipeline([augment.Rescale([1.0, 2.0, 1.0]), RandAugment()])
