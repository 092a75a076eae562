/**
 * Paints: below the picture with the accepted masks, above it what moves (draft, highlight, marks of the tools).
 *
 * Two canvases, so that a moving cursor repaints nothing but what moves. Each mask is a `Sprite` that is made once per
 * scale; while the view zooms, the old ones are stretched, and the new ones come a few milliseconds per frame.
 */
import type { Position } from "../masks/mask";
import { Picture } from "./picture";
import type { Box } from "../masks/rle";
import type { Shape } from "../masks/shapes";
import { Sprite, type MaskStyle } from "./sprite";
import { Viewport } from "./viewport";

/** Milliseconds per frame for making sprites anew, and how long a zoom must have rested before. */
const FRAME_BUDGET = 8;
const ZOOM_RESTS = 90;

export interface PaintedMask {
  id: string;
  shape: Shape;
  style: MaskStyle;
}

/** What tools draw their marks with; everything in device pixels of the view. */
export interface Marks {
  context: CanvasRenderingContext2D;
  /** Device pixels of one CSS pixel. */
  ratio: number;
  place(position: Position): Position;
}

export class Painter {
  readonly viewport: Viewport;
  /** The upper canvas: pointer events go there. */
  readonly canvas: HTMLCanvasElement;
  /** Draws the marks of the tools; last and on top. */
  onMarks: (marks: Marks) => void = () => {};
  private readonly below: CanvasRenderingContext2D;
  private readonly above: CanvasRenderingContext2D;
  private readonly observer: ResizeObserver;
  private picture: Picture | null = null;
  private sprites = new Map<string, Sprite>();
  private order: string[] = [];
  private hidden: string | null = null;
  private top: Sprite[] = [];
  private frame = 0;
  private dirtyBelow = true;
  private zoomedAt = -Infinity;
  private lastScale = 0;

  constructor(private readonly host: HTMLElement) {
    this.viewport = new Viewport(() => this.viewChanged());
    const [below, above] = [0, 1].map(() => {
      const canvas = document.createElement("canvas");
      canvas.style.cssText = "position:absolute;inset:0;width:100%;height:100%;touch-action:none";
      host.append(canvas);
      return canvas;
    }) as [HTMLCanvasElement, HTMLCanvasElement];
    below.setAttribute("aria-hidden", "true");
    this.canvas = above;
    this.below = below.getContext("2d", { alpha: true })!;
    this.above = above.getContext("2d", { alpha: true })!;
    this.observer = new ResizeObserver(() => this.measure());
    this.observer.observe(host);
    this.measure();
  }

  show(bitmap: ImageBitmap | null): void {
    this.picture = bitmap && new Picture(bitmap);
    this.sprites.clear();
    this.order = [];
    this.top = [];
    if (bitmap) this.viewport.show(bitmap.width, bitmap.height);
    this.invalidate();
  }

  /** The masks below, in the order of painting. */
  setMasks(masks: readonly PaintedMask[]): void {
    const before = this.sprites;
    this.sprites = new Map(
      masks.map(({ id, shape, style }) => {
        const sprite = before.get(id) ?? new Sprite(shape, style);
        [sprite.shape, sprite.look] = [shape, style];
        return [id, sprite];
      }),
    );
    this.order = masks.map(({ id }) => id);
    this.invalidate();
  }

  /** A mask that is drawn above at the moment, because it is being changed, is left out below. */
  hide(id: string | null): void {
    if (this.hidden === id) return;
    this.hidden = id;
    this.invalidate();
  }

  /** The masks above; at the next frame, or at once with `paintAbove`. */
  setTop(masks: readonly { shape: Shape; style: MaskStyle }[]): void {
    this.top = masks.map(({ shape, style }, index) => {
      const sprite = this.top[index]?.shape === shape ? this.top[index] : new Sprite(shape, style);
      sprite.look = style;
      return sprite;
    });
    this.invalidateTop();
  }

  /** A mask above changed inside a box: the brush moved. */
  updateTop(shape: Shape, changed: Box): void {
    this.top.find((sprite) => sprite.shape === shape)?.update(changed, this.viewport);
    this.paintAbove();
  }

  invalidate(): void {
    this.dirtyBelow = true;
    this.invalidateTop();
  }

  invalidateTop(): void {
    this.frame ||= requestAnimationFrame(() => this.paint());
  }

  /** The upper canvas now, without waiting for a frame: the shortest way from a mask to the screen. */
  paintAbove(): void {
    const { above, viewport } = this;
    above.clearRect(0, 0, viewport.viewWidth, viewport.viewHeight);
    if (!this.picture) return;
    for (const sprite of this.top) {
      if (!sprite.isFresh(viewport)) sprite.refresh(viewport);
      sprite.draw(above, viewport);
    }
    this.onMarks({ context: above, ratio: viewport.ratio, place: (position) => viewport.toView(position) });
  }

  close(): void {
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
    this.below.canvas.remove();
    this.canvas.remove();
  }

  private paint(): void {
    this.frame = 0;
    if (this.dirtyBelow) {
      this.dirtyBelow = false;
      this.paintBelow();
    }
    this.paintAbove();
  }

  private paintBelow(): void {
    const { below, viewport } = this;
    below.clearRect(0, 0, viewport.viewWidth, viewport.viewHeight);
    if (!this.picture) return;
    this.picture.draw(below, viewport);
    const start = performance.now();
    const rests = start - this.zoomedAt > ZOOM_RESTS;
    let late = false;
    for (const id of this.order) {
      if (id === this.hidden) continue;
      const sprite = this.sprites.get(id)!;
      if (!sprite.isFresh(viewport)) {
        if (rests && performance.now() - start < FRAME_BUDGET) sprite.refresh(viewport);
        else late = true;
      }
      sprite.draw(below, viewport);
    }
    if (late) this.invalidate();
  }

  private viewChanged(): void {
    // The first view of a picture is no zoom: masks are made at once.
    const zoomed = this.lastScale && this.lastScale !== this.viewport.scale;
    if (zoomed && this.order.length) this.zoomedAt = performance.now();
    this.lastScale = this.viewport.scale;
    this.invalidate();
  }

  private measure(): void {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.host.getBoundingClientRect();
    const [wide, high] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
    const { canvas } = this.below;
    if (canvas.width === wide && canvas.height === high && ratio === this.viewport.ratio) return;
    for (const resized of [canvas, this.canvas]) [resized.width, resized.height] = [wide, high];
    this.viewport.resize(wide, high, ratio);
    cancelAnimationFrame(this.frame);
    this.dirtyBelow = true;
    this.paint(); // a resized canvas is empty: without this it would flash
  }
}

