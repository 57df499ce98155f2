"""Keras' own test files, run from its wheel with our layers in place."""

from keras_own import PARTS, passes


def test_keras_own_tests_pass_with_our_layers(tmp_path):
    passes(PARTS["layers"], tmp_path)
