// Line drawings on a grid of 20.
const PATHS = {
  health: "M2.5 10.5h3.4l2-5.5 3.7 10 2.2-4.5h3.7",
  data: "M3.5 5.5c0-1.4 2.9-2.5 6.5-2.5s6.5 1.1 6.5 2.5S13.6 8 10 8 3.5 6.9 3.5 5.5Zm0 0v9C3.5 15.9 6.4 17 10 17s6.5-1.1 6.5-2.5v-9M3.5 10c0 1.4 2.9 2.5 6.5 2.5s6.5-1.1 6.5-2.5",
  functions: "M7 4.5 2.5 10 7 15.5M13 4.5l4.5 5.5-4.5 5.5",
  logs: "M4 5h12M4 8.5h8M4 12h12M4 15.5h6",
  schedules: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm0-11v4.2l2.8 1.8",
  files: "M5.5 2.5h6l3.5 3.5v11.5H5.5v-15Zm5.5 0V6.5h4",
  environment: "M3 6h8m4 0h2M3 14h2m4 0h8M13 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4Zm-6 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11Zm4-1.5 4 4",
  plus: "M10 4v12M4 10h12",
  close: "m5 5 10 10M15 5 5 15",
  trash: "M4 5.5h12M8 5.5V3.5h4v2M5.5 5.5l.7 11h7.6l.7-11M8.5 8.5v5M11.5 8.5v5",
  edit: "m4 16 .7-3.2L13 4.5l2.5 2.5-8.3 8.3L4 16Z",
  open: "M8 4.5H4.5v11h11V12M11.5 4.5h4v4M15.5 4.5 9.5 10.5",
  play: "M6 4v12l10-6L6 4Z",
  pause: "M7 4.5v11M13 4.5v11",
  sun: "M10 13a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm0-10.5v1.5m0 12v1.5M2.5 10H4m12 0h1.5M4.7 4.7l1 1m8.6 8.6 1 1m0-10.6-1 1M5.7 14.3l-1 1",
  moon: "M16 11.5A6.5 6.5 0 0 1 8.5 4a6.5 6.5 0 1 0 7.5 7.5Z",
  out: "M8 3.5H4v13h4M12.5 6.5 16 10l-3.5 3.5M16 10H8",
  filter: "M3 5h14M6 10h8M8.5 15h3",
  up: "M10 16V4m-5 5 5-5 5 5",
  down: "M10 4v12m-5-5 5 5 5-5",
  upload: "M10 13V4m-4 4 4-4 4 4M4 13v3.5h12V13",
  download: "M10 4v9m-4-4 4 4 4-4M4 13v3.5h12V13",
  eye: "M2.5 10S5 5 10 5s7.5 5 7.5 5-2.5 5-7.5 5-7.5-5-7.5-5Zm7.5 2a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  copy: "M7 7V3.5h9.5V13H13M3.5 7H13v9.5H3.5V7Z",
  warning: "M10 3.5 17.5 16.5h-15L10 3.5Zm0 5v3.5m0 2v.3",
  check: "m4 10.5 4 4 8-9",
  right: "m7.5 4.5 5.5 5.5-5.5 5.5",
  puzzle: "M4 7h3.5a1.8 1.8 0 1 1 3 0H14v3.2a1.8 1.8 0 1 1 0 3.1v3.2H4V7Z",
  keyboard: "M2.5 5.5h15v9h-15v-9Zm3 3h.1m2.9 0h.1m2.9 0h.1m2.9 0h.1M6 11.5h8",
  more: "M4.5 10h.1m5.4 0h.1m5.4 0h.1",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo({ size = 28 }: { size?: number }) {
  return <img src="icon.svg" width={size} height={size} alt="" />;
}
