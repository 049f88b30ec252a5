"""FreiHAND: hand pose and shape from cropped photographs."""
