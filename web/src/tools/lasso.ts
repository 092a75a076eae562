/**
 * One stroke, two uses. A stroke that comes back to its start is a lasso: what it surrounds is added to the draft (Alt:
 * taken from it) exactly as drawn. Any other is a scribble: points along it, where it runs over the picture, go to the
 * model as clicks.
 */
import type { Editor } from "../editor";
import type { Position } from "../masks/mask";
import type { Marks } from "../canvas/painter";
import { drawPath } from "../canvas/marks";
import type { PointerAt, ToolHandler } from "./tool";

/** A stroke is closed when its ends are nearer than this many CSS pixels, or this share of its length. */
const CLOSE = 16;
const CLOSE_SHARE = 0.15;
/** Points of a scribble: one for so many CSS pixels, and no more than this. */
const SPACING = 60;
const MOST_POINTS = 6;

export class LassoTool implements ToolHandler {
  readonly cursor = "crosshair";
  private path: PointerAt[] = [];
  private reach = 1;
  private opposite = false;

  constructor(private readonly editor: Editor) {}

  down(at: PointerAt): void {
    this.path = [at];
    [this.reach, this.opposite] = [at.reach, at.opposite];
  }

  drag(at: PointerAt): void {
    const last = this.path.at(-1);
    if (last && Math.hypot(at.x - last.x, at.y - last.y) >= at.reach) this.path.push(at);
    this.editor.repaintMarks();
  }

  up(at: PointerAt): void {
    const { path, opposite } = this;
    const closed = this.closes();
    this.cancel();
    if (closed) return this.editor.brushwork.polygon(path, !opposite);
    const seen = path.filter(({ inside }) => inside);
    if (seen.length) this.editor.addPoints(along(seen, SPACING * at.reach), opposite ? 0 : 1, at.stamp);
  }

  cancel(): void {
    this.path = [];
    this.editor.repaintMarks();
  }

  marks(marks: Marks): void {
    if (this.path.length > 1) drawPath(marks, this.path, this.closes());
  }

  private closes(): boolean {
    const [first, last] = [this.path[0], this.path.at(-1)];
    if (!first || !last || this.path.length < 8) return false;
    const length = lengthOf(this.path);
    const gap = Math.hypot(last.x - first.x, last.y - first.y);
    return length > 4 * CLOSE * this.reach && gap < Math.max(CLOSE * this.reach, CLOSE_SHARE * length);
  }
}

/** Points spread evenly over a path, in the middle of equal parts. */
export function along(path: readonly Position[], spacing: number): Position[] {
  const length = lengthOf(path);
  const number = Math.min(MOST_POINTS, Math.max(1, Math.round(length / spacing)));
  const points: Position[] = [];
  let walked = 0;
  for (let index = 1; index < path.length; index++) {
    const [from, to] = [path[index - 1]!, path[index]!];
    const step = Math.hypot(to.x - from.x, to.y - from.y);
    for (let next = ((points.length + 0.5) / number) * length; next <= walked + step && points.length < number; ) {
      const share = step ? (next - walked) / step : 0;
      points.push({ x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) });
      next = ((points.length + 0.5) / number) * length;
    }
    walked += step;
  }
  return points.length ? points : path.slice(0, 1);
}

function lengthOf(path: readonly Position[]): number {
  return path.reduce((length, point, index) => {
    const before = path[index - 1] ?? point;
    return length + Math.hypot(point.x - before.x, point.y - before.y);
  }, 0);
}
