"""A text model that knows colours by name, one that knows nothing, and a real CLIP that is tiny and untrained."""

import io
import json
import tarfile

import numpy as np
import torch
from PIL import Image
from tests.amg.oracle import COLOURS, draw
from torch.nn import functional

from opensam.masks import decode_rle, encode_rle
from opensam.records import ImageInfo, ImageRecord, MaskRecord

NAMES = ["red", "green", "blue", "yellow", "pink", "cyan"]
GREY = (128, 128, 128)  # between the rectangles
SIDE = 32  # of the pictures that the tiny CLIP looks at


class ColourEncoder:
    """A text is the colour it names, a picture the colour that most of its pixels have; grey is like no text."""

    def embed_texts(self, texts):
        words = [text.split() for text in texts]
        return functional.normalize(torch.tensor([[float(name in those) for name in NAMES] for those in words]))

    def embed_images(self, images):
        return torch.stack([self._seen(image) for image in images])

    def _seen(self, image):
        counts = [(image == np.array(colour, np.uint8)).all(axis=2).sum() for colour in [*COLOURS, GREY]]
        return torch.eye(len(NAMES) + 1, len(NAMES))[int(np.argmax(counts))]


class RandomEncoder:
    """Every text and every picture lies anywhere."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def embed_texts(self, texts):
        return functional.normalize(torch.randn(len(texts), 16, generator=self.generator))

    embed_images = embed_texts


def coloured(size, boxes, names=NAMES):
    """A picture of rectangles, one of each colour, and their masks with the names."""
    labelled = []
    for (x0, y0, x1, y1), name in zip(boxes, names, strict=False):
        mask = np.zeros(size, dtype=bool)
        mask[y0:y1, x0:x1] = True
        labelled.append((encode_rle(mask), name))
    return draw(size, boxes), labelled


def write_labelled(path, pictures):
    """A tar in the SA-1B layout; a picture comes with its masks and their categories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, (pixels, labelled) in enumerate(pictures):
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, "PNG")
            records = [
                MaskRecord.from_mask(decode_rle(mask), i, predicted_iou=1.0, stability_score=1.0, category=name)
                for i, (mask, name) in enumerate(labelled)
            ]
            height, width = pixels.shape[:2]
            info = ImageInfo(image_id=number, width=width, height=height, file_name=f"{number}.png")
            record = ImageRecord(image=info, annotations=records)
            for file, content in ((f"{number}.png", png.getvalue()), (f"{number}.json", record.to_json())):
                member = tarfile.TarInfo(file)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def write_clip(folder, **text):
    """A CLIP of few random weights that reads letters, in a folder as transformers saves any; with its tokenizer."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**sizes, **ids, "vocab_size": len(words), "max_position_embeddings": 40, **text},
        vision_config={**sizes, "image_size": SIDE, "patch_size": 8},
        projection_dim=8,
    )
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape) * 0.3)  # as it comes, all texts look nearly alike
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def change_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
