"""gSDF and AlignSDF: signed distances of hand and object."""
