"""Run by test_memory in a process of its own: MiB that automatic masks of a large picture take above the picture."""

import re
import sys
from pathlib import Path

import numpy as np
import torch
from oracle import Blobs

from opensam.amg import MaskGenerator
from opensam.predictor import Predictor


def resident(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024


torch.set_num_threads(1)
generator = MaskGenerator(Predictor(Blobs()), points_per_side=3, pred_iou_thresh=0.3, stability_score_thresh=0.3)
generator.generate(np.zeros((60, 80, 3), dtype=np.uint8))  # what is loaded once
picture = np.zeros((int(sys.argv[1]), int(sys.argv[2]), 3), dtype=np.uint8)
picture[:] = 100
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from now
before = resident("VmRSS")
records = generator.generate(picture)
print(len(records), max(record.area for record in records), resident("VmHWM") - before)
