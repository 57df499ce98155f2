"""Keras' own tests of its initializers, run from its wheel with ours in the place of its own."""

from keras_own import PARTS, passes


def test_keras_own_tests_pass_with_our_initializers(tmp_path):
    passes(PARTS["initializers"], tmp_path)
