/**
 * One Chromium for all browser tests; tests/web/browser.py starts this and speaks with it in lines of JSON.
 *
 * In: {"scenario": "module.function", "arguments": {...}}. Out: {"result": ...} or {"error": text}. In between a
 * scenario may ask the test for something only Python can do: out {"ask": name, "value": ...}, in {"answer": ...}.
 */
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { Stage } from "./stage.mjs";

const FLAGS = [
  "--no-sandbox", // in a container the tests run as root
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", // nothing may be needed from anywhere else
];

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

async function receive() {
  const { value, done } = await lines.next();
  return done ? undefined : JSON.parse(value);
}

async function ask(name, value = null) {
  send({ ask: name, value });
  return (await receive()).answer;
}

async function perform(browser, { scenario, arguments: given }) {
  const [module, name] = scenario.split(".");
  const stage = new Stage(browser, ask, given);
  try {
    const scenarios = await import(`./${module}.mjs`);
    const result = await scenarios[name](stage, given);
    return { result: result ?? null, ...(stage.problems.length > 0 && { error: stage.problems.join("\n") }) };
  } catch (error) {
    const picture = await stage.picture(scenario);
    return { error: [error.stack, ...stage.problems, picture].join("\n") };
  } finally {
    await stage.close();
  }
}

const browser = await chromium.launch({ executablePath: process.argv[2], args: FLAGS });
send({ result: browser.version() });
for (let order = await receive(); order !== undefined; order = await receive()) {
  send(await perform(browser, order));
}
await browser.close();
