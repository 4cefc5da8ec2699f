"""Networks from the keypoints of one picture to the SMPL body: a regressor, and one that learned to descend."""
