"""2-D pose: keypoints of people in pictures, from detections of others or from models of ours."""
