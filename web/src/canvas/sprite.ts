/**
 * A mask painted at the scale of the view, kept as a small canvas of its own.
 *
 * It is sampled at device pixels, so its outline is always one pixel thin, and when zoomed in it has the same square
 * pixels as the picture. When only the place of the picture changes it is copied as it is.
 */
import { isEmpty, NOTHING } from "../masks/mask";
import { colour } from "./outline";
import type { Box } from "../masks/rle";
import type { Shape } from "../masks/shapes";
import type { Viewport } from "./viewport";

export interface MaskStyle {
  /** [red, green, blue], 0 to 255. */
  color: Rgb;
  edge: Rgb;
  /** 0 to 1. */
  opacity: number;
  /** A dark rim around the outline, so that it shows on a light picture too. */
  halo: boolean;
}

export type Rgb = readonly [number, number, number];

const HALO: Rgb = [0, 0, 0];
const HALO_OPACITY = 0.5;

export class Sprite {
  private canvas: OffscreenCanvas | null = null;
  /** What the canvas shows, in device pixels from the picture's corner, and at which scale. */
  private region: Box = NOTHING;
  private scale = 0;
  private thickness = 1;
  private painted: Shape | null = null;
  private style = "";

  constructor(
    public shape: Shape,
    public look: MaskStyle,
  ) {}

  /** Whether the canvas shows what the view needs, pixel for pixel. */
  isFresh(view: Viewport): boolean {
    if (this.scale !== view.scale || this.painted !== this.shape || this.style !== styleKey(this.look)) return false;
    const needed = regionIn(this.shape.box, view, 0, this.thickness);
    const [left, top, right, bottom] = this.region;
    return isEmpty(needed) || (needed[0] >= left && needed[1] >= top && needed[2] <= right && needed[3] <= bottom);
  }

  refresh(view: Viewport): void {
    this.thickness = Math.max(1, Math.round(view.ratio));
    this.region = regionIn(this.shape.box, view, 0.5, this.thickness);
    this.scale = view.scale;
    this.painted = this.shape;
    this.style = styleKey(this.look);
    this.canvas = null;
    if (isEmpty(this.region)) return;
    const [left, top, right, bottom] = this.region;
    this.canvas = new OffscreenCanvas(right - left, bottom - top);
    this.repaint(this.region, view);
  }

  /** Paints anew what changed inside a box of the picture; everything where the mask outgrew the canvas. */
  update(changed: Box, view: Viewport): void {
    if (!this.isFresh(view)) return this.refresh(view);
    const reach = this.thickness + 1;
    const [left, top, right, bottom] = scaled(changed, view.scale);
    const dirty = intersection([left - reach, top - reach, right + reach, bottom + reach], this.region);
    if (!isEmpty(dirty)) this.repaint(dirty, view);
  }

  draw(context: CanvasRenderingContext2D, view: Viewport): void {
    if (!this.canvas) return;
    const [left, top, right, bottom] = this.region;
    const [x, y] = [Math.round(view.x), Math.round(view.y)];
    if (this.scale === view.scale) {
      context.drawImage(this.canvas, x + left, y + top);
    } else {
      const grown = view.scale / this.scale;
      context.drawImage(this.canvas, x + left * grown, y + top * grown, (right - left) * grown, (bottom - top) * grown);
    }
  }

  private repaint([left, top, right, bottom]: Box, view: Viewport): void {
    const context = this.canvas?.getContext("2d");
    if (!context) return;
    // A rim beyond what is painted, so that its outline is that of the whole mask.
    const rim = this.thickness;
    const xs = sources(left - rim, right + rim, view.scale, view.width);
    const ys = sources(top - rim, bottom + rim, view.scale, view.height);
    const inside = withRim(this.shape.sample(xs.inside, ys.inside), xs, ys);
    const image = new ImageData(right - left, bottom - top);
    const { color, edge, opacity, halo } = this.look;
    const colours = { fill: packed(color, opacity), edge: packed(edge, 1), halo: halo ? packed(HALO, HALO_OPACITY) : 0 };
    colour(new Uint32Array(image.data.buffer), inside, right - left, bottom - top, rim, colours);
    context.putImageData(image, left - this.region[0], top - this.region[1]);
  }
}

/** The pixels of the picture under device pixels from..to; `before` and `after` of them are outside the picture. */
interface Sources {
  inside: Int32Array;
  before: number;
  after: number;
}

function sources(from: number, to: number, scale: number, side: number): Sources {
  const inside: number[] = [];
  let [before, after] = [0, 0];
  for (let at = from; at < to; at++) {
    const pixel = Math.floor((at + 0.5) / scale);
    if (pixel < 0) before++;
    else if (pixel >= side) after++;
    else inside.push(pixel);
  }
  return { inside: Int32Array.from(inside), before, after };
}

/** What lies outside the picture is outside the mask. */
function withRim(sampled: Uint8Array, xs: Sources, ys: Sources): Uint8Array {
  if (!(xs.before + xs.after + ys.before + ys.after)) return sampled;
  const width = xs.before + xs.inside.length + xs.after;
  const rimmed = new Uint8Array(width * (ys.before + ys.inside.length + ys.after));
  for (let row = 0; row < ys.inside.length; row++) {
    const from = row * xs.inside.length;
    rimmed.set(sampled.subarray(from, from + xs.inside.length), (row + ys.before) * width + xs.before);
  }
  return rimmed;
}

function packed([red, green, blue]: Rgb, opacity: number): number {
  return ((Math.round(opacity * 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The device pixels of a box, and of a rim around it, that are in the view, or within `margin` views of it. */
function regionIn(box: Box, view: Viewport, margin: number, rim: number): Box {
  if (isEmpty(box)) return NOTHING;
  const [x, y] = [Math.round(view.x), Math.round(view.y)];
  const [wide, high] = [Math.ceil(margin * view.viewWidth), Math.ceil(margin * view.viewHeight)];
  const window: Box = [-x - wide, -y - high, view.viewWidth - x + wide, view.viewHeight - y + high];
  const [left, top, right, bottom] = scaled(box, view.scale);
  const region = intersection([left - rim, top - rim, right + rim, bottom + rim], window);
  return isEmpty(region) ? NOTHING : region;
}

function scaled([left, top, right, bottom]: Box, scale: number): Box {
  return [Math.floor(left * scale), Math.floor(top * scale), Math.ceil(right * scale), Math.ceil(bottom * scale)];
}

function intersection(one: Box, other: Box): Box {
  return [
    Math.max(one[0], other[0]),
    Math.max(one[1], other[1]),
    Math.min(one[2], other[2]),
    Math.min(one[3], other[3]),
  ];
}

function styleKey({ color, edge, opacity, halo }: MaskStyle): string {
  return `${color.join()} ${edge.join()} ${opacity} ${halo}`;
}
