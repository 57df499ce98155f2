"""The images' example runs from end to end, its parts are right, and what we publish is what its runs say."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS = [
    "wrong among the test digits",
    "digits turned by 90 degrees",
    "letters",
    "patches of photographs",
    "digits with shuffled pixels",
]


@pytest.fixture(scope="module")
def modules():
    """The example's two files, as `python examples/uncertainty_images.py` would find them."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import images_report
        import uncertainty_images

        yield uncertainty_images, images_report
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture
def images(modules):
    return modules[0]


@pytest.fixture
def report(modules):
    return modules[1]


def test_the_quick_run(images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["uncertainty_images.py", "--quick", "--output", str(tmp_path)])
    images.main()
    said = capsys.readouterr().out
    for wanted in (*KINDS[1:], "What was learned", "learnt little"):
        assert wanted in said
    content = json.loads((tmp_path / "uncertainty_images.json").read_text())
    (net,) = content["nets"]
    assert net["accuracy"] > 0.8
    assert net["auroc"]["digits with shuffled pixels"]["entropy"] > 0.85
    assert [row["degrees"] for row in net["turned"]] == list(range(0, 181, 15))
    upright, turned = net["turned"][0], net["turned"][6]
    assert upright["accuracy"] == net["accuracy"] > turned["accuracy"]
    assert upright["mutual_information"] < turned["mutual_information"]
    assert (tmp_path / "uncertainty_images.png").read_bytes().startswith(b"\x89PNG")


def test_auroc_counts_pairs(images):
    known, strange = np.array([0.1, 0.2, 0.5, 0.5]), np.array([0.2, 0.5, 0.9])
    pairs = (strange[:, None] > known) + 0.5 * (strange[:, None] == known)
    found = images.auroc(
        *(
            {score: sign * values for sign, score in zip((1, -1, 0), images.SCORES, strict=True)}
            for values in (known, strange)
        )
    )
    assert list(found.values()) == pytest.approx([pairs.mean(), 1 - pairs.mean(), 0.5])


def test_turning(images):
    digit = np.arange(2 * 64, dtype="float32").reshape(2, 8, 8, 1)
    np.testing.assert_allclose(images.turned(digit, 90), np.rot90(digit, axes=(1, 2)), atol=1e-3)
    assert images.turned(digit, 0) is digit
    assert images.turned(digit, 45)[:, 0, 0, 0].tolist() == [0, 0]


def test_shuffled_pixels_are_the_same_pixels(images):
    digits = np.random.default_rng(0).uniform(0, 255, (5, 8, 8, 1)).astype("float32")
    mixed = images.shuffled(digits, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(mixed.reshape(5, -1)), np.sort(digits.reshape(5, -1)))
    orders = [np.argsort(mixed[i].ravel())[np.argsort(np.argsort(digits[i].ravel()))] for i in range(5)]
    assert len({tuple(order) for order in orders}) == 5


def test_strangers_look_like_the_digits(images):
    letters = images.letters()
    patches = images.patches(6, np.random.default_rng(0))
    assert letters.shape == (len(images.LETTERS) * len(images.FONTS) * 2, 8, 8, 1)
    assert patches.shape == (6, 8, 8, 1)
    for strange in (letters, patches):
        assert strange.dtype == np.float32
        np.testing.assert_allclose(strange.min(axis=(1, 2, 3)), 0, atol=1e-3)
        np.testing.assert_allclose(strange.max(axis=(1, 2, 3)), 255, atol=1e-3)
        assert len(np.unique(strange.reshape(len(strange), -1), axis=0)) == len(strange)
    # A capital H is its own mirror image, within what a pixel of a thin stroke is.
    h = letters[images.LETTERS.index("H"), ..., 0]
    np.testing.assert_allclose(h, h[:, ::-1], atol=40)
    assert h[:, :2].mean() > 1.5 * h[:, 3:5].mean()


def test_a_block_is_its_mean(images):
    image = np.arange(16 * 16, dtype="float64").reshape(16, 16)
    small = images.shrunk(image)[..., 0]
    means = np.array(
        [[image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(8)] for i in range(8)]
    )
    np.testing.assert_allclose(small, 255 * (means - means.min()) / np.ptp(means), rtol=1e-5, atol=1e-4)
    square = images.on_square(np.ones((5, 9)))
    assert square.shape == (16, 16)
    assert square[5:10, 3:12].all()
    assert square.sum() == 45


def net(**changes):
    row = {"entropy": 0.9, "mutual_information": 0.8, "entropy_dropout_off": 0.7}
    turned = [
        {"degrees": d, "accuracy": a, "expected_entropy": e, "mutual_information": e}
        for d, a, e in ((0, 1.0, 0.05), (45, 0.6, 0.5), (90, 0.1, 0.2))
    ]
    aurocs = {kind: dict(row) for kind in KINDS}
    for kind, value in changes.items():
        aurocs[kind]["mutual_information"] = value
    return {"accuracy": 0.98, "wrong": 4, "auroc": aurocs, "turned": turned}


def test_report(report):
    nets = [net(letters=0.95), net(letters=0.91), net(letters=0.93)]
    assert report.tabulate({"nets": nets})["letters"]["mutual_information"] == (0.93, 0.91, 0.95)
    text = report.report({"nets": nets, "images": {"test digits": 360}})
    assert "0.930 (0.910 to 0.950)" in text
    assert "best letters (mutual information 0.930)" in text
    assert "gains most for letters (+0.230)" in text
    assert "beats the entropy of the same passes for letters." in text
    assert "turned by 45 degrees is doubted 10 times as much as upright; 60%" in text
    assert "turned by 90 degrees only 10% are read right, with 40% of that doubt" in text
    assert "(4, 4, 4 of 360)" in text


def test_the_published_figures_are_what_the_runs_say(report):
    content = json.loads((EXAMPLES / "results" / "uncertainty_images.json").read_text())
    assert len(content["nets"]) == 3
    assert all(list(net["auroc"]) == KINDS for net in content["nets"])
    assert f"```text\n{report.report(content)}\n```" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
