/** Clicks: part of the object, or (right, Alt, long press) not part of it. Dragging draws a box. */
import type { Editor } from "../editor";
import { BoxTool } from "./box";
import { CLICK_SLACK, type PointerAt, type ToolHandler } from "./tool";
import type { Marks } from "../canvas/painter";

export class PointTool implements ToolHandler {
  readonly cursor = "crosshair";
  private start: PointerAt | null = null;
  private box: BoxTool | null = null;

  constructor(private readonly editor: Editor) {}

  hover(at: PointerAt | null): void {
    // With a draft the next click corrects it; a preview of something else would only be in the way.
    if (at?.inside && !this.editor.draft.value) this.editor.previewPoint(at);
    else this.editor.endPreview();
  }

  down(at: PointerAt): void {
    this.start = at;
    if (at.inside) this.editor.anticipatePoint(at, at.opposite ? 0 : 1);
  }

  drag(at: PointerAt): void {
    if (!this.start || this.start.opposite) return;
    if (!this.box && Math.hypot(at.x - this.start.x, at.y - this.start.y) >= CLICK_SLACK * at.reach) {
      this.box = new BoxTool(this.editor);
      this.box.begin(this.start);
    }
    this.box?.drag(at);
  }

  up(at: PointerAt): void {
    const { start, box } = this;
    [this.start, this.box] = [null, null];
    if (box) box.up(at);
    else if (start?.inside) this.editor.addPoints([start], start.opposite ? 0 : 1, at.stamp);
  }

  cancel(): void {
    this.box?.cancel();
    [this.start, this.box] = [null, null];
  }

  marks(marks: Marks): void {
    this.box?.marks(marks);
  }
}
