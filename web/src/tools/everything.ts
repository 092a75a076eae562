/** All masks that the model finds by itself: one lights up under the pointer, a click takes it. */
import type { Editor } from "../editor";
import { CLICK_SLACK, type PointerAt, type ToolHandler } from "./tool";

export class EverythingTool implements ToolHandler {
  readonly cursor = "default";
  private start: PointerAt | null = null;

  constructor(private readonly editor: Editor) {}

  hover(at: PointerAt | null): void {
    const id = at ? this.editor.proposalAt(at) : null;
    this.editor.hovered.set(id);
    this.editor.setCursor(id ? "pointer" : this.cursor);
  }

  down(at: PointerAt): void {
    this.start = at;
  }

  up(at: PointerAt): void {
    const { start } = this;
    this.start = null;
    if (!start || start.opposite || Math.hypot(at.x - start.x, at.y - start.y) >= CLICK_SLACK * at.reach) return;
    const id = this.editor.proposalAt(at);
    if (id) this.editor.takeProposals([id]);
  }

  cancel(): void {
    this.start = null;
    this.editor.hovered.set(null);
  }
}
