"""COCO: instances with masks, and the keypoints of hands."""
