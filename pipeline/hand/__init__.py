"""Hands: found in the photo, then fitted with the hand model.

mediapipe.py   hints, or palms over many views, or a search     proposals.py regions.py networks.py
               several looks must agree                         consensus.py
fit.py         21 keypoints + 3D shape + mask -> HandEstimate   registration.py anatomy.py least_squares.py
"""
