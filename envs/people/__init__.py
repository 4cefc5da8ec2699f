"""Rendered people: pictures of our body in any shape, pose and clothes, with exact keypoints, visibility and part labels."""
