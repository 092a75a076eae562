/**
 * Where the picture lies in the view: zoom about a place, pan, fit.
 *
 * Three frames: pixels of the picture, device pixels of the view (everything here), and CSS pixels of pointer events,
 * of which one has `ratio` device pixels.
 */
import type { Position } from "../masks/mask";

/** Device pixels per CSS pixel times this many are the largest that a pixel of the picture becomes. */
const MOST_ZOOM = 48;
/** CSS pixels left free around a picture that fits the view. */
const MARGIN = 16;

export class Viewport {
  /** Device pixels per pixel of the picture. */
  scale = 1;
  /** The picture's top left corner in device pixels of the view; whole when painted. */
  x = 0;
  y = 0;
  /** Size of the view in device pixels. */
  viewWidth = 1;
  viewHeight = 1;
  ratio = 1;
  width = 1;
  height = 1;
  private fitted = true;

  constructor(private readonly changed: () => void) {}

  /** A picture of another size: all of it is shown. */
  show(width: number, height: number): void {
    [this.width, this.height] = [width, height];
    this.fit();
  }

  resize(viewWidth: number, viewHeight: number, ratio: number): void {
    const [centre, oldScale] = [this.toPicture(this.viewWidth / 2, this.viewHeight / 2), this.scale / this.ratio];
    [this.viewWidth, this.viewHeight, this.ratio] = [Math.max(1, viewWidth), Math.max(1, viewHeight), ratio];
    if (this.fitted) this.fit();
    else this.place(oldScale * ratio, centre, this.viewWidth / 2, this.viewHeight / 2);
  }

  fit(): void {
    this.scale = this.fittingScale();
    this.x = (this.viewWidth - this.width * this.scale) / 2;
    this.y = (this.viewHeight - this.height * this.scale) / 2;
    this.fitted = true;
    this.changed();
  }

  /** Zooms about a place of the view (device pixels); what lies there stays there. */
  zoomAt(factor: number, x: number, y: number): void {
    const least = Math.min(this.fittingScale() / 2, this.ratio);
    const scale = Math.min(MOST_ZOOM * this.ratio, Math.max(least, this.scale * factor));
    if (scale !== this.scale) this.place(scale, this.toPicture(x, y), x, y);
  }

  zoomBy(factor: number): void {
    this.zoomAt(factor, this.viewWidth / 2, this.viewHeight / 2);
  }

  /** Pixel for pixel: one pixel of the picture on one CSS pixel. */
  actualSize(): void {
    this.zoomBy(this.ratio / this.scale);
  }

  panBy(dx: number, dy: number): void {
    [this.x, this.y] = [this.x + dx, this.y + dy];
    this.bound();
    this.fitted = false;
    this.changed();
  }

  /** From device pixels of the view to pixels of the picture. */
  toPicture(x: number, y: number): Position {
    return { x: (x - Math.round(this.x)) / this.scale, y: (y - Math.round(this.y)) / this.scale };
  }

  /** From pixels of the picture to device pixels of the view. */
  toView({ x, y }: Position): Position {
    return { x: Math.round(this.x) + x * this.scale, y: Math.round(this.y) + y * this.scale };
  }

  private fittingScale(): number {
    const free = 2 * MARGIN * this.ratio;
    const across = Math.max(this.viewWidth - free, this.viewWidth / 2) / this.width;
    const down = Math.max(this.viewHeight - free, this.viewHeight / 2) / this.height;
    // A tiny picture is not blown up to a few huge squares.
    return Math.min(across, down, 8 * this.ratio);
  }

  private place(scale: number, at: Position, x: number, y: number): void {
    this.scale = scale;
    [this.x, this.y] = [x - at.x * scale, y - at.y * scale];
    this.bound();
    this.fitted = false;
    this.changed();
  }

  /** The middle of the view stays over the picture, so that it cannot get lost. */
  private bound(): void {
    const [middleX, middleY] = [this.viewWidth / 2, this.viewHeight / 2];
    this.x = Math.min(middleX, Math.max(middleX - this.width * this.scale, this.x));
    this.y = Math.min(middleY, Math.max(middleY - this.height * this.scale, this.y));
  }
}
