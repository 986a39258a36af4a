import { useEffect, useState } from "react";

const TICK_MS = 15_000;
const UNITS = [
  { unit: "day", length: 86_400_000 },
  { unit: "hour", length: 3_600_000 },
  { unit: "minute", length: 60_000 },
] as const;

/** How long ago something was, in a language; it goes on as time does. */
export function useAgo(time: number, locale: string) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  const past = Math.max(0, now - time);
  const format = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const largest = UNITS.find(({ length }) => past >= length);
  return largest ? format.format(-Math.floor(past / largest.length), largest.unit) : format.format(0, "second");
}
