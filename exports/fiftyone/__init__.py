"""FiftyOne: a FiftyOneDataset with masks, keypoints and 3D scenes."""
