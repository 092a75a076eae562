"""What the server may use, and what it accepts."""

from pathlib import Path

from pydantic import Field

from opensam.config import Config

MIB = 1 << 20


class ServeConfig(Config):
    """Limits and sizes of the server. Who asks for more gets 413, 422 or 429.

    Attributes:
        max_bytes: of an uploaded picture as a file.
        max_pixels: of a picture, known from its header before anything is unpacked.
        max_json: bytes of a request that is not a picture.
        max_prompts: P of one prediction.
        max_points: N of each prompt.
        max_grid_points: clicks of one automatic segmentation, over all its crops.
        max_waiting_bytes: of all uploads that are held in memory at once.
        body_seconds: in which an upload must have arrived.
        encoders: threads that embed pictures.
        queue: pictures that may wait for them.
        predictors: threads that predict.
        predict_queue: predictions that may wait for them.
        generate_queue: automatic segmentations that may wait for the one that runs.
        memory_bytes: of embeddings in memory (4 MiB each at 1024).
        disk_bytes: of embeddings in the cache folder.
        cache: the folder of embeddings; None: they stay in memory.
        token: what every request must carry; None: nothing.
        hosts: names in addition to those of this machine that a request may be addressed to. Empty together with a
            token: any.
    """

    max_bytes: int = Field(default=64 * MIB, ge=1)
    max_pixels: int = Field(default=100_000_000, ge=1)
    max_json: int = Field(default=4 * MIB, ge=1)
    max_prompts: int = Field(default=64, ge=1)
    max_points: int = Field(default=256, ge=1)
    max_grid_points: int = Field(default=16_384, ge=1)
    max_waiting_bytes: int = Field(default=512 * MIB, ge=1)
    body_seconds: float = Field(default=60, gt=0)
    encoders: int = Field(default=1, ge=1)
    queue: int = Field(default=16, ge=1)
    predictors: int = Field(default=2, ge=1)
    predict_queue: int = Field(default=128, ge=1)
    generate_queue: int = Field(default=4, ge=0)
    memory_bytes: int = Field(default=256 * MIB, ge=0)
    disk_bytes: int = Field(default=2048 * MIB, ge=0)
    cache: Path | None = None
    token: str | None = Field(default=None, min_length=8)
    hosts: tuple[str, ...] = ()
