/** Where a scenario plays: pages of its own, and an eye on what must never happen on them. */

const DESK = { width: 1280, height: 800 };
const PATIENCE = 40_000; // ms; two busy cores

export class Stage {
  /** What went wrong unseen: errors in the console, requests to elsewhere, answers 5xx. */
  problems = [];
  #browser;
  #contexts = [];
  #tolerated = [];
  #given;

  constructor(browser, ask, given) {
    this.#browser = browser;
    this.#given = given;
    this.ask = ask;
  }

  /** Problems that match are what the scenario is about. */
  tolerate(pattern) {
    this.#tolerated.push(pattern);
  }

  /** A new visitor with an empty browser. */
  async visitor(options = {}) {
    const context = await this.#browser.newContext({ viewport: DESK, acceptDownloads: true, ...options });
    context.setDefaultTimeout(PATIENCE);
    this.#contexts.push(context);
    context.on("request", (request) => this.#watch(request.url()));
    context.on("response", (response) => {
      if (response.status() >= 500) this.#report(`${response.status()} from ${response.url()}`);
    });
    context.on("console", (message) => {
      if (message.type() === "error") this.#report(`console: ${message.text()} (${message.location().url})`);
    });
    context.on("weberror", (error) => this.#report(`uncaught: ${error.error().stack}`));
    return context;
  }

  /** What the screen shows, for whoever reads the failure. */
  async picture(name) {
    const page = this.#contexts.at(-1)?.pages()[0];
    if (page === undefined || this.#given.folder === undefined) return "";
    const path = `${this.#given.folder}/${name}.png`;
    return page.screenshot({ path, timeout: 3000 }).then(() => `screen: ${path}`, () => "");
  }

  async close() {
    await Promise.all(this.#contexts.map((context) => context.close()));
  }

  #watch(url) {
    const { protocol, hostname } = new URL(url);
    if (["data:", "blob:"].includes(protocol) || hostname === "127.0.0.1") return;
    this.#report(`a request to elsewhere: ${url}`);
  }

  #report(problem) {
    if (!this.#tolerated.some((pattern) => pattern.test(problem))) this.problems.push(problem);
  }
}
