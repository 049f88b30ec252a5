"""Hands: found in the photo, then fitted with the hand model.

mediapipe.py   hints, or palms over many views, or a search     proposals.py regions.py networks.py
               several looks must agree                         consensus.py
vitpose.py     whole bodies or single hands, through transformers
fit.py         21 keypoints + 3D shape + mask -> HandEstimate   registration.py anatomy.py least_squares.py
hamer.py wilor.py given.py
               a crop's camera -> the photo's             crop_fitter.py saved.py predicted.py weak_perspective.py
"""
