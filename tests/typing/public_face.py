"""What a type checker tells a user of kerasreg: right calls pass, wrong ones do not.

It is checked, never run (`make types`). An `ignore` that is not needed is an error, so each one shows that a
mistake is seen.
"""

from typing import assert_type

import keras
import numpy as np

import kerasreg as kr
from kerasreg.diagnostics import Finding, Report
from kerasreg.initialization import CalibrationReport
from kerasreg.uncertainty import Prediction

model: keras.Model = keras.Sequential()
x = np.zeros((4, 3), "float32")

# Nouns know their arguments.
kr.layers.BatchNormalization(update_rate=0.1, averaging="debiased")
kr.layers.BatchNormalization(update_rate="fast")  # type: ignore[arg-type]
kr.layers.Dropout(0.5, mc=True)
kr.layers.Dropout()  # type: ignore[call-arg]
kr.layers.Normalization()
kr.initializers.Calibrated("relu", kind="conv")
kr.initializers.Calibrated(knid="conv")  # type: ignore[call-arg]
kr.regularizers.ElasticNet(1e-4, beta=2.0)
kr.regularizers.ElasticNet("strong")  # type: ignore[arg-type]
kr.constraints.MaxNorm(2.0)
kr.losses.MulticlassHinge(margin=1.0)
kr.callbacks.ActivationStats(every=10, layers=["conv*"])
kr.callbacks.ActivationStats(layers=3)  # type: ignore[arg-type]
kr.augment.Pipeline([kr.augment.RandomFlip(), kr.augment.RandomRotation(10)], seed=0)
kr.augment.Pipeline(kr.augment.RandomFlip())  # type: ignore[arg-type]
kr.augment.RandomRotation("a lot")  # type: ignore[arg-type]

# Verbs say what they give back.
assert_type(kr.check(model, x), Report)
assert_type(kr.check(model, x).findings, list[Finding])
assert_type(kr.calibrate(model, x), CalibrationReport)
assert_type(kr.mc_predict(model, x, samples=10), Prediction)
rows: np.ndarray = kr.mc_predict(model, x).samples_used
kr.mc_predict(model)  # type: ignore[call-arg]
kr.regularize(model, {"*kernel": kr.regularizers.L2(1e-4)})
kr.nothing_of_this_name  # type: ignore[attr-defined]
