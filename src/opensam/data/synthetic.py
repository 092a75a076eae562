"""Pictures without end whose masks are exact: random shapes, filled with texture, over a background.

They teach what holds together when nothing is known: an edge, a texture, a colour, a shadow. Letters: S side of the
picture in pixels, (h, w) size of a shape.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from opensam.data.colours import add_noise, turn_hues
from opensam.data.dataset import Dataset, Source
from opensam.data.paste import Alpha, Layer, Scene, draw_shadow, resize, soften
from opensam.image import Rgb
from opensam.masks import Mask, Rle, encode_rle

SIDES = (0.06, 0.7)  # of shapes, over the side of the picture
COUNT = (4, 12)  # shapes in a picture
SIDE = 320  # of the pictures of `Synthetic`
TEXTURES = 4  # to choose from in each of them
FINE = 2  # shapes are drawn so many times larger, so that their edges come out smooth

Canvas = NDArray[np.uint8]


class Synthetic(Dataset):
    """A data set that needs no files: composites whose textures are made too. Picture i depends on (seed, i) alone."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.name, self.count, self.seed = f"synthetic-{seed}" if seed else "synthetic", count, seed

    def __len__(self) -> int:
        return self.count

    def key(self, i: int) -> str:
        """The number of the picture."""
        return f"{i:06d}"

    def picture(self, i: int) -> bytes:
        """Picture i, (SIDE, SIDE), as a BMP file."""
        return _encode(self._scene(i).rgb)

    def masks(self, i: int) -> tuple[Rle, ...]:
        """What can be seen of each shape in it."""
        return _visible_masks(self._scene(i))

    def read(self, i: int) -> Source:
        """Both, drawn once."""
        scene = self._scene(i)
        return Source(self.name, self.key(i), _encode(scene.rgb), _visible_masks(scene))

    def _scene(self, i: int) -> Scene:
        rng = np.random.default_rng((self.seed, i))
        return composite(SIDE, [make_texture(SIDE, rng) for _ in range(TEXTURES)], [], rng)


