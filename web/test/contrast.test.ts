/** WCAG 2.2 AA, calculated from the colours of theme.css: 4.5 for text, 3 for borders of controls and signs. */
import { describe, expect, test } from "vitest";
import { COLORS, inkOn } from "../src/project/labels";
import css from "../src/theme.css?raw";

const tokens = new Map<string, { light: string; dark: string }>();
for (const [, name, light, dark] of css.matchAll(/--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)) {
  tokens.set(name!, { light: light!, dark: dark! });
}

const SURFACES = ["ground", "surface", "raised", "hover", "selected", "stage"] as const;
const TEXT: [string, readonly string[]][] = [
  ["text", SURFACES],
  ["muted", SURFACES],
  ["accent", ["surface", "raised", "selected"]],
  ["danger", ["surface", "raised"]],
  ["warning", ["surface", "raised"]],
  ["on-accent", ["accent"]],
];
const SIGNS: [string, readonly string[]][] = [
  ["control", ["surface", "raised"]],
  ["good", ["surface", "selected", "hover"]],
  ["warning", ["surface"]],
  ["accent", ["ground", "surface", "raised", "hover", "selected", "stage"]],
];

function luminance(color: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

describe.each(["light", "dark"] as const)("in %s colours", (theme) => {
  const color = (name: string): string => tokens.get(name)![theme];
  const pairs = (list: [string, readonly string[]][]) => list.flatMap(([ink, grounds]) => grounds.map((ground) => [ink, ground] as const));

  test.each(pairs(TEXT))("text in %s can be read on %s", (ink, ground) => {
    expect(contrast(color(ink), color(ground))).toBeGreaterThanOrEqual(4.5);
  });

  test.each(pairs(SIGNS))("signs in %s can be seen on %s", (ink, ground) => {
    expect(contrast(color(ink), color(ground))).toBeGreaterThanOrEqual(3);
  });
});

test("the dangerous button's text can be read", () => {
  const [, onLight, onDark] = /\.danger \{[^}]*?color: light-dark\((#\w{6}), (#\w{6})\)/.exec(css)!;
  expect(contrast(onLight!, tokens.get("danger")!.light)).toBeGreaterThanOrEqual(4.5);
  expect(contrast(onDark!, tokens.get("danger")!.dark)).toBeGreaterThanOrEqual(4.5);
});

test("keys can be read on the colours that labels get", () => {
  for (const color of COLORS) expect(contrast(color, `#${inkOn(color).slice(1).repeat(2)}`)).toBeGreaterThanOrEqual(4.5);
});
