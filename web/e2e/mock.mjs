/** A server of drawn pictures without a model: the app in any state, for screenshots. */
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { deflateSync } from "node:zlib";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".wasm": "application/wasm" };
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; " +
  "worker-src 'self' blob:; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'";
export const PICTURE = { width: 960, height: 640 };

const NAMES = ["harbour", "market", "orchard", "street", "kitchen", "beach", "workshop", "garden"];
const LABELS = [
  { name: "boat", color: "#e66101", shortcut: "1" },
  { name: "person", color: "#1f9e89", shortcut: "2" },
  { name: "building with a long name", color: "#6a5acd", shortcut: "3" },
  { name: "sky", color: "#d6b200", shortcut: "4" },
];

/** Ellipses of a picture: centre, radii, colour. */
function shapes(seed, count) {
  let state = seed * 7919 + 17;
  const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
  return Array.from({ length: count }, () => {
    const size = count > 20 ? 22 + random() * 34 : 60 + random() * 110;
    return {
      x: size + random() * (PICTURE.width - 2 * size),
      y: size + random() * (PICTURE.height - 2 * size),
      rx: size,
      ry: size * (0.6 + 0.4 * random()),
      color: [70 + random() * 170, 60 + random() * 160, 60 + random() * 150],
    };
  });
}

const within = ({ x, y, rx, ry }, px, py) => ((px + 0.5 - x) / rx) ** 2 + ((py + 0.5 - y) / ry) ** 2 <= 1;

function picture(seed, count, shrink = 1) {
  const [width, height] = [PICTURE.width / shrink, PICTURE.height / shrink];
  const drawn = shapes(seed, count);
  const rows = Buffer.alloc(height * (width * 3 + 1));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * (width * 3 + 1) + 1 + x * 3;
      const shape = drawn.findLast((one) => within(one, x * shrink, y * shrink));
      const shade = shape ? 0.75 + (0.5 * (y * shrink)) / PICTURE.height : 1;
      const color = shape?.color ?? [178 - (y / height) * 60, 196 - (y / height) * 50, 206 - (y / height) * 80];
      for (let part = 0; part < 3; part++) rows[at + part] = Math.min(255, color[part] * shade + ((x * 13 + y * 7) % 5));
    }
  }
  return png(width, height, rows);
}

function png(width, height, rows) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

function crc(data) {
  let value = ~0;
  for (const byte of data) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
}

/** COCO's compressed run lengths of an ellipse, and its area. */
function rle(shape) {
  const counts = [];
  let [run, inside, area] = [0, false, 0];
  for (let x = 0; x < PICTURE.width; x++) {
    for (let y = 0; y < PICTURE.height; y++) {
      const now = within(shape, x, y);
      if (now !== inside) {
        counts.push(run);
        [run, inside] = [0, now];
      }
      run++;
      if (now) area++;
    }
  }
  counts.push(run);
  let text = "";
  counts.forEach((count, index) => {
    let rest = index > 2 ? count - counts[index - 2] : count;
    for (let more = true; more; ) {
      let code = rest & 31;
      rest >>= 5;
      more = code & 16 ? rest !== -1 : rest !== 0;
      text += String.fromCharCode((more ? code | 32 : code) + 48);
    }
  });
  return { segmentation: { size: [PICTURE.height, PICTURE.width], counts: text }, area };
}

function annotationsOf(image, count) {
  return shapes(image, Math.max(count, 5)).slice(0, count).map((shape, index) => {
    const { segmentation, area } = rle(shape);
    return {
      id: `00000000-0000-4000-8000-${String(image * 1000 + index).padStart(12, "0")}`,
      image_id: `i${image}`,
      version: 1,
      segmentation,
      area,
      bbox: [shape.x - shape.rx, shape.y - shape.ry, 2 * shape.rx, 2 * shape.ry].map(Math.round),
      label: [...LABELS.map(({ name }) => name), null][index % 5],
      predicted_iou: 0.98 - (index % 9) * 0.03,
      stability_score: 0.95,
      prompt: {},
      source: ["interactive", "manual", "automatic"][index % 3],
    };
  });
}

/** Three candidates around the last point, or the box, as low-resolution logits. */
function predict(request) {
  const grid = { width: 256, height: 256, scale: 256 / PICTURE.width };
  const [x, y] = request.point_coords?.at(-1) ?? [PICTURE.width / 2, PICTURE.height / 2];
  return [1, 0.6, 1.7].map((size, index) => {
    const logits = Buffer.alloc(grid.width * grid.height * 2);
    for (let row = 0; row < grid.height; row++) {
      for (let column = 0; column < grid.width; column++) {
        const away = Math.hypot(column - x * grid.scale, row - y * grid.scale) / (28 * size);
        logits.writeUInt16LE(half(Math.max(-8, Math.min(8, (1 - away) * 10))), (row * grid.width + column) * 2);
      }
    }
    return {
      predicted_iou: 0.96 - 0.11 * index,
      stability_score: 0.97,
      low_res_mask: logits.toString("base64"),
      low_res_shape: [1, grid.height, grid.width],
    };
  });
}

function half(value) {
  if (!value) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  if (exponent < -14) return value < 0 ? 0x8000 : 0;
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | Math.min(1023, Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024));
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Serves a built app and a made-up project; `scenario` may be changed while it runs:
 * images, masks (per image), labels, slow (ms per picture and embedding), away, refuseEmbed, conflict.
 */
