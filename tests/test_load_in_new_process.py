"""`import kerasreg` is all that another process needs to load a saved model."""

import subprocess
import sys

import keras
import numpy as np
from nouns import HOLDERS, INPUT_SHAPES, make, make_plain, public_classes, rewind, scramble

LOAD = """
import sys
import keras
import kerasreg
import numpy as np

model = keras.models.load_model(sys.argv[1])
for variable in model.variables:
    if "seed_generator" in variable.path:
        variable.assign(np.array([7, 0]))
data = np.load(sys.argv[2])
np.testing.assert_allclose(model.predict(data["x"], verbose=0), data["expected"], rtol=1e-6, atol=1e-7)
loss = model.evaluate(data["x"], data["y"], verbose=0)
np.testing.assert_allclose(loss, data["loss"], rtol=1e-5)
print("loaded", sorted({type(layer).__module__.partition(".")[0] for layer in model.layers}))
"""


def everything(kind):
    maker = make_plain if kind == "initializers" else make
    return [maker(label) for label in public_classes(kind)]


def small_model():
    """Every layer, then every initializer, regularizer and constraint in a dense layer."""
    x = inputs = keras.Input((6,))
    for label in public_classes("layers"):
        shape = INPUT_SHAPES.get(label, (None, 6))[1:]
        x = keras.layers.Reshape(shape)(keras.layers.Dense(int(np.prod(shape)))(x))
        # So many layers in a row would saturate the last one.
        x = keras.layers.LayerNormalization()(keras.layers.Flatten()(make(label)(x)))
    for keyword, kind in [
        ("kernel_initializer", "initializers"),
        ("kernel_regularizer", "regularizers"),
        ("kernel_constraint", "constraints"),
    ]:
        for label, part in zip(public_classes(kind), everything(kind), strict=True):
            if label in HOLDERS:
                shape = INPUT_SHAPES.get(label, (None, 6))[1:]
                x = keras.layers.Reshape(shape)(keras.layers.Dense(int(np.prod(shape)))(x))
                x = keras.layers.Flatten()(HOLDERS[label](part)(x))
            else:
                x = keras.layers.Dense(4, **{keyword: part})(x)
            x = keras.layers.LayerNormalization()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(x))
    # One loss for the one output; the others are loaded in the contract.
    model.compile("sgd", loss=everything("losses")[0], metrics=everything("metrics"))
    return model


def test_a_saved_model_loads_where_only_kerasreg_was_imported(tmp_path, rng):
    model = small_model()
    scramble(model)
    x, y = rng.normal(size=(16, 6)).astype("float32"), rng.integers(0, 3, 16)
    model.save(tmp_path / "model.keras")
    rewind(model)
    expected = model.predict(x, verbose=0)
    loss = model.evaluate(x, y, verbose=0)
    assert np.ptp(expected, axis=0).max() > 0
    np.savez(tmp_path / "data.npz", x=x, y=y, expected=expected, loss=loss)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path / "model.keras", tmp_path / "data.npz"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "'kerasreg'" in done.stdout
