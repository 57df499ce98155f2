"""The operations of RandAugment in NumPy, SciPy and Pillow, and which of them an image drew."""

import numpy as np
from augment_oracle import scipy_warp
from PIL import Image, ImageOps
from scipy.ndimage import convolve

LUMA = np.array([0.299, 0.587, 0.114])


def picked(steps, uniform, i):
    """The steps that act on an image, in the order of their rounds, by its tickets."""
    rounds = {}
    for step in steps:
        win = step.gate[-1]
        tickets = np.float64(uniform)[i, list(win.lanes)] + 2.0**-25
        if int(np.argmin(-np.log(tickets) / win.weights)) == win.place:
            rounds[step.name] = step
    return sorted(rounds.values(), key=lambda step: int(step.name.split("/")[1]))


def apply_operation(image, chosen, numbers, magnitude, one_by_one):
    """The image after these steps, the edges mirrored; neighbouring geometry in one resample or several."""
    share = magnitude / 30
    image = image.astype(float)
    matrix = None
    for step in chosen:
        name = step.name.split("/")[2]
        size = image.shape[1::-1]
        tosses = np.float64(numbers)[step.lane + 1 : step.lane + step.transform.lanes]
        sign = np.where(tosses < 0.5, -1.0, 1.0)
        made = geometry(name, share, sign, size)
        if made is not None and one_by_one:
            image = scipy_warp(image, made, "reflect")
            continue
        if made is not None:
            matrix = made if matrix is None else matrix @ made
            continue
        if matrix is not None:
            image, matrix = scipy_warp(image, matrix, "reflect"), None
        image = np.clip(pixels(name, share, sign, image), 0, 255)
    return image if matrix is None else scipy_warp(image, matrix, "reflect")


def geometry(name, share, sign, size):
    """The output-to-input matrix of an operation, or None."""
    if name == "Rotate":
        angle = np.radians(30 * share * sign[0])
        return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moves = {
        "ShearX": (0, 1, 0.3 * share * sign[0] if len(sign) else 0),
        "ShearY": (1, 0, 0.3 * share * sign[-1] if len(sign) else 0),
        "TranslateX": (0, 2, 150 / 331 * share * sign[-1] * size[0] if len(sign) else 0),
        "TranslateY": (1, 2, 150 / 331 * share * sign[0] * size[1] if len(sign) else 0),
    }
    if name not in moves:
        return None
    row, column, value = moves[name]
    matrix = np.eye(3)
    matrix[row, column] = -value
    return matrix


def pixels(name, share, sign, x):
    """An operation of colours or pixels, before it is clipped."""
    if name in ("Brightness", "Color", "Contrast", "Sharpness"):
        factor = 1 + 0.9 * share * sign[0]
        if name == "Brightness":
            return factor * x
        other = {"Color": (x @ LUMA)[..., None], "Contrast": (x @ LUMA).mean()}.get(name)
        if name == "Sharpness":
            kernel = np.ones((3, 3, 1)) + 4 * (np.indices((3, 3, 1)).sum(0) == 2) * np.eye(3)[..., None]
            other = x.copy()
            other[1:-1, 1:-1] = convolve(x, kernel / 13)[1:-1, 1:-1]
        return other + factor * (x - other)
    if name == "Posterize":
        step = 2 ** round(4 * share)
        return np.floor(np.round(x) / step) * step
    if name == "Solarize":
        return np.where(x < (1 - share) * 255, x, 255 - x)
    low, high = x.min((0, 1)), x.max((0, 1))
    if name == "AutoContrast":
        return (x - low) / np.where(high > low, high - low, 255) * 255
    assert name == "Equalize"
    # Pillow's table, read off an image that has the same levels in front and every level behind.
    levels = np.round(x).astype(np.uint8)
    tables = equalizing_tables(levels)
    return np.stack([np.interp(x[..., c], np.arange(256), tables[c]) for c in range(x.shape[-1])], -1)


def equalizing_tables(levels):
    """For each channel what Pillow makes of each level that occurs, and between these as its formula says."""
    tables = []
    for channel in np.moveaxis(levels, -1, 0):
        counts = np.bincount(channel.ravel(), minlength=256)
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        below = np.cumsum(counts) - counts
        table = np.minimum((step // 2 + below) // step, 255) if step else np.arange(256)
        equalized = np.asarray(ImageOps.equalize(Image.fromarray(channel)))
        np.testing.assert_array_equal(table[channel], equalized)
        tables.append(table)
    return tables
