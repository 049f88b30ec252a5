"""Photo + recipe + edits -> reconstructions of hand-object pairs.

    load -> detect -> segment -> hand -> inpaint -> reconstruct -> watertight
         -> camera_setup -> contact_alignment -> refinement -> assess

Pure: no database, no network service, no CLI. `run.py` is the one place that shows the whole way.
"""
