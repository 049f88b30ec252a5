"""Hands in the MANO layout (778 vertices, 16 joints), through smplx: the open hand, or the user's own MANO.

hand.py        what a hand's file holds, posed by numpy    model.py    the same with gradients, through smplx
refit.py       a hand of one model in another one
mano_file.py   the user's MANO into the cache              mano_layout.py inert_pickle.py wrist.py skin_labels.py
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.hand_model.model import HandModel, load_hand

__all__ = ["HandModel", "load_hand"]


def __getattr__(name: str) -> Any:
    """The model on demand: it needs torch, which takes seconds to import, and the files beside it do not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.hand_model import model

    return getattr(model, name)
