"""Reads what `edgefront pack` writes."""

import json
from pathlib import Path

import numpy as np


def read(path):
    """Floats as `Pack::input` makes them, `(pixel / 255 - mean) / std` in float32, and the labels or None."""
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    normalization = json.loads(header["__metadata__"]["edgefront.pack"]).get("normalization")

    def tensor(name, dtype):
        begin, end = header[name]["data_offsets"]
        return np.frombuffer(data[8 + length + begin : 8 + length + end], dtype).reshape(header[name]["shape"])

    if header["images"]["dtype"] == "F32":
        images = tensor("images", np.float32)
    else:
        images = tensor("images", np.uint8).astype(np.float32).transpose(0, 3, 1, 2)
        if normalization:
            mean, std = (np.array(normalization[key], np.float32).reshape(1, -1, 1, 1) for key in ("mean", "std"))
            images = (images / np.float32(255) - mean) / std
    return np.ascontiguousarray(images), tensor("labels", np.int64) if "labels" in header else None
