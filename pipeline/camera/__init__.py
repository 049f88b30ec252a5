"""The photo's camera: EXIF or a prior on the field of view, then what an adapter makes of it."""
