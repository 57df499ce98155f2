"""What an event can hold: scalars, histograms, pictures and text, as TensorBoard's plugins read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.util import tensor_util


def scalar(tag: str, value: float) -> Summary.Value:
    """A number."""
    return Summary.Value(tag=tag, simple_value=value)


def histogram(tag: str, buckets: np.ndarray) -> Summary.Value:
    """Counts, as `tf.summary.histogram` writes them: rows of left edge, right edge, count."""
    metadata = histogram_metadata.create_summary_metadata(display_name=None, description=None)
    return Summary.Value(
        tag=tag, metadata=metadata, tensor=tensor_util.make_tensor_proto(buckets, np.float64)
    )


def image(tag: str, png: bytes, width: int, height: int, description: str) -> Summary.Value:
    """A PNG picture, with a description in Markdown."""
    encoded = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
    return Summary.Value(tag=tag, image=encoded, metadata=SummaryMetadata(summary_description=description))


def text(tag: str, markdown: str) -> Summary.Value:
    """A text in Markdown."""
    metadata = text_metadata.create_summary_metadata(display_name=None, description=None)
    tensor = tensor_util.make_tensor_proto(markdown.encode(), dtype=np.object_)
    return Summary.Value(tag=tag, metadata=metadata, tensor=tensor)


def layout(charts: Layout) -> Summary.Value:
    """The charts of the page "Custom scalars"."""
    tensor = tensor_util.make_tensor_proto(charts.SerializeToString(), dtype=np.object_)
    metadata = layout_metadata.create_summary_metadata()
    return Summary.Value(tag=layout_metadata.CONFIG_SUMMARY_TAG, metadata=metadata, tensor=tensor)


def buckets(counts: Sequence[int], edges: Sequence[float], low: float, high: float) -> np.ndarray:
    """Counts between fixed edges as rows of left edge, right edge, count, for a viewer.

    Empty buckets at both ends are left out and the outer edges drawn in to the smallest and the largest
    value: a viewer draws from the first edge to the last, and cannot draw to infinity.

    Args:
        counts: The numbers of values between each two edges.
        edges: One more than counts; the outer ones may be infinite.
        low: The smallest value counted; an edge stands in for it if it is not finite.
        high: The largest value counted.

    Returns:
        float64 of shape (buckets, 3).

    Example:
        >>> buckets([0, 3, 1], [-math.inf, 0.0, 1.0, math.inf], 0.25, 7.0)
        array([[0.25, 1.  , 3.  ],
               [1.  , 7.  , 1.  ]])
    """
    counts, edges = np.asarray(counts, "float64"), np.asarray(edges, "float64")
    filled = np.flatnonzero(counts)
    if not filled.size:
        return np.zeros((0, 3))
    first, last = filled[0], filled[-1] + 1
    finite = edges[np.isfinite(edges)]
    low = low if math.isfinite(low) else finite[0]
    high = high if math.isfinite(high) else finite[-1]
    bounds = np.clip(edges[first : last + 1], low, max(low, high))
    return np.stack([bounds[:-1], bounds[1:], counts[first:last]], axis=1)
