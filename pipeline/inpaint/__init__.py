"""The object as if the hand were not there.

masks -> silhouette.py (hull over the visible parts + symmetry.py, within hand and arm) -> amodal mask
      -> fill.py (the object's own colours in the hole; visible pixels stay the photo's)

Generative models instead: generative.py (window.py -> the model -> composite.py -> amodal.py), a class per model;
diffusion.py for those that are diffusers pipelines.
"""
