"""The prior-guided optimisation of the paper (3.4), in three stages.

camera_setup -> contact_alignment -> refinement
object pose      hand 6-DoF, object scale   hand 6-DoF + articulation
"""
