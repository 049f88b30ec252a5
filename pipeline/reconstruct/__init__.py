"""The completed object, seen once -> a watertight textured mesh with its view prior.

photo + completion + depth --view--> the object seen squarely --revolution / cuboid / inflation--> candidates
                           --choose--> the one that explains the view best --texture--> ObjectMesh
"""
