import { ConvexError } from "convex/values";

/** Whose dates and numbers. */
export type Reader = { locale: string; timeZone: string };

/** The language as a tag in its usual form; an error if dates can't be written in it. */
export function checkedLocale(locale: string) {
  const [known] = isTag(locale) ? Intl.DateTimeFormat.supportedLocalesOf(locale) : [];
  if (known === undefined) {
    throw new ConvexError(`${locale} is no language that dates can be written in.`);
  }
  return known;
}

function isTag(text: string) {
  try {
    return Intl.getCanonicalLocales(text).length === 1;
  } catch {
    return false;
  }
}

export function checkedTimeZone(timeZone: string) {
  try {
    return new Intl.DateTimeFormat("en", { timeZone }).resolvedOptions().timeZone;
  } catch {
    throw new ConvexError(`${timeZone} is no time zone.`);
  }
}

/** A moment as this person would write it, in their language and at the time of their place. */
export function written(time: number, { locale, timeZone }: Reader) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short", timeZone }).format(time);
}

export function enumerated(texts: string[], { locale }: Reader) {
  return new Intl.ListFormat(locale).format(texts);
}

export function counted(count: number, { locale }: Reader) {
  return new Intl.NumberFormat(locale).format(count);
}
