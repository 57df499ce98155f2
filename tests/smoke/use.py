"""A user's first minute with an installed kerasreg, far from its clone: build, train, save, load, doubt."""

import importlib.metadata
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import kerasreg as kr

room = Path(sys.argv[1]).resolve()
assert room in Path(kr.__file__).resolve().parents, f"{kr.__file__} is not what was installed"
assert importlib.metadata.version("kerasreg") == kr.__version__
assert (Path(kr.__file__).parent / "py.typed").exists()
for name in kr.__all__:
    getattr(kr, name)

rng = np.random.default_rng(0)
images = rng.integers(0, 255, (64, 8, 8, 3), "uint8")
labels = rng.integers(0, 2, 64)
normalization = kr.layers.Normalization()
normalization.adapt(images.astype("float32"))
model = keras.Sequential(
    [
        keras.Input((8, 8, 3)),
        normalization,
        keras.layers.Conv2D(4, 3, kernel_initializer=kr.initializers.Calibrated("relu", kind="conv")),
        kr.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        kr.layers.Dropout(0.3),
        keras.layers.Dense(2, kernel_regularizer=kr.regularizers.ElasticNet(1e-4)),
    ]
)
model.compile("adam", kr.losses.MulticlassHinge())
pipeline = kr.augment.Pipeline([kr.augment.RandomFlip(), kr.augment.RandomContrast(0.2)], seed=0)
stats = kr.callbacks.ActivationStats(log_dir=room / "logs", every=2)
model.fit(pipeline(images).numpy(), labels, epochs=2, callbacks=[stats], verbose=0)
assert stats.history
model.save(room / "model.keras")
reloaded = keras.saving.load_model(room / "model.keras")
prediction = kr.mc_predict(reloaded, images.astype("float32"), samples=8, seed=0)
assert prediction.std.shape == (64, 2)
assert prediction.std.max() > 0
assert kr.check(model, images.astype("float32")).to_dict()
