"""Keras' own regularizer tests, run from its wheel with our classes in place."""

from keras_own import PARTS, passes


def test_keras_own_tests_pass_with_our_regularizers(tmp_path):
    passes(PARTS["regularizers"], tmp_path)
