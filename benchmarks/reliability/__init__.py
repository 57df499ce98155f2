"""What kerasreg holds under fire: faults, bad input, Keras' own tests, backends and a long run, counted."""
