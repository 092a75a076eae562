/** All masks that the model finds by itself: one lights up under the pointer, a click takes it. */
import type { Editor } from "../editor";
import type { PointerAt, ToolHandler } from "./tool";

export class EverythingTool implements ToolHandler {
  readonly cursor = "default";

  constructor(private readonly editor: Editor) {}

  hover(at: PointerAt | null): void {
    const id = at ? this.editor.proposalAt(at) : null;
    this.editor.hovered.set(id);
    this.editor.setCursor(id ? "pointer" : this.cursor);
  }

  up(at: PointerAt): void {
    const id = this.editor.proposalAt(at);
    if (id) this.editor.takeProposals([id]);
  }

  cancel(): void {
    this.editor.hovered.set(null);
  }
}
