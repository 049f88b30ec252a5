"""Pictures of what the pipeline found, for people.

PairView --pictures--> overlay, masks, contacts, side view, turntable
         --glb-------> pair.glb (camera frame), the viewer's model
         --sheet-----> one PNG of a whole workspace
         --page------> one self-contained HTML
"""

from annotator.report.glb import pair_glb, viewer_glb
from annotator.report.page import write_report
from annotator.report.sheet import write_contact_sheet
from annotator.report.view import PairView

__all__ = ["PairView", "pair_glb", "viewer_glb", "write_contact_sheet", "write_report"]
