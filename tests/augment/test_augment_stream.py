"""Randomness where others run the pipeline: a tf.data service, and processes that go on where one stopped."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from augment_oracle import random_images

from kerasreg import augment
from kerasreg.augment import Pipeline

COUNT = 12
IMAGES = random_images(COUNT, 4, 5)
service = tf.data.experimental.service
Sharding = service.ShardingPolicy

WORKER = """
import sys
import tensorflow as tf
service = tf.data.experimental.service
worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=sys.argv[1], heartbeat_interval_ms=100))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def target():
    """The address of a dispatcher with two workers, each a process of its own."""
    addresses = ["localhost:%port%", "localhost:%port%"]
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=0, worker_addresses=addresses))
    command = [sys.executable, "-c", WORKER, dispatcher.target.removeprefix("grpc://")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    workers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    try:
        for worker in workers:
            assert worker.stdout.readline() == b"ready\n"
        yield dispatcher.target
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def pipeline(**arguments):
    transforms = [augment.RandomTranslation(0.3), augment.RandomBrightness(0.3)]
    return Pipeline(transforms, **{"seed": 5, "index_key": "index", "epoch_key": "epoch", **arguments})


def loaded(epochs, shuffle=True):
    images = tf.constant(IMAGES)
    numbers = augment.indices(COUNT, epochs, shuffle=shuffle)
    return numbers.map(lambda x: {"images": tf.gather(images, x["index"]), **x})


def by_number(data):
    """What came, as lists of images by (epoch, index)."""
    found = {}
    for batch in data:
        for image, epoch, index in zip(
            *(batch[k].numpy() for k in ("images", "epoch", "index")), strict=True
        ):
            found.setdefault((int(epoch), int(index)), []).append(image)
    return found


def each_differs(images, others):
    return np.all(np.abs(np.float32(images) - others).max((1, 2, 3)) > 1)


@pytest.fixture(scope="module")
def keyed():
    return pipeline()


@pytest.fixture(scope="module")
def local(keyed):
    return by_number(loaded(3).batch(4).apply(keyed))


def test_two_workers_give_the_images_of_a_run_without_them(target, keyed, local):
    assert sorted(local) == [(epoch, index) for epoch in range(3) for index in range(COUNT)]
    data = loaded(3).batch(4).apply(keyed)
    served = by_number(data.apply(service.distribute(Sharding.DYNAMIC, target)))
    assert served.keys() == local.keys()
    for place, images in served.items():
        np.testing.assert_array_equal(images, local[place])


def test_every_worker_gives_all_images_in_the_same_form_without_sharding(target, keyed, local):
    data = loaded(1).batch(4).apply(keyed)
    served = by_number(data.apply(service.distribute(Sharding.OFF, target)))
    for place, images in served.items():
        np.testing.assert_array_equal(images, local[place] * 2)
    assert len(served) == COUNT


def test_counted_places_are_right_where_workers_share_out_at_the_end(target):
    arguments = {"index_key": None, "epoch_key": None}
    expected = by_number(loaded(1, shuffle=False).batch(3).apply(pipeline(**arguments)))
    data = loaded(1, shuffle=False).batch(3).apply(pipeline(**arguments))
    served = by_number(data.apply(service.distribute(Sharding.DATA, target)))
    assert served.keys() == expected.keys()
    for place, images in served.items():
        np.testing.assert_array_equal(images, expected[place])


def test_a_sentence_reaches_who_asked_a_service(target):
    data = tf.data.Dataset.from_tensors({"images": np.float32(IMAGES) / 255, "index": np.arange(COUNT)})
    data = data.apply(pipeline(epoch_key=None)).apply(service.distribute(Sharding.OFF, target))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"multiply them by 255 or give value_range=\(0, 1\)"
    ):
        list(data)


# Numbers that the data holds


def test_the_order_and_the_batches_of_numbered_images_do_not_matter(keyed, local):
    for data in (loaded(3, shuffle=False).batch(5), loaded(3).shuffle(40, seed=1).batch(4)):
        again = by_number(data.apply(keyed))
        assert again.keys() == local.keys()
        for place, images in again.items():
            np.testing.assert_allclose(images, local[place], atol=1e-4)
    single = by_number(loaded(3).apply(keyed).batch(1))
    np.testing.assert_allclose(single[2, 7], local[2, 7], atol=1e-4)


def test_epochs_and_images_of_the_data_differ(local):
    epochs = np.array([[local[epoch, index][0] for index in range(COUNT)] for epoch in range(3)])
    assert each_differs(epochs[0], epochs[1])
    assert each_differs(epochs[1], epochs[2])
    same = tf.data.Dataset.from_tensors({"images": np.repeat(IMAGES[:1], 9, 0), "index": np.arange(9)})
    out = next(iter(same.apply(pipeline(epoch_key=None))))["images"].numpy()
    assert len(np.unique(out.reshape(9, -1), axis=0)) == 9