def _encode(rgb: Rgb) -> bytes:
    _, encoded = cv2.imencode(".bmp", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()


def _visible_masks(scene: Scene) -> tuple[Rle, ...]:
    seen = (scene.visible(target, 1) for target in scene.targets)
    masks = (coverage >= 0.5 for coverage in seen if coverage is not None)
    return tuple(encode_rle(mask) for mask in masks if mask.any())


def make_texture(side: int, rng: np.random.Generator) -> Rgb:
    """A texture of `side` x `side` pixels: two colours, mixed by stripes, dots, clouds or a gradient, with grain."""
    dark, light = rng.uniform(20, 170, 3), rng.uniform(70, 235, 3)
    levels = (255 * PATTERNS[rng.integers(len(PATTERNS))](side, rng)).astype(np.uint8)
    table = np.linspace(dark, light, 256).astype(np.uint8)
    return add_noise(
        np.asarray(cv2.LUT(cv2.merge([levels] * 3), table[None]), np.uint8), float(rng.uniform(0, 10)), rng
    )


def _make_gradient(side: int, rng: np.random.Generator) -> Alpha:
    along = _directed(side, rng)
    return (along - along.min()) / (along.max() - along.min())


def _make_stripes(side: int, rng: np.random.Generator) -> Alpha:
    return _wave(side, side * rng.uniform(0.02, 0.15), rng)


def _make_dots(side: int, rng: np.random.Generator) -> Alpha:
    length = side * rng.uniform(0.03, 0.15)
    return np.asarray(_wave(side, length, rng) * _wave(side, length, rng), np.float32)


def _make_clouds(side: int, rng: np.random.Generator) -> Alpha:
    """Noise of several sizes, each twice as fine as the one before."""
    clouds, first = np.zeros((side, side), np.float32), int(rng.integers(2, 9))
    for octave in range(5):
        knots = first * 2**octave
        noise = rng.normal(0, 0.7**octave, (knots, knots)).astype(np.float32)
        clouds += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(0.5 + clouds / 4, np.float32).clip(0, 1)


def _wave(side: int, length: float, rng: np.random.Generator) -> Alpha:
    """From 0 to 1 and back every `length` pixels, with soft or hard edges."""
    wave = np.sin(2 * np.pi / length * _directed(side, rng) + rng.uniform(0, 2 * np.pi))
    return np.asarray(0.5 + 0.5 * np.tanh(rng.uniform(0.5, 6) * wave), np.float32)


def _directed(side: int, rng: np.random.Generator) -> Alpha:
    """The coordinate of each pixel along a random direction."""
    angle, steps = rng.uniform(0, 2 * np.pi), np.arange(side, dtype=np.float32)
    return np.asarray(np.cos(angle) * steps + np.sin(angle) * steps[:, None], np.float32)


PATTERNS: list[Callable[[int, np.random.Generator], Alpha]] = [
    _make_gradient,
    _make_stripes,
    _make_dots,
    _make_clouds,
    _make_clouds,  # twice as often: most surfaces are irregular
]


def composite(side: int, pictures: Sequence[Rgb], cutouts: Sequence[Mask], rng: np.random.Generator) -> Scene:
    """A picture of `side` x `side` pixels with random shapes in it, far ones first.

    Args:
        side: S.
        pictures: where textures come from, at least one.
        cutouts: masks whose outlines serve as shapes too; may be empty.
        rng: source of everything.
    """
    scene = Scene(_background(side, pictures, rng))
    low, high = np.log(SIDES)
    sides = side * np.exp(rng.uniform(low, high, int(rng.integers(*COUNT, endpoint=True))))
    # Large ones tend to lie behind, or little would be seen of the others.
    for length in sides[np.argsort(-sides * np.exp(rng.normal(0, 0.5, len(sides))))]:
        alpha = soften(_shape(float(length), cutouts, rng), float(rng.uniform(0.4, 1.2)))
        x, y = (round(rng.uniform(0, side) - half / 2) for half in alpha.shape[::-1])
        scene.add(Layer(_texture(alpha.shape, pictures, rng), (alpha,)), x, y, draw_shadow(float(length), rng))
    return scene


def _background(side: int, pictures: Sequence[Rgb], rng: np.random.Generator) -> Rgb:
    rgb = _texture((side, side), pictures, rng)
    return np.asarray(cv2.blur(rgb, (9, 9)), dtype=np.uint8) if rng.random() < 0.4 else rgb


def _texture(size: tuple[int, ...], pictures: Sequence[Rgb], rng: np.random.Generator) -> Rgb:
    """A piece of a picture, often in other colours; or smooth colours with noise, up to a plain one."""
    h, w = size
    if rng.random() < 0.7:
        picture = pictures[int(rng.integers(len(pictures)))]
        zoom = np.exp(rng.uniform(np.log(0.7), np.log(3)))
        rows, columns = (
            _stretch(length, zoom, whole, rng) for length, whole in zip((h, w), picture.shape, strict=False)
        )
        rgb = resize(picture[rows, columns], (h, w), bool(rng.random() < 0.5))
        if rng.random() < 0.3:
            rgb = turn_hues(rgb, float(rng.uniform(-np.pi / 2, np.pi / 2)))
        middle = 128 + rng.uniform(-40, 40) + rng.normal(0, 15, 3)
        table = rng.uniform(0.5, 1.3) * (np.arange(256)[:, None] - 128) + middle
        return np.asarray(cv2.LUT(rgb, table.clip(0, 255).astype(np.uint8)[None]), dtype=np.uint8)
    knots = int(rng.integers(1, 5))
    colours = rng.uniform(30, 225) + rng.normal(0, rng.uniform(5, 50), 3) + rng.normal(0, 25, (knots, knots, 3))
    smooth = cv2.resize(colours.clip(0, 255).astype(np.uint8), (w, h), interpolation=cv2.INTER_CUBIC)
    return add_noise(np.asarray(smooth, dtype=np.uint8), float(rng.uniform(0, 12)), rng)


def _stretch(length: int, zoom: float, whole: int, rng: np.random.Generator) -> slice:
    shown = max(1, min(whole, round(length / zoom)))
    start = int(rng.integers(whole - shown + 1))
    return slice(start, start + shown)


def _shape(length: float, cutouts: Sequence[Mask], rng: np.random.Generator) -> Alpha:
    """A random shape with a longest side of about `length` pixels, cut to its tight box."""
    if cutouts and rng.random() < 0.3:
        mask = np.rot90(cutouts[int(rng.integers(len(cutouts)))], int(rng.integers(4)))
        canvas = 255 * np.ascontiguousarray(mask).view(np.uint8)
        fine = length / max(cv2.boundingRect(canvas)[2:])
    else:
        n = int(FINE * length)
        canvas, fine = np.zeros((n, n), np.uint8), 1 / FINE
        SHAPES[rng.integers(len(SHAPES))](canvas, rng)
    x, y, w, h = cv2.boundingRect(canvas)
    size = max(3, round(h * fine)), max(3, round(w * fine))
    return resize(canvas[y : y + h, x : x + w], size, bool(rng.random() < 0.5)).astype(np.float32) / np.float32(255)


def _draw_blob(canvas: Canvas, rng: np.random.Generator) -> None:
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    waves = np.arange(1, 6)
    heights = rng.normal(0, rng.uniform(0.1, 0.35), 5) / waves**0.7
    radii = np.exp((heights * np.cos(angles[:, None] * waves + rng.uniform(0, 2 * np.pi, 5))).sum(axis=1))
    _fill(canvas, np.column_stack([radii * np.cos(angles), rng.uniform(0.4, 1) * radii * np.sin(angles)]), rng)


def _draw_polygon(canvas: Canvas, rng: np.random.Generator) -> None:
    corners = int(rng.integers(3, 9))
    # Spread out, so that corners do not meet; radii that differ make some polygons stars.
    angles = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.35, 0.35, corners)) / corners
    radii = rng.uniform(rng.uniform(0.4, 1), 1, corners)
    _fill(canvas, np.column_stack([radii * np.cos(angles), rng.uniform(0.4, 1) * radii * np.sin(angles)]), rng)


