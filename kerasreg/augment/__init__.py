"""Image augmentation for tf.data: random transforms, fused into one resample and one colour map."""

from kerasreg.augment.augmix import AugMix
from kerasreg.augment.color import (
    ColorTransform,
    RandomBrightness,
    RandomContrast,
    RandomGrayscale,
    RandomInvert,
    RandomSaturation,
)
from kerasreg.augment.color_jitter import ColorJitter
from kerasreg.augment.crop import RandomCrop
from kerasreg.augment.erasing import RandomErasing
from kerasreg.augment.geometry import (
    GeometricTransform,
    RandomFlip,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)
from kerasreg.augment.histogram import RandomAutoContrast, RandomEqualize
from kerasreg.augment.hue import RandomHue
from kerasreg.augment.indices import indices
from kerasreg.augment.layer import Augmentation
from kerasreg.augment.mix import CutMix, MixTransform, MixUp
from kerasreg.augment.noise import RandomGaussianNoise
from kerasreg.augment.perspective import RandomPerspective
from kerasreg.augment.pipeline import Pipeline
from kerasreg.augment.pixels import PixelTransform
from kerasreg.augment.plan import Plan
from kerasreg.augment.rand_augment import RandAugment, TrivialAugment
from kerasreg.augment.random_choice import RandomChoice
from kerasreg.augment.rescale import Rescale
from kerasreg.augment.resized_crop import RandomResizedCrop
from kerasreg.augment.stencils import RandomGaussianBlur, RandomSharpness
from kerasreg.augment.tables import RandomPosterize, RandomSolarize
from kerasreg.augment.transform import Transform

__all__ = [
    "AugMix",
    "Augmentation",
    "ColorJitter",
    "ColorTransform",
    "CutMix",
    "GeometricTransform",
    "MixTransform",
    "MixUp",
    "Pipeline",
    "PixelTransform",
    "Plan",
    "RandAugment",
    "RandomAutoContrast",
    "RandomBrightness",
    "RandomChoice",
    "RandomContrast",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGaussianNoise",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomSolarize",
    "RandomTranslation",
    "RandomZoom",
    "Rescale",
    "Transform",
    "TrivialAugment",
    "indices",
]
