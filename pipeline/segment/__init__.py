"""Which pixels are hand, held object and forearm.

photo + keypoints -> scene.py (working size, skeletons)
    -> foreground.py (what stands out: ISNet views, or GrabCut)
    -> hand_mask.py (capsules + colour.py + guided.py + cut.py) -> object_mask.py (forearm, contour filter, choice)
    -> landmark.py (two rounds, then cut.py once more at photo size)

Large models instead: sam.py sam2.py (prompts.py from landmark.py's guess), grounded_sam2.py, sam3.py -> sort_out.py;
given.py takes a person's masks. contour.py is the filter that all of them pass.
"""
