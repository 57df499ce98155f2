"""Two small nets with every public layer between them, and what is to be known of their training."""

import keras
import numpy as np

import kerasreg as kr

L = keras.layers
R = kr.regularizers
ROWS, BATCH, EPOCHS, CLASSES = 24, 8, 2, 3


def data():
    rng = np.random.default_rng(0)
    return rng.normal(2, 3, (ROWS, 6, 6, 2)).astype("float32"), rng.integers(0, CLASSES, ROWS)


def optimizer():
    # Not Adam, whose steps are as large where the gradient is nothing but rounding.
    return keras.optimizers.SGD(0.05)


def steady():
    """No noise, so that runs on one and on two devices can be compared; each weight has another penalty."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 2))
    x = L.Conv2D(4, 3, kernel_regularizer=R.Orthogonal(0.1), kernel_constraint="max_norm", name="conv")(x)
    x = kr.layers.BatchNormalization(synchronized=True, name="batch_norm")(x)
    x = L.Flatten(name="flat")(L.ReLU(name="relu")(x))
    soft = kr.constraints.SoftThreshold(0.01), kr.constraints.GroupSoftThreshold(0.01, axis=0)
    sparse = [L.Dense(4, kernel_constraint=each, name=f"sparse_{i}")(x) for i, each in enumerate(soft)]
    dead = L.Dense(5, "relu", bias_initializer=keras.initializers.Constant(-100), name="dead")(x)
    hidden = L.Dense(6, "tanh", kernel_constraint=kr.constraints.UnitNorm(axis=0), name="hidden")(x)
    x = L.Dense(CLASSES, "softmax", name="out")(L.concatenate([*sparse, dead, hidden], name="all"))
    model = keras.Model(inputs, x)
    rules = {
        "conv/kernel": model.get_layer("conv").kernel.regularizer,
        "conv/bias": R.L2(0.1),
        "batch_norm/gamma": R.L1(0.01),
        "hidden/kernel": R.ElasticNet(0.01, beta=0.5),
        "hidden/bias": R.LaplacePrior(0.5, num_examples=ROWS),
        "dead/kernel": R.StudentTPrior(0.5, num_examples=ROWS),
        "dead/bias": R.GaussianPrior(100, num_examples=ROWS),
        "out/kernel": R.GroupLasso(0.05, axis=0),
        "out/bias": R.L2(R.Schedule(keras.optimizers.schedules.PolynomialDecay(0.1, 6, 0.01))),
    }
    kr.regularize(model, rules)
    metrics = [kr.metrics.ExpectedCalibrationError(name="ece")]
    model.compile(optimizer(), kr.losses.MulticlassHinge(), metrics=metrics, jit_compile=False)
    return model


def every_layer():
    """Each public layer, side by side."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = kr.layers.Normalization(mean=[2.0, 2.0], variance=[9.0, 9.0])(inputs)
    rows = L.Reshape((36, 2))(x)
    side_by_side = [
        kr.layers.BatchNormalization(synchronized=True)(x),
        kr.layers.Dropout(0.3)(x),
        kr.layers.GaussianDropout(0.3)(x),
        kr.layers.AlphaDropout(0.3)(x),
        kr.layers.DropPath(0.3)(x),
        kr.layers.DropBlock2D(0.3, 2)(x),
        kr.layers.SpatialDropout1D(0.3)(rows),
        kr.layers.SpatialDropout2D(0.3)(x),
        kr.layers.SpatialDropout3D(0.3)(L.Reshape((6, 6, 2, 1))(x)),
        kr.layers.LSTM(2, dropout=0.3, recurrent_dropout=0.3)(rows[:, :5]),
        kr.layers.GRU(2, dropout=0.3, recurrent_dropout=0.3)(rows[:, :5]),
        kr.layers.ConcreteDropout(L.Dense(3), num_examples=ROWS)(L.Flatten()(x)),
    ]
    x = L.Dense(CLASSES, "softmax")(L.concatenate([L.Flatten()(x) for x in side_by_side]))
    model = keras.Model(inputs, kr.layers.TemperatureScaling()(x))
    model.compile(optimizer(), "sparse_categorical_crossentropy", jit_compile=False)
    return model


def kinds(model):
    """The public layers in a model."""
    return sorted({type(layer).__name__ for layer in model.layers} & set(kr.layers.__all__))


def trained(model, x, y, log_dir=None, batch_size=BATCH, stop_on="error"):
    """All that `fit` with our callbacks leaves, as JSON has it. `x` may be an iterable of batches.

    The steady net has dead units: that is found, and ends the training with the first epoch.
    """
    stats = kr.callbacks.ActivationStats(
        log_dir, every=1, gradients=True, histograms=True, per_channel=True, stop_on=stop_on
    )
    report = kr.callbacks.PenaltyReport()
    history = model.fit(
        x,
        y,
        batch_size=None if y is None else batch_size,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[stats, report],
        validation_data=x if y is None else (x, y),
        validation_batch_size=None if y is None else batch_size,
    ).history
    return {
        "history": history,
        "rows": stats.history,
        "skipped": stats.skipped,
        "findings": [f"{found.layer} {found.code}" for found in stats.findings],
        "penalties": report.history,
        "weights": weights(model),
    }


def weights(model):
    return {weight.path: keras.ops.convert_to_numpy(weight).tolist() for weight in model.weights}
