"""Levenberg-Marquardt for small dense problems: tens of unknowns, hundreds of residuals, exact Jacobians."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.func import jacfwd

Residuals = Callable[[torch.Tensor], torch.Tensor]  # (N,) unknowns -> (M,) residuals
_FLAT = 3e-4  # relative decrease of the cost below which a minimum is reached


def minimise(residuals: Residuals, start: torch.Tensor, steps: int) -> tuple[torch.Tensor, float]:
    """(N,) unknowns and the sum of squared residuals after at most `steps` accepted or refused steps."""
    jacobian = jacfwd(residuals)
    x, damping = start, 1e-2
    r = residuals(x).double().numpy()
    cost = float(r @ r)
    J = jacobian(x).double().numpy()
    for _ in range(steps):
        normal = J.T @ J
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), -J.T @ r)
        tried = x + torch.as_tensor(step, dtype=x.dtype)
        r_tried = residuals(tried).double().numpy()
        cost_tried = float(r_tried @ r_tried)
        if not cost_tried < cost:
            damping *= 8
            continue
        flat = cost - cost_tried < _FLAT * cost
        x, r, cost, damping = tried, r_tried, cost_tried, max(damping / 4, 1e-7)
        if flat:
            break
        J = jacobian(x).double().numpy()
    return x, cost
