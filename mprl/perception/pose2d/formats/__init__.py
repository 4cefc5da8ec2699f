"""Files of detections: each format is one function `read(path) -> Detections`."""
