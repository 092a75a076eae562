/** The line below: the open image, the zoom, the meter, and whether everything is saved. */
import { openDialog } from "./dialogs";
import { button, el, setAttribute, setText } from "./dom";
import type { Editor, Latency } from "../editor";
import { icon } from "./icons";
import type { Signal } from "../signal";
import type { Sync, SyncStatus } from "../project/sync";
import type { ImageItem } from "../project/types";

export type Backend = "wasm" | "server" | "loading";

const BACKENDS: Record<Backend, string> = { wasm: "WebAssembly", server: "Server", loading: "Loading" };

export function saveText({ unsaved, offline, refused }: SyncStatus): string {
  if (refused) return `${refused} not saved`;
  if (offline) return `Offline, ${unsaved} unsaved`;
  return unsaved ? `Saving ${unsaved}…` : "Saved";
}

export function meterText(latency: Latency | null, backend: Backend): string {
  const time = latency ? `${Math.round(latency.decode + latency.paint)} ms` : "– ms";
  return `${time} · ${BACKENDS[backend]}`;
}

export interface StatusBar {
  image(image: ImageItem | undefined): void;
}

export function buildStatusBar(host: HTMLElement, editor: Editor, backend: Signal<Backend>, sync: Sync): StatusBar {
  const facts = el("span", { class: "status-image", "data-testid": "status-image" });
  const meter = el("span", { class: "status-meter", "data-testid": "meter" });
  host.append(facts, zoom(editor), meter, saveState(sync));
  const measure = (): void => {
    const { value } = editor.latency;
    setText(meter, meterText(value, backend.value));
    const parts = value ? `: ${value.decode.toFixed(1)} ms to the answer, ${value.paint.toFixed(1)} ms to paint it` : "";
    setAttribute(meter, "title", `Time from click to mask, and where the decoder runs${parts}`);
  };
  editor.latency.subscribe(measure);
  backend.subscribe(measure);
  measure();
  return {
    image(image) {
      setText(facts, image ? `${image.file_name}  ${image.width} × ${image.height}` : "");
    },
  };
}

function zoom(editor: Editor): HTMLElement {
  const level = button({
    name: "Fit the view",
    key: "F",
    content: ["100 %"],
    testid: "zoom-level",
    class: "button small zoom-level",
    press: () => editor.fit(),
  });
  const step = (out: boolean): HTMLElement =>
    button({
      name: out ? "Zoom out" : "Zoom in",
      key: out ? "−" : "+",
      content: [icon(out ? "zoomOut" : "zoomIn")],
      testid: out ? "zoom-out" : "zoom-in",
      class: "button small icon-button",
      press: () => (out ? editor.zoomOut() : editor.zoomIn()),
    });
  // The view has no signal of its own; every change of it is painted.
  const { painter } = editor;
  const marks = painter.onMarks;
  painter.onMarks = (context) => {
    marks(context);
    const percent = `${Math.round((100 * painter.viewport.scale) / painter.viewport.ratio)} %`;
    setText(level, percent);
    setAttribute(level, "aria-label", `Zoom ${percent}, fit the view`);
  };
  return el("div", { class: "group" }, step(true), level, step(false));
}

function saveState(sync: Sync): HTMLElement {
  const text = el("span");
  // Read aloud only when something is wrong: every mask is saved, and nobody wants to hear that.
  const spoken = el("span", { class: "unseen", role: "status" });
  const state = el(
    "button",
    { type: "button", class: "button small save-state", "data-testid": "save-state" },
    el("span", { class: "save-dot" }),
    text,
    spoken,
  );
  const show = (status: SyncStatus): void => {
    setText(text, saveText(status));
    setText(spoken, status.refused || status.offline ? "Not everything is saved" : "");
    state.dataset["state"] = status.refused ? "refused" : status.offline ? "offline" : status.unsaved ? "saving" : "saved";
    setAttribute(state, "title", status.unsaved ? "Try again now" : "Everything is saved");
  };
  state.addEventListener("click", () => void press(sync));
  sync.status.subscribe(show);
  show(sync.status.value);
  return state;
}

async function press(sync: Sync): Promise<void> {
  if (!sync.status.value.refused) return sync.retry();
  const choice = await openDialog({
    title: "Some masks were not saved",
    testid: "refused",
    content: [el("p", {}, "The server refused them, as the message said. They are kept in this browser until you decide.")],
    choices: [
      { value: "discard", name: "Give up changes", kind: "danger" },
      { value: "retry", name: "Try again", kind: "primary" },
    ],
  });
  if (choice === "retry") sync.retry();
  if (choice === "discard") sync.discardRefused();
}
