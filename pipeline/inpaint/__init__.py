"""The object as if the hand were not there.

masks -> silhouette.py (hull over the visible parts + symmetry.py, within hand and arm) -> amodal mask
      -> fill.py (the object's own colours in the hole; visible pixels stay the photo's)
"""
