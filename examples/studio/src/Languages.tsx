import { useMutation } from "convex/react";
import { api } from "../convex/_generated/api";

const LOCALES = ["en-GB", "en-US", "de-DE", "fr-FR", "es-ES", "pt-BR", "pl-PL", "hi-IN", "ar-EG", "ja-JP", "zh-CN"];

/** Which language dates are written in: on this page by the browser and by the server, in letters by the server. */
export function Languages({ locale, timeZone }: { locale: string; timeZone: string }) {
  const setLocale = useMutation(api.people.setLocale).withOptimisticUpdate((store, { locale }) => {
    const me = store.getQuery(api.people.me);
    if (me) {
      store.setQuery(api.people.me, {}, { ...me, locale });
    }
  });
  const known = LOCALES.includes(locale) ? LOCALES : [locale, ...LOCALES];
  return (
    <section className="panel">
      <h2>
        <label htmlFor="locale">Dates</label>
      </h2>
      <select id="locale" value={locale} onChange={(event) => void setLocale({ locale: event.target.value })}>
        {known.map((tag) => (
          <option key={tag} value={tag} lang={tag}>
            {new Intl.DisplayNames(tag, { type: "language", languageDisplay: "standard" }).of(tag)}
          </option>
        ))}
      </select>
      <p className="soft">at the time of {timeZone}</p>
    </section>
  );
}
