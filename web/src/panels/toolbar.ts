/** The bar above the picture: tools, undo, brush size, steps between images. */
import { button, el, setAttribute, setText } from "./dom";
import type { Editor, Tool } from "../editor";
import { icon, type IconName } from "./icons";
import type { Signal } from "../signal";

const TOOLS: { tool: Tool; name: string; key: string; icon: IconName }[] = [
  { tool: "point", name: "Points", key: "P", icon: "point" },
  { tool: "box", name: "Box", key: "R", icon: "box" },
  { tool: "lasso", name: "Lasso", key: "L", icon: "lasso" },
  { tool: "brush", name: "Brush", key: "B", icon: "brush" },
  { tool: "eraser", name: "Eraser", key: "E", icon: "eraser" },
  { tool: "select", name: "Select masks", key: "V", icon: "select" },
  { tool: "everything", name: "Everything", key: "G", icon: "everything" },
  { tool: "pan", name: "Move the picture", key: "Space + drag", icon: "pan" },
];

export interface ToolbarHooks {
  pick(tool: Tool): void;
  step(by: 1 | -1): void;
  done(): void;
}

export interface Toolbar {
  /** Which image of how many is open, whether it is done, and whether there are others. */
  place(at: number, total: number, done: boolean, open: boolean): void;
}

export function buildToolbar(host: HTMLElement, editor: Editor, hooks: ToolbarHooks): Toolbar {
  const tools = el("div", { class: "group" });
  for (const { tool, name, key, icon: drawn } of TOOLS) {
    const picked = button({
      name,
      key,
      content: [icon(drawn)],
      testid: `tool-${tool}`,
      class: "button icon-button tool",
      press: () => hooks.pick(tool),
    });
    const show = (): void => setAttribute(picked, "aria-pressed", String(editor.tool.value === tool));
    editor.tool.subscribe(show);
    show();
    tools.append(picked);
  }
  const undo = enabled(editor.canUndo, "Undo", "Ctrl + Z", "undo", () => editor.undo());
  const redo = enabled(editor.canRedo, "Redo", "Ctrl + Shift + Z", "redo", () => editor.redo());
  const clean = button({
    name: "Fill holes and drop islands",
    key: "C",
    content: [icon("clean")],
    testid: "clean",
    class: "button icon-button",
    press: () => editor.cleanUp(),
  });
  const cleanable = (): void => {
    clean.disabled = !editor.selection.value && (!editor.draft.value || editor.draft.value.pending);
  };
  editor.selection.subscribe(cleanable);
  editor.draft.subscribe(cleanable);
  cleanable();
  host.append(tools, el("div", { class: "group" }, undo, redo, clean), brushSize(editor), el("div", { class: "spacer" }));
  return steps(host, hooks);
}

function enabled(signal: Signal<boolean>, name: string, key: string, drawn: IconName, press: () => void): HTMLElement {
  const element = button({ name, key, content: [icon(drawn)], testid: drawn, class: "button icon-button", press });
  const show = (): void => {
    element.disabled = !signal.value;
  };
  signal.subscribe(show);
  show();
  return element;
}

export const BRUSH_SIZES = { least: 2, most: 200 } as const;

/** Sizes grow by a share of themselves: one step is as visible for a small brush as for a large one. */
export function steppedBrush(size: number, direction: 1 | -1): number {
  const stepped = direction > 0 ? Math.max(size + 1, size * 1.2) : Math.min(size - 1, size / 1.2);
  return Math.round(Math.min(BRUSH_SIZES.most, Math.max(BRUSH_SIZES.least, stepped)));
}

function brushSize({ brushSize: size, tool }: Editor): HTMLElement {
  const slider = el("input", {
    type: "range",
    min: BRUSH_SIZES.least,
    max: BRUSH_SIZES.most,
    id: "brush-size",
    "aria-label": "Brush size",
    title: "Brush size ([ and ])",
    "data-testid": "brush-size",
  });
  const value = el("output", { class: "slider-value", for: "brush-size" });
  const show = (): void => {
    slider.value = String(size.value);
    setText(value, `${size.value} px`);
  };
  slider.addEventListener("input", () => size.set(Number(slider.value)));
  const group = el("div", { class: "group brush-group" }, slider, value);
  // The place stays reserved, so that nothing moves when the tool changes.
  const reveal = (): void => void group.classList.toggle("idle", tool.value !== "brush" && tool.value !== "eraser");
  size.subscribe(show);
  tool.subscribe(reveal);
  show();
  reveal();
  return group;
}

function steps(host: HTMLElement, hooks: ToolbarHooks): Toolbar {
  const step = (by: 1 | -1): HTMLButtonElement =>
    button({
      name: by > 0 ? "Next image" : "Previous image",
      key: by > 0 ? "→" : "←",
      content: [icon(by > 0 ? "next" : "previous")],
      testid: by > 0 ? "next-image" : "previous-image",
      class: "button icon-button",
      press: () => hooks.step(by),
    });
  const [previous, next] = [step(-1), step(1)];
  const place = el("span", { class: "image-place", "data-testid": "image-place" });
  const doneText = el("span", {}, "Done");
  const done = button({
    name: "Mark as done and go on",
    key: "D",
    content: [icon("done"), doneText],
    testid: "state-done",
    class: "button done-button",
    press: () => hooks.done(),
  });
  host.append(el("div", { class: "group steps" }, previous, place, next, done));
  return {
    place(at, total, isDone, open) {
      setText(place, total ? `${at < 0 ? "–" : at + 1} / ${total}` : "");
      previous.disabled = at <= 0;
      next.disabled = at >= total - 1;
      done.disabled = !open;
      setAttribute(done, "aria-pressed", String(isDone));
    },
  };
}
