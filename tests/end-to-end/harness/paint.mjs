// Pictures to upload, made of arithmetic: a sun over the sea.
import { crc32, deflateSync } from "node:zlib";

const COLORS = {
  dawn: { high: [244, 214, 190], low: [242, 150, 110], sun: [255, 240, 214], sea: [84, 110, 130], deep: [34, 58, 84] },
  noon: { high: [92, 168, 214], low: [196, 226, 236], sun: [255, 250, 226], sea: [38, 146, 150], deep: [10, 74, 92] },
  night: { high: [12, 18, 44], low: [58, 62, 108], sun: [232, 232, 214], sea: [24, 40, 78], deep: [6, 12, 30] },
};

/** A PNG file of a view at the `hour` (dawn, noon or night). */
export function seaView(hour, width, height) {
  const { high, low, sun, sea, deep } = COLORS[hour];
  const horizon = height * 0.58;
  const radius = Math.min(width, height) * 0.11;
  const [sunX, sunY] = [width * 0.64, horizon - radius * (hour === "dawn" ? 0.9 : 2.4)];
  return png(width, height, (x, y) => {
    if (y < horizon) {
      const distance = Math.hypot(x - sunX, y - sunY);
      const glow = Math.min(1, Math.max(0, radius + 1 - distance) + 0.55 * Math.exp(-distance / (radius * 2.2)));
      return mix(mix(high, low, (y / horizon) ** 1.5), sun, glow);
    }
    const depth = (y - horizon) / (height - horizon);
    const wave = Math.sin(90 * depth ** 0.5 + 2.2 * Math.sin(x / (18 + 60 * depth) + 7 * depth));
    const mirrored = Math.exp(-(((x - sunX) / (radius * (0.5 + 1.5 * depth))) ** 2));
    const light = 0.16 * (wave + 1) + (wave > 0.2 ? 0.6 : 0.15) * mirrored * (1 - 0.5 * depth);
    return mix(mix(sea, deep, depth), sun, Math.min(1, light));
  });
}

const mix = (from, to, share) => from.map((part, index) => part + (to[index] - part) * share);

/** A PNG file of 8 bits a channel; `colorAt` returns red, green and blue of a pixel. */
function png(width, height, colorAt) {
  const rows = Buffer.alloc(height * (1 + 3 * width)); // each row begins with its filter: none
  for (let y = 0, at = 0; y < height; y++) {
    at += 1;
    for (let x = 0; x < width; x++) {
      for (const part of colorAt(x, y)) {
        rows[at++] = Math.round(part);
      }
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(type, data) {
  const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  checksum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, checksum]);
}
