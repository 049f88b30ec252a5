"""Which pixels are hand, held object and forearm.

photo + keypoints -> scene.py (working size, skeletons)
    -> foreground.py (what stands out: ISNet views, or GrabCut)
    -> hand_mask.py (capsules + colour.py + guided.py) -> object_mask.py (forearm, contour filter, choice)
    -> landmark.py (two rounds, photo size)
"""
