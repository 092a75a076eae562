/** The picture itself, with halved copies, so that a large one is quick to draw small and does not flicker. */
import type { Viewport } from "./viewport";

/** Zoomed in by more than this, pixels of the picture are squares. */
const SQUARE_PIXELS = 4;

export class Picture {
  private readonly levels: (ImageBitmap | OffscreenCanvas)[];

  constructor(bitmap: ImageBitmap) {
    this.levels = [bitmap];
  }

  draw(context: CanvasRenderingContext2D, view: Viewport): void {
    const level = Math.max(0, Math.floor(Math.log2(1 / view.scale) + 1e-9));
    const source = this.level(level);
    const shrunk = source.width / view.width;
    const [x, y] = [Math.round(view.x), Math.round(view.y)];
    // Only what is in the view: a browser may work through all of a picture of which it shows little.
    const left = Math.max(0, Math.floor(-x / view.scale));
    const top = Math.max(0, Math.floor(-y / view.scale));
    const right = Math.min(view.width, Math.ceil((view.viewWidth - x) / view.scale));
    const bottom = Math.min(view.height, Math.ceil((view.viewHeight - y) / view.scale));
    if (left >= right || top >= bottom) return;
    context.imageSmoothingEnabled = view.scale / view.ratio < SQUARE_PIXELS;
    context.imageSmoothingQuality = "medium";
    const shrunkDown = source.height / view.height;
    context.drawImage(
      source,
      left * shrunk,
      top * shrunkDown,
      (right - left) * shrunk,
      (bottom - top) * shrunkDown,
      x + left * view.scale,
      y + top * view.scale,
      (right - left) * view.scale,
      (bottom - top) * view.scale,
    );
    context.imageSmoothingEnabled = true;
  }

  private level(level: number): ImageBitmap | OffscreenCanvas {
    for (let index = this.levels.length; index <= level; index++) {
      const larger = this.levels[index - 1]!;
      if (Math.min(larger.width, larger.height) < 2) return larger;
      const half = new OffscreenCanvas(Math.ceil(larger.width / 2), Math.ceil(larger.height / 2));
      const context = half.getContext("2d");
      if (!context) return larger;
      context.imageSmoothingQuality = "medium";
      context.drawImage(larger, 0, 0, half.width, half.height);
      this.levels.push(half);
    }
    return this.levels[level]!;
  }
}