def test_the_data_alone_say_the_epoch(keyed):
    data = loaded(1).batch(4).apply(keyed)
    again = loaded(1).repeat(2).batch(4).apply(keyed)
    for images in [*by_number(again).values(), *by_number(data.repeat(2)).values()]:
        np.testing.assert_allclose(images[0], images[1], atol=1e-4)


def test_a_counted_epoch_goes_with_numbers_of_the_data():
    data = loaded(1).batch(4).apply(pipeline(epoch_key=None))
    first, second = by_number(data), by_number(data)
    assert each_differs(
        np.array([first[0, i][0] for i in range(COUNT)]), np.array([second[0, i][0] for i in range(COUNT)])
    )


def test_a_name_is_a_number_too():
    names = np.array([f"{i}.jpg" for i in range(COUNT)])
    keys = {"index_key": "file", "epoch_key": None}
    data = tf.data.Dataset.from_tensor_slices({"images": IMAGES, "file": names})
    straight = next(iter(data.batch(COUNT).apply(pipeline(**keys))))
    turned = tf.data.Dataset.from_tensors({"images": IMAGES[::-1], "file": names[::-1]}).apply(
        pipeline(**keys)
    )
    np.testing.assert_array_equal(straight["images"], next(iter(turned))["images"][::-1])
    assert straight["file"].numpy().astype(str).tolist() == names.tolist()
    assert len(np.unique(straight["images"].numpy().reshape(COUNT, -1), axis=0)) == COUNT


@pytest.mark.parametrize(
    ("element", "words"),
    [
        (IMAGES, ["`index_key` of Pipeline", "'index'", "(none)"]),
        ({"images": IMAGES, "id": np.arange(COUNT)}, ["`index_key`", "'index'", "'images', 'id'"]),
        ({"images": IMAGES, "index": np.int64(3)}, ["`index_key`", "int64 of shape ()"]),
        ({"images": IMAGES, "index": np.ones(COUNT)}, ["`index_key`", "float64 of shape (12,)"]),
        (
            {"images": IMAGES, "index": np.arange(COUNT), "epoch": np.array(["a"] * COUNT)},
            ["`epoch_key`", "string of shape (12,)"],
        ),
    ],
)
def test_a_key_that_does_not_number_the_images_is_refused(element, words):
    with pytest.raises(ValueError, match="must be a key of") as error:
        tf.data.Dataset.from_tensors(element).apply(pipeline())
    for word in words:
        assert word in str(error.value)


def test_shuffled_numbers_are_other_permutations_in_every_epoch():
    numbers = np.array([x["index"].numpy() for x in augment.indices(20, 3, shuffle=True)]).reshape(3, 20)
    assert all(sorted(row) == list(range(20)) for row in numbers)
    assert len({tuple(row) for row in numbers}) == 3
    from_there = [int(x["index"]) for x in augment.indices(20, 3, shuffle=True, start=27)]
    assert from_there == numbers.ravel()[27:].tolist()
    assert not list(augment.indices(20, 3, start=60))
    other = [int(x["index"]) for x in augment.indices(20, 1, shuffle=True, seed=1)]
    assert other != numbers[0].tolist()
    assert int(augment.indices(20).cardinality()) > 10**15


# Another process

RESUME = """
import sys
import numpy as np
import tensorflow as tf
from kerasreg import augment
folder = sys.argv[1]
images = np.load(folder + "/images.npy")
transforms = [augment.RandomTranslation(0.3), augment.RandomBrightness(0.3)]
data = tf.data.Dataset.from_tensor_slices(images).batch(5)
data = data.apply(augment.Pipeline(transforms, seed=5)).repeat(3)
found = {"whole": np.concatenate(list(data))}
for name in ("middle", "later"):
    iterator = iter(data)
    tf.train.Checkpoint(iterator=iterator).read(folder + "/" + name).assert_consumed()
    found[name] = np.concatenate(list(iterator))
np.savez(folder + "/found.npz", **found)
"""


# With three batches an epoch, a parallel map is at the end of one long before who asks is.
def test_another_process_gives_the_same_images_and_goes_on_where_an_iterator_was_saved(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    transforms = [augment.RandomTranslation(0.3), augment.RandomBrightness(0.3)]
    data = tf.data.Dataset.from_tensor_slices(IMAGES).batch(5)
    data = data.apply(Pipeline(transforms, seed=5)).repeat(3)
    iterator = iter(data)
    expected = {"whole": [next(iterator)]}
    tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "middle"))
    rest = [next(iterator) for _ in range(4)]
    tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "later"))
    expected["later"] = list(iterator)
    expected["middle"] = rest + expected["later"]
    expected["whole"] += expected["middle"]
    command = [sys.executable, "-c", textwrap.dedent(RESUME), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        for name, batches in expected.items():
            np.testing.assert_array_equal(found[name], np.concatenate(batches))
