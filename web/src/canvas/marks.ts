/** What tools draw over the picture: points, boxes, strokes, the brush. Light, with a dark rim, to show on any picture. */
import { GREEN, RED } from "./looks";
import type { Position } from "../masks/mask";
import type { Marks } from "./painter";
import type { Box } from "../masks/rle";
import type { PromptPoint } from "../model/segmenter";

const HALO = "rgba(0, 0, 0, 0.55)";
const LINE = "#fff";

export function drawPoint(marks: Marks, point: PromptPoint): void {
  const { context, ratio } = marks;
  const { x, y } = marks.place({ x: point.x + 0.5, y: point.y + 0.5 });
  const arm = 3.5 * ratio;
  circle(context, x, y, 8.5 * ratio, HALO);
  circle(context, x, y, 8 * ratio, LINE);
  circle(context, x, y, 6.25 * ratio, point.label ? GREEN : RED);
  context.beginPath();
  context.moveTo(x - arm, y);
  context.lineTo(x + arm, y);
  if (point.label) {
    context.moveTo(x, y - arm);
    context.lineTo(x, y + arm);
  }
  stroke(context, 1.75 * ratio, LINE);
}

export function drawBox(marks: Marks, [x0, y0, x1, y1]: Box, handles: boolean): void {
  const { context, ratio } = marks;
  const [from, to] = [marks.place({ x: x0, y: y0 }), marks.place({ x: x1, y: y1 })];
  const [left, top] = [Math.round(Math.min(from.x, to.x)), Math.round(Math.min(from.y, to.y))];
  const [right, bottom] = [Math.round(Math.max(from.x, to.x)), Math.round(Math.max(from.y, to.y))];
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  stroke(context, 3.5 * ratio, HALO);
  stroke(context, 1.5 * ratio, LINE);
  if (!handles) return;
  for (const x of [left, right]) {
    for (const y of [top, bottom]) {
      const half = 4 * ratio;
      context.beginPath();
      context.rect(x - half, y - half, 2 * half, 2 * half);
      context.fillStyle = LINE;
      stroke(context, 2 * ratio, HALO);
      context.fill();
    }
  }
}

export function drawPath(marks: Marks, path: readonly Position[], closed: boolean): void {
  const { context, ratio } = marks;
  context.beginPath();
  for (const position of path) {
    const { x, y } = marks.place(position);
    context.lineTo(x, y);
  }
  if (closed) {
    context.closePath();
    context.fillStyle = "rgba(255, 255, 255, 0.15)";
    context.fill();
  }
  context.lineJoin = context.lineCap = "round";
  stroke(context, 3.5 * ratio, HALO);
  stroke(context, 1.5 * ratio, LINE);
}

export function drawCircle(marks: Marks, at: Position, radius: number): void {
  const { context, ratio } = marks;
  const { x, y } = marks.place(at);
  context.beginPath();
  context.arc(x, y, radius * ratio, 0, 2 * Math.PI);
  stroke(context, 3 * ratio, HALO);
  stroke(context, 1.25 * ratio, LINE);
}

/** The place that the keyboard points to. */
export function drawCrosshair(marks: Marks, at: Position): void {
  const { context, ratio } = marks;
  const { x, y } = marks.place({ x: at.x + 0.5, y: at.y + 0.5 });
  const [near, far] = [4 * ratio, 16 * ratio];
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
    context.moveTo(x + dx * near, y + dy * near);
    context.lineTo(x + dx * far, y + dy * far);
  }
  stroke(context, 4 * ratio, HALO);
  stroke(context, 2 * ratio, LINE);
}

function circle(context: CanvasRenderingContext2D, x: number, y: number, radius: number, color: string): void {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
}

function stroke(context: CanvasRenderingContext2D, width: number, color: string): void {
  context.lineWidth = width;
  context.strokeStyle = color;
  context.stroke();
}
