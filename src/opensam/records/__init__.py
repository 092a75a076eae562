"""What is written about a picture: its masks as a record, in other layouts, and how they overlap.

Read `sa1b` for the record, `formats` for the files of other programs, `overlaps` for duplicates, label maps and parts.
"""

from opensam.records.sa1b import (
    ImageInfo,
    ImageRecord,
    MaskRecord,
    Number,
    RecordError,
    Xy,
    Xywh,
    read_image_record,
)

__all__ = ["ImageInfo", "ImageRecord", "MaskRecord", "Number", "RecordError", "Xy", "Xywh", "read_image_record"]
