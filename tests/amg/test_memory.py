import subprocess
import sys
from pathlib import Path

import pytest

HEIGHT, WIDTH = 4000, 6000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc/self/clear_refs (Linux)")
def test_a_large_picture_takes_little_more_than_itself():
    command = [sys.executable, str(Path(__file__).with_name("memory_run.py")), str(HEIGHT), str(WIDTH)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    count, largest, mib = (float(value) for value in done.stdout.split())
    assert count >= 3
    assert largest > HEIGHT * WIDTH / 10
    copies = 2 * HEIGHT * WIDTH * 3 / 2**20  # the picture as it is read, and as Pillow has it
    assert mib < copies + 200  # logits of one mask alone would be 92 MiB, those of a batch 4 GiB
