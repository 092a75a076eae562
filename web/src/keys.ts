/** Brings the keys of the page to what they mean. */
import { anyDialogOpen } from "./panels/dialogs";
import type { Editor, Tool } from "./editor";
import { actionOf, type Action, type Situation } from "./keyboard";
import type { LabelList } from "./project/labels";
import { steppedBrush } from "./panels/toolbar";

export interface KeyHooks {
  pick(tool: Tool): void;
  step(by: 1 | -1): void;
  done(): void;
  help(): void;
  label(name: string): void;
}

export function connectKeys(editor: Editor, labels: LabelList, hooks: KeyHooks): void {
  const actions = actionsOf(editor, hooks);
  window.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    const shortcuts = new Map<string, string>();
    for (const { name, shortcut } of labels.labels.value) if (shortcut) shortcuts.set(shortcut.toLowerCase(), name);
    const action = actionOf(event, situationOf(editor, event), shortcuts);
    if (!action) return;
    // A held key steps through images or sizes; anything else happens once.
    const repeats = /^(brush|zoom|undo|redo|previous|next-image)/.test(action);
    event.preventDefault();
    if (!event.repeat || repeats) actions(action);
  });
}

function situationOf(editor: Editor, { target, key }: KeyboardEvent): Situation {
  const element = target instanceof HTMLElement ? target : null;
  const input = element?.closest("input, textarea, select");
  const slider = input instanceof HTMLInputElement && input.type === "range";
  return {
    draft: editor.draft.value !== null,
    candidates: editor.draft.value?.candidates.length ?? 0,
    // A slider is moved with arrows; every other key is the page's.
    typing: !!input && (!slider || key.startsWith("Arrow")),
    onControl: !!element?.closest("button, a, summary") || slider,
    dialog: anyDialogOpen(),
  };
}

function actionsOf(editor: Editor, hooks: KeyHooks): (action: Action) => void {
  const resize = (direction: 1 | -1): void => editor.brushSize.set(steppedBrush(editor.brushSize.value, direction));
  const simple: Partial<Record<Action, () => void>> = {
    accept: () => editor.accept(),
    cancel: () => editor.cancel(),
    remove: () => {
      if (editor.selection.value) editor.remove(editor.selection.value);
    },
    undo: () => editor.undo(),
    redo: () => editor.redo(),
    "brush-smaller": () => resize(-1),
    "brush-larger": () => resize(1),
    clean: () => editor.cleanUp(),
    "next-candidate": () => editor.nextCandidate(),
    fit: () => editor.fit(),
    "zoom-in": () => editor.zoomIn(),
    "zoom-out": () => editor.zoomOut(),
    "previous-image": () => hooks.step(-1),
    "next-image": () => hooks.step(1),
    done: () => hooks.done(),
    hide: () => editor.masksVisible.set(!editor.masksVisible.value),
    help: () => hooks.help(),
  };
  return (action) => {
    if (action.startsWith("tool-")) hooks.pick(action.slice("tool-".length) as Tool);
    else if (action.startsWith("candidate-")) editor.chooseCandidate(Number(action.slice("candidate-".length)) - 1);
    else if (action.startsWith("label-")) hooks.label(action.slice("label-".length));
    else simple[action]?.();
  };
}
