"""What is drawn needs matplotlib, which kerasreg does without otherwise."""

from __future__ import annotations


def need_matplotlib(owner: str) -> None:
    """Raise an ImportError that says how to get matplotlib, if it cannot be imported.

    Example:
        >>> need_matplotlib("ActivationStats.plot")
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{owner} draws with matplotlib, which could not be imported ({error}); "
            "install it with `pip install matplotlib`."
        ) from error
