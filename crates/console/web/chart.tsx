// Plots over time: bars that stand on each other, and lines. Whoever points at a moment, or walks there by the arrow keys, reads its numbers.
import { useEffect, useId, useRef, useState } from "react";

export interface Series {
  name: string;
  /** Names its colour in the style sheet. */
  tone: string;
  /** One number for each moment; null where there is none. */
  values: (number | null)[];
}

interface Props {
  title: string;
  hint?: string;
  series: Series[];
  /** When each moment begins. */
  times: number[];
  look: "bars" | "lines";
  format: (value: number) => string;
  /** The top of the scale is at least this. */
  least?: number;
}

const HEIGHT = 150;
const LEFT = 54;
const BOTTOM = 20;
const TOP = 8;
const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });

/** Round numbers for the scale, whose halves are round, too. */
function topOf(max: number): number {
  const power = 10 ** Math.floor(Math.log10(max));
  return ([1, 2, 4, 6, 8, 10].find((step) => step * power >= max) ?? 10) * power;
}

export function Chart({ title, hint, series, times, look, format, least = 1 }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(480);
  const [at, setAt] = useState<number | null>(null);
  const id = useId();
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(240, Math.floor(entry!.contentRect.width))));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  const sums = times.map((_, moment) =>
    look === "bars" ? series.reduce((sum, { values }) => sum + (values[moment] ?? 0), 0) : Math.max(0, ...series.map(({ values }) => values[moment] ?? 0)),
  );
  const top = topOf(Math.max(least, ...sums));
  const inner = width - LEFT - 4;
  const x = (moment: number) => LEFT + (inner * (moment + 0.5)) / times.length;
  const y = (value: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const bar = Math.max(2, Math.min(18, (inner / times.length) * 0.72));
  const isEmpty = series.every(({ values }) => values.every((value) => value === null || value === 0));
  const labelled = [0, Math.floor(times.length / 3), Math.floor((2 * times.length) / 3), times.length - 1];
  return (
    <figure className="panel chart" aria-labelledby={id}>
      <figcaption>
        <h2 id={id}>{title}</h2>
        {hint && <span className="soft">{hint}</span>}
        <ul className="legend">
          {series.map(({ name, tone }) => (
            <li key={name}>
              <span className={`key tone-${tone}`} />
              {name}
            </li>
          ))}
        </ul>
      </figcaption>
      <div
        className="plot"
        ref={box}
        tabIndex={0}
        role="img"
        aria-label={`${title}: ${series.map(({ name, values }) => `${name} ${format(values.at(-1) ?? 0)}`).join(", ")} in the last minute`}
        onPointerMove={(event) => {
          const moment = Math.floor(((event.clientX - event.currentTarget.getBoundingClientRect().left - LEFT) / inner) * times.length);
          setAt(moment >= 0 && moment < times.length ? moment : null);
        }}
        onPointerLeave={() => setAt(null)}
        onBlur={() => setAt(null)}
        onKeyDown={(event) => {
          const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
          if (step) {
            event.preventDefault();
            setAt(Math.max(0, Math.min(times.length - 1, (at ?? times.length) + step)));
          }
        }}
      >
        <svg width={width} height={HEIGHT} aria-hidden="true">
          {[0, 0.5, 1].map((part) => (
            <g key={part}>
              <line className="rule" x1={LEFT} x2={width - 4} y1={y(top * part)} y2={y(top * part)} />
              <text className="tick" x={LEFT - 8} y={y(top * part) + 4} textAnchor="end">
                {format(top * part)}
              </text>
            </g>
          ))}
          {labelled.map((moment, index) => (
            <text key={index} className="tick" x={x(moment)} y={HEIGHT - 5} textAnchor={index === 0 ? "start" : index === labelled.length - 1 ? "end" : "middle"}>
              {HOUR.format(times[moment])}
            </text>
          ))}
          {at !== null && <rect className="pointed" x={x(at) - inner / times.length / 2} y={TOP} width={inner / times.length} height={HEIGHT - TOP - BOTTOM} />}
          {look === "bars"
            ? times.map((_, moment) => {
                let below = 0;
                return series.map(({ name, tone, values }) => {
                  const value = values[moment] ?? 0;
                  const from = y(below);
                  below += value;
                  // A line of the background between two that stand on each other.
                  const height = Math.max(0, from - y(below) - (below > value ? 1 : 0));
                  return value > 0 && <rect key={`${name}${moment}`} className={`tone-${tone}`} x={x(moment) - bar / 2} y={y(below)} width={bar} height={Math.max(1.5, height)} rx={1.5} />;
                });
              })
            : series.map(({ name, tone, values }) => (
                <g key={name} className={`tone-${tone}`}>
                  <path className="line" d={lineOf(values, x, y)} />
                  {values.map((value, moment) => value !== null && isAlone(values, moment) && <circle key={moment} cx={x(moment)} cy={y(value)} r={2.5} />)}
                  {at !== null && values[at] != null && <circle cx={x(at)} cy={y(values[at]!)} r={3.5} />}
                </g>
              ))}
        </svg>
        {isEmpty && (
          <p className="plot-empty soft">
            <span>Nothing in this time</span>
          </p>
        )}
        {at !== null && (
          <div className={`tip ${x(at) > width / 2 ? "left" : "right"}`} ref={(tip) => void tip?.style.setProperty("--x", `${x(at) > width / 2 ? width - x(at) : x(at)}px`)}>
            <strong>{HOUR.format(times[at])}</strong>
            {series.map(({ name, tone, values }) => (
              <p key={name}>
                <span className={`key tone-${tone}`} />
                {name}
                <b>{values[at] == null ? "–" : format(values[at]!)}</b>
              </p>
            ))}
          </div>
        )}
      </div>
    </figure>
  );
}

function isAlone(values: (number | null)[], moment: number): boolean {
  return (values[moment - 1] ?? null) === null && (values[moment + 1] ?? null) === null;
}

function lineOf(values: (number | null)[], x: (moment: number) => number, y: (value: number) => number): string {
  let path = "";
  values.forEach((value, moment) => {
    if (value !== null) {
      path += `${(values[moment - 1] ?? null) === null ? "M" : "L"}${x(moment).toFixed(1)} ${y(value).toFixed(1)}`;
    }
  });
  return path;
}
