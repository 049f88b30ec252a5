"""HO-3D: hand and object poses, versions 2 and 3."""
