/** The icons: 20 by 20, drawn with lines in the colour of the text around them. */

const PATHS = {
  point: "M10 3v3M10 14v3M3 10h3M14 10h3M10 8.4a1.6 1.6 0 1 0 0 3.2 1.6 1.6 0 0 0 0-3.2",
  box: "M4.5 6.5v-2h2M13.5 4.5h2v2M15.5 13.5v2h-2M6.5 15.5h-2v-2M9 4.5h2M9 15.5h2M4.5 9v2M15.5 9v2",
  lasso: "M10 4c3.9 0 6.5 1.8 6.5 4.2S13.9 12.5 10 12.5 3.5 10.7 3.5 8.2 6.1 4 10 4M6 11.700c-1 1.1-1 2.6.4 3.1 1.3.4 1.9 1 1.5 2.2",
  brush: "M16.5 3.5 9 11M9 11c-1.2-.6-2.7-.3-3.5.8-.9 1.3-.4 3-2.2 4.2 2.2.9 5 .5 6.2-1.2.8-1.2.6-2.9-.5-3.8",
  eraser: "M8 16.5 3.5 12a1 1 0 0 1 0-1.400l6.6-6.600a1 1 0 0 1 1.4 0l4.5 4.500a1 1 0 0 1 0 1.400L9.4 16.500zM6.8 7.300l6 6M8 16.500h8.5",
  select: "M5 3.500l10.5 6-4.7 1.3-2 4.700z",
  everything: "M4 4h5v5H4zM11 4h5v5h-5zM4 11h5v5H4zM13.5 11v5M11 13.500h5",
  pan: "M10 3v14M3 10h14M10 3 8 5M10 3l2 2M10 17l-2-2M10 17l2-2M3 10l2-2M3 10l2 2M17 10l-2-2M17 10l-2 2",
  undo: "M7 4 3.5 7.5 7 11M3.5 7.500h8a4.5 4.5 0 0 1 0 9H7",
  redo: "M13 4l3.5 3.500L13 11M16.5 7.500h-8a4.5 4.5 0 0 0 0 9H13",
  accept: "M4 10.5 8 14.5 16 6",
  cancel: "M5 5l10 10M15 5 5 15",
  clean: "M10 3.500l1.5 4 4 1.5-4 1.5-1.5 4-1.5-4-4-1.5 4-1.500zM15.5 13.500v3M14 15h3",
  zoomIn: "M8.5 3.500a5 5 0 1 0 0 10 5 5 0 0 0 0-10M12.2 12.2 16.5 16.500M8.5 6.500v4M6.5 8.500h4",
  zoomOut: "M8.5 3.500a5 5 0 1 0 0 10 5 5 0 0 0 0-10M12.2 12.2 16.5 16.500M6.5 8.500h4",
  fit: "M3.5 7V3.500H7M13 3.500h3.500V7M16.5 13v3.500H13M7 16.500H3.500V13",
  eye: "M2.5 10C4.2 6.8 6.9 5 10 5s5.8 1.8 7.5 5c-1.7 3.2-4.4 5-7.5 5s-5.8-1.8-7.5-5M10 7.700a2.3 2.3 0 1 0 0 4.6 2.3 2.3 0 0 0 0-4.6",
  eyeOff: "M4 4l12 12M7.6 5.500A7.9 7.9 0 0 1 10 5c3.1 0 5.8 1.8 7.5 5a11 11 0 0 1-2.3 3M5.3 6.800A11 11 0 0 0 2.5 10c1.7 3.2 4.4 5 7.5 5 1 0 2-.2 2.9-.6",
  trash: "M4 5.500h12M8 5.500V3.500h4v2M5.5 5.500l.7 11h7.600l.7-11M8.5 8.500v5M11.5 8.500v5",
  plus: "M10 4v12M4 10h12",
  edit: "M12.5 4.500l3 3L7 16l-3.5.5L4 13z",
  export: "M10 12V3.500M6.5 7 10 3.5 13.5 7M3.5 12.5v4h13v-4",
  import: "M10 3.500V12M6.5 8.5 10 12l3.5-3.500M3.5 12.5v4h13v-4",
  help: "M7.3 7.500A2.7 2.7 0 1 1 11 10c-.7.4-1 .8-1 1.700M10 14.500v.2",
  light: "M10 6.800a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.400M10 2.500v1.500M10 16v1.500M2.5 10H4M16 10h1.500M4.7 4.700l1 1M14.3 14.300l1 1M15.3 4.700l-1 1M5.7 14.300l-1 1",
  dark: "M16 11.500A6.5 6.5 0 0 1 8.5 4a6.5 6.5 0 1 0 7.5 7.5",
  images: "M3.5 4.500h13v11h-13zM3.5 13l4-4 3.5 3.5 2-2 3.5 3.500M12.8 7.500v.2",
  panel: "M3.5 4.500h13v11h-13zM12 4.500v11",
  previous: "M12.5 4.5 7 10l5.5 5.5",
  next: "M7.5 4.5 13 10l-5.5 5.5",
  done: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14M6.8 10.300l2.3 2.2 4.2-4.7",
  search: "M8.5 3.500a5 5 0 1 0 0 10 5 5 0 0 0 0-10M12.2 12.2 16.5 16.5",
  more: "M10 4.900v.2M10 9.900v.2M10 14.900v.2",
} as const;

export type IconName = keyof typeof PATHS;

const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
