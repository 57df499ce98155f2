"""What lies on an image and moves with it: masks, bounding boxes and keypoints."""
