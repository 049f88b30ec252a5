"""The three optimisation stages on the GPU find what they find on the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from grasp_scene import Scene, grasp

from pipeline.optimise.camera_setup import camera_setup
from pipeline.optimise.contact_alignment import contact_alignment
from pipeline.optimise.refinement import Refined, refinement
from pipeline.optimise.terms import ContactHints
from pipeline.optimise.view import make_view
from pipeline.recipe import Recipe
from pipeline.types import Edits, HandEstimate, Masks

SETTINGS = Recipe.load("cpu").stage("optimise")


def optimised(scene: Scene, device: torch.device) -> Refined:
    masks = Masks(scene.hand, scene.object, np.zeros_like(scene.hand))
    view = make_view(scene.camera, masks, scene.amodal, SETTINGS["size"], str(device))
    nearer = replace(scene.pose, transl=scene.pose.transl + np.array([0.01, 0.0, 0.03]))
    estimate = HandEstimate(nearer, "open-hand", scene.keypoints, 2.0, 5.0, 1.0)
    fit = camera_setup(scene.ball, view, SETTINGS)
    hints, marks = ContactHints(), Edits()
    aligned = contact_alignment(scene.ball, fit.pose, estimate, scene.model, view, hints, marks, SETTINGS)
    return refinement(scene.ball, aligned, estimate, scene.model, view, hints, marks, SETTINGS)


def test_the_stages_agree(device: torch.device) -> None:
    scene = grasp("right")
    here, expected = optimised(scene, device), optimised(scene, torch.device("cpu"))
    hand, wanted = scene.model.posed(here.hand)[0], scene.model.posed(expected.hand)[0]
    relative = hand - here.object_pose.transl, wanted - expected.object_pose.transl
    assert np.linalg.norm(relative[0] - relative[1], axis=1).mean() < 0.003  # metres
    assert abs(np.log(here.object_pose.scale / expected.object_pose.scale)) < 0.03


def test_the_gpu_gives_the_same_answer_twice(device: torch.device) -> None:
    scene = grasp("left")
    first, second = optimised(scene, device), optimised(scene, device)
    gap = np.abs(scene.model.posed(first.hand)[0] - scene.model.posed(second.hand)[0]).max()
    assert gap < 1e-3