export async function startMock(folder, scenario) {
  const states = new Map();
  const saved = new Map();
  const item = (index) => ({
    id: `i${index}`,
    file_name: `${NAMES[index % NAMES.length]}_${String(index).padStart(4, "0")}.jpg`,
    ...PICTURE,
    state: states.get(`i${index}`) ?? ["in_progress", "new", "done", "new"][index % 4],
    annotations: index === 0 ? scenario.masks : (index * 5) % 13,
    problem: scenario.broken === index ? "the file is damaged, or not a picture" : null,
  });
  const answers = {
    "GET /v1/project": () => ({ name: "holiday photos", labels_version: 1, images: scenario.images, annotations: 0, read_only: false }),
    "GET /v1/models": () => ({ default: "opensam_tiny", models: [], decoder: { url: "/v1/decoder.safetensors" } }),
    "GET /v1/labels": () => ({ version: 1, labels: scenario.labels === 0 ? [] : LABELS }),
    "PUT /v1/labels": (_id, body) => ({ version: 2, labels: body.labels }),
    "GET /v1/images": (_id, _body, query) => {
      const [offset, limit] = [Number(query.get("offset")), Number(query.get("limit"))];
      const count = Math.max(0, Math.min(limit, scenario.images - offset));
      return { total: scenario.images, images: Array.from({ length: count }, (_, index) => item(offset + index)) };
    },
    "PATCH /v1/images": (id, body) => (states.set(id, body.state), item(Number(id.slice(1)))),
    "GET /v1/images/annotations": (id) => ({ annotations: annotationsOf(Number(id.slice(1)), id === "i0" ? scenario.masks : 2) }),
    "POST /v1/images/annotations": (id, body) => (saved.set(body.id, 1), { ...body, image_id: id, version: 1, bbox: [0, 0, 1, 1], area: 1 }),
    "PUT /v1/annotations": (id, body) => {
      if (scenario.conflict) return [409, { detail: "changed elsewhere", current: { ...annotationsOf(0, 5)[0], id, version: 7, label: "person", area: 18250 } }];
      return { ...body, id, image_id: "i0", version: body.version + 1, bbox: [0, 0, 1, 1], area: 1 };
    },
    "DELETE /v1/annotations": () => [204, null],
    "POST /v1/images/embed": (id) => {
      if (scenario.refuseEmbed) return [503, { detail: "the model could not be loaded" }];
      return { id: `e${id}`, model: "opensam_tiny", original_size: [PICTURE.height, PICTURE.width], image_size: 1024 };
    },
    "POST /v1/predict": (_id, body) => ({ masks: predict(body) }),
  };
  async function answer(request, response) {
    const url = new URL(request.url, "http://x");
    if (scenario.away && url.pathname.startsWith("/v1/") && request.method !== "GET") return request.socket.destroy();
    const [, , kind, id = "", action] = url.pathname.split("/");
    const body = request.method === "GET" ? null : await readBody(request);
    if (action === "file" || action === "thumbnail") {
      if (action === "file") await wait(scenario.slow ?? 0);
      return reply(response, 200, picture(Number(id.slice(1)), id === "i0" ? Math.max(5, scenario.masks) : 5, action === "file" ? 1 : 4), "image/png");
    }
    if (action === "embed") await wait(scenario.slow ?? 0);
    if (action === "generate") return generate(response, scenario);
    const found = answers[`${request.method} /v1/${[kind, action].filter(Boolean).join("/")}`];
    if (!found) return reply(response, 404, JSON.stringify({ detail: "there is nothing here" }), "application/json");
    const result = found(id, body, url.searchParams);
    const [status, content] = Array.isArray(result) ? result : [200, result];
    reply(response, status, content === null ? "" : JSON.stringify(content), "application/json");
  }
  const server = createServer((request, response) => {
    const path = request.url.split("?")[0];
    const work = path.startsWith("/v1/") ? answer(request, response) : file(folder, path, response);
    work.catch((error) => reply(response, 500, String(error), "text/plain"));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => (server.closeAllConnections(), server.close()) };
}

async function generate(response, scenario) {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  for (let done = 0; done <= 10; done++) {
    response.write(`event: progress\ndata: ${JSON.stringify({ done, total: 16 })}\n\n`);
    await wait(30);
  }
  await wait(scenario.slowGenerate ?? 0);
  const annotations = annotationsOf(0, 24).map(({ segmentation, area, bbox, predicted_iou, stability_score }) => ({
    segmentation, area, bbox, predicted_iou, stability_score, point_coords: [],
  }));
  response.end(`event: result\ndata: ${JSON.stringify({ image: {}, annotations })}\n\n`);
}

async function readBody(request) {
  let text = "";
  for await (const piece of request) text += piece;
  return text.startsWith("{") ? JSON.parse(text) : null;
}

async function file(folder, path, response) {
  const wanted = normalize(join(folder, path === "/" ? "index.html" : path));
  if (!wanted.startsWith(normalize(folder))) return reply(response, 404, "", "text/plain");
  try {
    reply(response, 200, await readFile(wanted), TYPES[extname(wanted)] ?? "application/octet-stream");
  } catch {
    reply(response, 404, "", "text/plain");
  }
}

function reply(response, status, content, type) {
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
  });
  response.end(content);
}
