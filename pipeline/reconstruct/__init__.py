"""The completed object, seen once -> a watertight textured mesh with its view prior.

photo + completion + depth --view--> the object seen squarely --revolution / cuboid / inflation--> candidates
                           --choose--> the one that explains the view best --texture--> ObjectMesh

completion --square--> the picture a large model is shown --lrm / sam3d_objects / tripo3d--> a mesh in its own frame
           --frames--> which view of it the photo shows --foreign_mesh--> ObjectMesh; given_mesh: the user's own file
"""
