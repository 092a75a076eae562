/** What stands where the picture would be: loading, nothing there, something wrong; and the pill above the picture. */
import { byId, button, el, setText } from "./dom";
import { icon } from "./icons";
import type { ImageList } from "../project/images";
import type { ImageItem } from "../project/types";
import type { Workspace } from "../workspace";

/** Milliseconds before "loading" is worth saying: what is quicker would only flicker. */
const PATIENCE = 150;

export interface StageHooks {
  add(files: File[]): void;
  retry(): void;
  open(image: ImageItem): void;
}

export class StageMessage {
  private readonly host = byId("stage-message");
  private readonly pill = byId("stage-pill");
  private listProblem: string | null = null;
  private timer = 0;
  private shown = "";

  constructor(
    private readonly images: ImageList,
    private readonly workspace: Workspace,
    private readonly hooks: StageHooks,
  ) {
    const update = (): void => this.update();
    for (const signal of [images.all, images.loading, workspace.phase, workspace.model]) signal.subscribe(update);
    update();
  }

  /** The list of images could not be fetched; null: it could. */
  problem(sentence: string | null): void {
    this.listProblem = sentence;
    this.update();
  }

  private update(): void {
    clearTimeout(this.timer);
    const phase = this.workspace.phase.value;
    const { images } = this;
    if (this.listProblem && !images.all.value.length) {
      this.show("list", "The images could not be listed", this.listProblem, this.again(() => this.hooks.retry()));
    } else if (phase.kind === "failed") {
      const { image, reason } = phase;
      const retry = image.problem ? null : this.again(() => this.hooks.open(image));
      this.show(`failed ${image.id}`, `${image.file_name} cannot be shown`, sentence(reason), retry);
    } else if (phase.kind === "idle" && !images.loading.value && !images.all.value.length) {
      this.show("empty", "No images yet", "Drop images here, or choose some. They are copied into the folder.", this.picker());
    } else if (phase.kind === "ready") this.hide();
    else {
      this.hide();
      this.timer = window.setTimeout(() => this.show("loading", "", "", el("div", { class: "spinner", role: "status", "aria-label": "Loading" })), PATIENCE);
    }
    this.showPill();
  }

  private showPill(): void {
    const { model, phase } = this.workspace;
    const state = model.value;
    const visible = phase.value.kind === "ready" && (state.kind === "working" || state.kind === "failed");
    this.pill.classList.toggle("visible", visible);
    this.pill.classList.toggle("failed", state.kind === "failed");
    if (!visible) return setText(this.pill, "");
    if (state.kind === "working") return setText(this.pill, "Preparing the image for clicks…");
    if (state.kind === "failed") {
      const retry = button({
        name: "Try again",
        content: ["Try again"],
        testid: "retry-model",
        class: "button text-button",
        press: () => this.workspace.retryModel(),
      });
      this.pill.replaceChildren(`Clicks do not work. ${sentence(state.reason)}`, retry);
    }
  }

  private show(kind: string, title: string, text: string, ...more: (HTMLElement | null)[]): void {
    const key = `${kind} ${text}`;
    this.host.hidden = false;
    if (key === this.shown) return;
    this.shown = key;
    const drawn = kind === "empty" ? icon("images") : null;
    this.host.replaceChildren(...[drawn, title && el("h2", {}, title), text && el("p", {}, text), ...more].filter((part) => !!part));
  }

  private hide(): void {
    this.host.hidden = true;
    this.host.replaceChildren();
    this.shown = "";
  }

  private again(press: () => void): HTMLElement {
    return button({ name: "Try again", content: ["Try again"], testid: "retry", class: "button primary", press });
  }

  private picker(): HTMLElement {
    const files = el("input", { type: "file", accept: "image/*", multiple: true, hidden: true });
    files.addEventListener("change", () => this.hooks.add([...(files.files ?? [])]));
    const choose = button({
      name: "Choose images",
      content: ["Choose images"],
      testid: "choose-images",
      class: "button primary",
      press: () => files.click(),
    });
    return el("div", {}, choose, files);
  }
}

/** Errors of the server begin in lower case and end without a full stop. */
function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
