/** The sheet of all keys. */
import { openDialog } from "./dialogs";
import { el } from "./dom";
import { SECTIONS } from "../keyboard";

export async function openHelp(): Promise<void> {
  const sections = SECTIONS.map(({ title, lines }) => {
    const list = el("dl", { class: "keys" });
    for (const { keys, text } of lines) {
      const shown = keys.flatMap((key, index) => [index ? " or " : null, el("kbd", {}, key)]);
      list.append(el("div", {}, el("dt", {}, ...shown), el("dd", {}, text)));
    }
    return el("section", {}, el("h3", {}, title), list);
  });
  const note = el(
    "p",
    { class: "hint" },
    "Without a mouse: Tab to the picture, move the crosshair with the arrow keys (Shift for larger steps), Enter or Space clicks, Alt + Enter removes. Touch: tap adds, a long press removes, two fingers zoom and move.",
  );
  await openDialog({
    title: "Keys and gestures",
    testid: "help-sheet",
    class: "wide",
    content: [el("div", { class: "key-sections" }, ...sections), note],
    choices: [],
  });
}
