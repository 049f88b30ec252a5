"""BOP: object poses as the benchmark for 6D pose estimation has them."""
