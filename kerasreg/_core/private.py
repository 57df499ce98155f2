"""Every private name of Keras and TensorFlow that kerasreg uses, each with its reason.

`tests/test_private.py` fails for each name that a new version takes away.
"""

from __future__ import annotations

from typing import Any

import keras


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer holds, at the first level (`Layer._layers`).

    `Model.layers` is public but exists for models only; a subclassed layer's own layers have no public list.
    """
    return list(layer._layers)


def get_mask(tensor: Any) -> Any:
    """The mask that Keras hangs on a tensor as `_keras_mask`, or None."""
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> None:
    """Hang a mask on a tensor, as `Layer.__call__` does after `call`."""
    if mask is not None:
        tensor._keras_mask = mask


def graph_is_compiled_by_xla(graph: Any) -> bool:
    """Whether a TensorFlow graph, or one that encloses it, is traced for XLA.

    `tensorflow.python.ops.control_flow_util.GraphOrParentsInXlaContext` tells; nothing public does.
    """
    from tensorflow.python.ops import control_flow_util

    return control_flow_util.GraphOrParentsInXlaContext(graph)


def graph_nodes(model: keras.Model) -> list[tuple[Any, list[Any], list[Any]]] | None:
    """A Functional or Sequential model's calls as (operation, input tensors, output tensors), in order.

    `Function._nodes_by_depth` holds the graph; a Sequential model keeps its own in `_functional`. None for a
    model without a graph.
    """
    function = getattr(model, "_functional", None) or model
    by_depth = getattr(function, "_nodes_by_depth", None)
    if by_depth is None:
        return None
    return [
        (node.operation, list(node.input_tensors), list(node.output_tensors))
        for depth in sorted(by_depth, reverse=True)
        for node in by_depth[depth]
    ]
