"""Hands in the MANO layout (778 vertices, 16 joints), through smplx: the open hand, or the user's own MANO."""

from pipeline.hand_model.model import HandModel, load_hand

__all__ = ["HandModel", "load_hand"]
