"""ObMan, as hassony2/obman and obman_train read it."""
