/** The tools by name. */
import type { Editor } from "../editor";
import { BoxTool } from "./box";
import { BrushTool } from "./brush";
import { EverythingTool } from "./everything";
import { LassoTool } from "./lasso";
import { PointTool } from "./point";
import { SelectTool } from "./select";
import type { Tool, ToolHandler } from "./tool";

export function handlersOf(editor: Editor): Record<Tool, ToolHandler> {
  return {
    point: new PointTool(editor),
    box: new BoxTool(editor),
    lasso: new LassoTool(editor),
    brush: new BrushTool(editor, true),
    eraser: new BrushTool(editor, false),
    select: new SelectTool(editor),
    everything: new EverythingTool(editor),
    pan: { cursor: "grab" },
  };
}
