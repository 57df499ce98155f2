"""The tap: statistics of every layer's output, taken from the real training step.

`collector` listens to the layer calls, `statistics` says what is measured, `train_step` swaps one compiled
step for its observed twin, and `jax_gradients` carries the figures out of `jax.value_and_grad`.
"""
