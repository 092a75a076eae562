/** Short messages in a corner, also said aloud. Errors stay until they are closed. */
import { button, byId, el } from "./dom";
import { icon } from "./icons";

const SHOWN_FOR = 5000;
const MOST = 4;

export interface ToastAction {
  name: string;
  press: () => void;
}

export function toast(message: string, kind: "info" | "error" = "info", action?: ToastAction): void {
  // Two regions, there from the start: what is put into them is read out, errors at once.
  const region = byId(kind === "error" ? "alerts" : "notices");
  for (const old of region.children) if (old.querySelector(".toast-text")?.textContent === message) old.remove();
  while (region.children.length >= MOST) region.firstElementChild!.remove();
  const close = (): void => shown.remove();
  const shown = el(
    "div",
    { class: `toast toast-${kind}`, "data-testid": `toast-${kind}` },
    el("span", { class: "toast-text" }, message),
    action && actionButton(action, close),
    button({ name: "Close message", content: [icon("cancel")], testid: "toast-close", class: "button icon-button", press: close }),
  );
  region.append(shown);
  if (kind === "info") setTimeout(close, SHOWN_FOR);
}

function actionButton({ name, press }: ToastAction, close: () => void): HTMLButtonElement {
  return button({
    name,
    content: [name],
    testid: "toast-action",
    class: "button text-button",
    press: () => {
      close();
      press();
    },
  });
}