def _draw_ellipse(canvas: Canvas, rng: np.random.Generator) -> None:
    _ellipse(canvas, 1.0, rng.uniform(0.3, 1), rng.uniform(0, 180), 255)


def _draw_ring(canvas: Canvas, rng: np.random.Generator) -> None:
    ratio, angle = rng.uniform(0.5, 1), rng.uniform(0, 180)
    _ellipse(canvas, 1.0, ratio, angle, 255)
    _ellipse(canvas, rng.uniform(0.4, 0.8), ratio, angle, 0)


def _draw_stroke(canvas: Canvas, rng: np.random.Generator) -> None:
    n = len(canvas)
    width = max(3 * FINE, round(n * rng.uniform(0.02, 0.1)))
    turns = np.cumsum(rng.normal(0, 0.15, 40)) + rng.uniform(0, 2 * np.pi) + np.linspace(0, rng.uniform(-4, 4), 40)
    path = np.cumsum(np.column_stack([np.cos(turns), np.sin(turns)]), axis=0)
    path = _fitted(path, n - 2 * width) + width
    cv2.polylines(canvas, [path.round().astype(np.int32)], False, 255, width)


def _ellipse(canvas: Canvas, size: float, ratio: float, angle: float, value: int) -> None:
    radius = size * (len(canvas) / 2 - 1)
    centre = (len(canvas) // 2, len(canvas) // 2)
    cv2.ellipse(canvas, centre, (round(radius), round(ratio * radius)), angle, 0, 360, value, cv2.FILLED)


def _fill(canvas: Canvas, outline: NDArray[np.float64], rng: np.random.Generator) -> None:
    angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = outline @ np.array([[cosine, sine], [-sine, cosine]])
    cv2.fillPoly(canvas, [_fitted(turned, len(canvas) - 1).round().astype(np.int32)], 255)


def _fitted(points: NDArray[np.float64], side: float) -> NDArray[np.float64]:
    """Moved and scaled into a square from 0 to `side`."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) * (side / max(high - low))


SHAPES: list[Callable[[Canvas, np.random.Generator], None]] = [
    _draw_blob,
    _draw_blob,  # twice as often: most things are round in some way
    _draw_polygon,
    _draw_ellipse,
    _draw_ring,
    _draw_stroke,
]
