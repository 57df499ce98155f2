"""Every public name is in a property test, or is left out for a reason that is given here."""

import importlib
import inspect
import sys
from pathlib import Path

import keras
import test_layer_properties
import test_noun_properties
import test_score_properties
import test_verb_properties

import kerasreg as kr

TRIED = {
    *test_layer_properties.LAYERS,
    *test_noun_properties.LABELS,
    *test_score_properties.LABELS,
    *test_verb_properties.LABELS,
}

# Public names that no property is drawn for, each with where it is looked at instead.
EXEMPT = {
    "augment.Augmentation": "a pipeline inside of a model; tests/augment/test_augment_layer.py",
    "callbacks.BackupAndRestore": "it guards files; tests/reliability kills processes that write them",
    "augment.Transform": "a base class to write transforms on",
    "augment.GeometricTransform": "a base class to write transforms on",
    "augment.ColorTransform": "a base class to write transforms on",
    "augment.MixTransform": "a base class to write transforms on",
    "augment.PixelTransform": "a base class to write transforms on",
    "batch_norm.Reestimation": "what reestimate tells; tests/batch_norm/test_reestimate.py",
    "datasets.load": "reads files; any shape and any damage in tests/datasets/test_idx.py",
    "datasets.info": "tells of a data set that was built; tests/datasets/test_summary.py",
    "diagnostics.Figures": "plain data inside of a Report",
    "diagnostics.KernelFigures": "plain data inside of a Report",
    "diagnostics.plot_loss_sensitivity": "draws what loss_sensitivity gives",
    "uncertainty.reliability_diagram": "draws what reliability_curve gives",
    "uncertainty.plot_retention_curve": "draws what retention_curve gives",
}


def public_names():
    """`{"layers.Dropout": object}` for every namespace, and `kerasreg.VERB` for what stands at the top."""
    found = {}
    for name in kr.__all__:
        thing = getattr(kr, name)
        if inspect.ismodule(thing):
            found |= {f"{name}.{inner}": getattr(thing, inner) for inner in thing.__all__}
        else:
            found[f"kerasreg.{name}"] = thing
    return found


def test_every_public_name_is_tried_or_left_out_with_a_reason():
    names = public_names()
    assert len(names) > 100
    tried = set(TRIED)
    if keras.backend.backend() == "tensorflow":
        # Which pytest has on its path only where it collects that folder too.
        sys.path.append(str(Path(__file__).parents[1] / "augment"))
        tried |= importlib.import_module("test_augment_properties").LABELS
    else:
        # TensorFlow's whatever the backend, and tried there.
        names = {label: thing for label, thing in names.items() if not label.startswith("augment.")}
    # A verb is also a name of its subject's namespace, and is tried once.
    known = {id(names[label]) for label in tried if label in names}
    missing = [
        label
        for label, thing in names.items()
        if label not in EXEMPT and label not in tried and id(thing) not in known
    ]
    assert missing == [], f"neither in a property test nor exempt: {missing}"


def test_what_is_said_to_be_tried_or_left_out_exists():
    names = public_names()
    assert set(EXEMPT) <= set(names)
    assert set(names) >= TRIED
    assert set(EXEMPT).isdisjoint(TRIED)
