"""Image augmentation for tf.data: random transforms, fused into one resample and one colour map."""

from kerasreg.augment.color import (
    ColorTransform,
    RandomBrightness,
    RandomContrast,
    RandomGrayscale,
    RandomSaturation,
)
from kerasreg.augment.geometry import (
    GeometricTransform,
    RandomFlip,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)
from kerasreg.augment.pipeline import Pipeline
from kerasreg.augment.plan import Plan
from kerasreg.augment.transform import Transform

__all__ = [
    "ColorTransform",
    "GeometricTransform",
    "Pipeline",
    "Plan",
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomGrayscale",
    "RandomRotation",
    "RandomSaturation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Transform",
]
