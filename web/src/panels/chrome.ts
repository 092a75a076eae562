/** The frame of the page: name, actions, colour theme, drawers on narrow screens, files dropped on it. */
import { button, byId, el, setAttribute } from "./dom";
import { icon } from "./icons";
import { browserStorage } from "../project/outbox";
import type { Signal } from "../signal";

export interface ActionHooks {
  exporting(): void;
  importing(): void;
  help(): void;
}

type Theme = "light" | "dark";
const THEME_KEY = "opensam/theme";
const DARK = "(prefers-color-scheme: dark)";

export function buildActions(project: string, hooks: ActionHooks): void {
  // Not by the address: that names the open image.
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    byId("stage").querySelector<HTMLElement>("canvas[tabindex]")?.focus();
  });
  byId("brand").append(
    drawerButton("gallery", "Images", "images"),
    el("img", { src: "./icon.svg", alt: "", width: 20, height: 20, class: "logo" }),
    el("span", { class: "project", title: project }, project),
  );
  const text = (name: string, drawn: "export" | "import", press: () => void): HTMLElement =>
    button({
      name: `${name} annotations`,
      content: [icon(drawn), el("span", {}, name)],
      testid: drawn,
      class: "button action",
      press,
    });
  byId("actions").append(
    text("Import", "import", hooks.importing),
    text("Export", "export", hooks.exporting),
    el("span", { class: "spacer" }),
    themeButton(),
    button({ name: "Keys and gestures", key: "?", content: [icon("help")], testid: "help", class: "button icon-button", press: hooks.help }),
    drawerButton("side", "Labels and masks", "panel"),
  );
}

function themeButton(): HTMLElement {
  const root = document.documentElement;
  const storage = browserStorage();
  const stored = storage.getItem(THEME_KEY);
  if (stored === "light" || stored === "dark") root.dataset["theme"] = stored;
  const current = (): Theme => (root.dataset["theme"] as Theme | undefined) ?? (matchMedia(DARK).matches ? "dark" : "light");
  const toggle = button({
    name: "Dark",
    content: [],
    testid: "theme",
    class: "button icon-button",
    press: () => {
      const next: Theme = current() === "dark" ? "light" : "dark";
      root.dataset["theme"] = next;
      storage.setItem(THEME_KEY, next);
      show();
    },
  });
  const show = (): void => {
    const name = current() === "dark" ? "Light colours" : "Dark colours";
    setAttribute(toggle, "aria-label", name);
    setAttribute(toggle, "title", name);
    toggle.replaceChildren(icon(current() === "dark" ? "light" : "dark"));
  };
  matchMedia(DARK).addEventListener("change", show);
  show();
  return toggle;
}

function drawerButton(drawer: "gallery" | "side", name: string, drawn: "images" | "panel"): HTMLElement {
  const opener = button({
    name,
    content: [icon(drawn)],
    testid: `drawer-${drawer}`,
    class: "button icon-button drawer-button",
    press: () => openDrawer(byId("app").dataset["drawer"] === drawer ? null : drawer),
  });
  setAttribute(opener, "aria-controls", drawer);
  setAttribute(opener, "aria-expanded", "false");
  return opener;
}

function openDrawer(drawer: "gallery" | "side" | null): void {
  const app = byId("app");
  const before = app.dataset["drawer"];
  if (drawer) app.dataset["drawer"] = drawer;
  else delete app.dataset["drawer"];
  for (const opener of document.querySelectorAll(".drawer-button")) {
    setAttribute(opener, "aria-expanded", String(opener.getAttribute("aria-controls") === drawer));
  }
  // Not into a field: on a phone its keyboard would cover what was opened.
  if (drawer) byId(drawer).querySelector<HTMLElement>("[data-main][tabindex='0'], button")?.focus({ preventScroll: true });
  else if (before) document.querySelector<HTMLElement>(`[aria-controls="${before}"]`)?.focus({ preventScroll: true });
}

/** Drawers close with Escape, a tap beside them, and when an image was chosen. */
export function connectDrawers(current: Signal<string | null>): void {
  const isOpen = (): boolean => byId("app").dataset["drawer"] !== undefined;
  byId("scrim").addEventListener("click", () => openDrawer(null));
  current.subscribe(() => {
    if (byId("app").dataset["drawer"] === "gallery") openDrawer(null);
  });
  window.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || !isOpen()) return;
      event.preventDefault();
      openDrawer(null);
    },
    { capture: true },
  );
}

/** Files dropped anywhere on the page. */
export function connectDrop(host: HTMLElement, add: (files: File[]) => void): void {
  const carriesFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  let depth = 0;
  const show = (): void => void host.classList.toggle("dropping", depth > 0);
  window.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth++;
    show();
  });
  window.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    show();
  });
  window.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  window.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show();
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) add(files);
  });
}
