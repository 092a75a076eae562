/** A box around the object; the corners and sides of the draft's box can be dragged afterwards. */
import type { Editor } from "../editor";
import { drawBox } from "../canvas/marks";
import type { Marks } from "../canvas/painter";
import type { Box } from "../masks/rle";
import { CLICK_SLACK, type PointerAt, type ToolHandler } from "./tool";

/** CSS pixels around a corner or side in which it is taken. */
const GRIP = 10;

export class BoxTool implements ToolHandler {
  readonly cursor = "crosshair";
  /** The corner that stays, and which sides follow the pointer. */
  private fixed: { box: Box; x: boolean; y: boolean } | null = null;
  private current: Box | null = null;
  private start: PointerAt | null = null;

  constructor(private readonly editor: Editor) {}

  hover(at: PointerAt | null): void {
    const grip = at && this.grip(at);
    const across = grip && grip.x && grip.y ? diagonal(grip.box) : grip?.x ? "ew-resize" : "ns-resize";
    this.editor.setCursor(grip ? across : this.cursor);
  }

  down(at: PointerAt): void {
    this.begin(at);
    this.fixed = this.grip(at) ?? this.fixed;
  }

  /** A new box, whatever lies under the pointer. */
  begin(at: PointerAt): void {
    this.start = at;
    this.fixed = { box: [at.x, at.y, at.x, at.y], x: true, y: true };
    this.current = null;
  }

  drag(at: PointerAt): void {
    if (!this.fixed || !this.start) return;
    if (!this.current && Math.hypot(at.x - this.start.x, at.y - this.start.y) < CLICK_SLACK * at.reach) return;
    const [left, top, right, bottom] = this.fixed.box;
    this.current = [left, top, this.fixed.x ? at.x : right, this.fixed.y ? at.y : bottom];
    this.editor.previewBox(this.current);
  }

  up(at: PointerAt): void {
    const box = this.current;
    this.cancel();
    if (box) this.editor.setBox(box, at.stamp);
  }

  cancel(): void {
    [this.fixed, this.current, this.start] = [null, null, null];
    this.editor.endPreview();
  }

  marks(marks: Marks): void {
    if (this.current) drawBox(marks, this.current, false);
  }

  /** A box whose last corner (or side) is the one under the pointer. */
  private grip(at: PointerAt): { box: Box; x: boolean; y: boolean } | null {
    const box = this.editor.draft.value?.box;
    if (!box) return null;
    const [left, top, right, bottom] = box;
    const near = (one: number, other: number): boolean => Math.abs(one - other) < GRIP * at.reach;
    const beside = (value: number, from: number, to: number): boolean =>
      value > from - GRIP * at.reach && value < to + GRIP * at.reach;
    if (!beside(at.x, left, right) || !beside(at.y, top, bottom)) return null;
    const [x, y] = [near(at.x, left) || near(at.x, right), near(at.y, top) || near(at.y, bottom)];
    if (!x && !y) return null;
    const [first, last] = near(at.x, left) ? [right, left] : [left, right];
    const [upper, lower] = near(at.y, top) ? [bottom, top] : [top, bottom];
    return { box: [first, upper, last, lower], x, y };
  }
}

function diagonal([left, top, right, bottom]: Box): string {
  return left < right === top < bottom ? "nwse-resize" : "nesw-resize";
}
