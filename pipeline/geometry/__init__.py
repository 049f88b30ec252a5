"""Cameras, differentiable silhouettes, signed distance, registration, watertight meshes, previews."""
