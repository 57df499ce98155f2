"""The rules a training is judged by: pure functions of observed rows and of what is known of the model."""
