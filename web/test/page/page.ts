/** The editor with a drawn picture and a model that answers with discs: `npx vite` and open /test/page/. */
import { Editor } from "../../src/editor";
import { emptyMask, fillPolygon, maskToRuns } from "../../src/masks/mask";
import { encodeRle, runsArea, runsBox } from "../../src/masks/rle";
import { DiscModel } from "../disc_model";
import type { Annotation } from "../../src/project/types";

const query = new URLSearchParams(location.search);
const [width, height] = [Number(query.get("width") ?? 1200), Number(query.get("height") ?? 800)];

function drawn(): OffscreenCanvas {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d")!;
  const sky = context.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, "#7fb2e5");
  sky.addColorStop(0.6, "#e8d9c0");
  sky.addColorStop(0.61, "#5b7a4a");
  sky.addColorStop(1, "#2f4a2c");
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  for (let index = 0; index < 60; index++) {
    context.fillStyle = `hsl(${(index * 47) % 360} 55% ${30 + (index % 5) * 10}%)`;
    context.beginPath();
    const [x, y] = [((index * 733) % 1000) / 1000, ((index * 389) % 1000) / 1000];
    context.ellipse(x * width, y * height, width * 0.03, height * 0.05, index, 0, 7);
    context.fill();
  }
  return canvas;
}

function annotation(index: number, number: number): Annotation {
  const mask = emptyMask(width, height);
  const side = Math.sqrt((width * height) / number);
  const columns = Math.ceil(width / side);
  const [x, y] = [((index % columns) + 0.5) * side, (Math.floor(index / columns) + 0.5) * side];
  const corners = Array.from({ length: 24 }, (_, corner) => {
    const angle = (corner / 24) * 2 * Math.PI;
    const radius = side * (0.4 + 0.12 * Math.sin(3 * angle + index));
    return { x: x + radius * Math.cos(angle), y: y + radius * Math.sin(angle) };
  });
  const box = fillPolygon(mask, corners, 1);
  const runs = maskToRuns(mask, box);
  const [left, top, right, bottom] = runsBox(runs);
  return {
    id: `mask-${index}`,
    image_id: "picture",
    version: 1,
    bbox: [left, top, right - left, bottom - top],
    area: runsArea(runs),
    segmentation: encodeRle(runs),
    label: ["cat", "dog", null][index % 3]!,
    predicted_iou: 0.9,
    stability_score: 0.95,
    prompt: {},
    source: "interactive",
  };
}

const model = new DiscModel([height, width], Number(query.get("delay") ?? 5));
const editor = new Editor(document.querySelector("#host")!, model);
const number = Number(query.get("masks") ?? 0);
const annotations = Array.from({ length: number }, (_, index) => annotation(index, number));
editor.labels.set([
  { name: "cat", color: "#e66101", shortcut: "1" },
  { name: "dog", color: "#009e73", shortcut: "2" },
]);
const operations: unknown[] = [];
editor.onOperation = (operation) => operations.push(operation);
const bitmap = await createImageBitmap(drawn());
const item = { id: "picture", file_name: "drawn.png", width, height, state: "new", annotations: number } as const;
editor.open(item, bitmap, annotations);
Object.assign(window, { editor, operations });
document.body.dataset["ready"] = "yes";
