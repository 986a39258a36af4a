// What `Intl` answers in Node.js and in an isolate. A group's cases are `[label, function]`; each function gives texts.
const locales = "en-US en-GB de fr es pt-BR ja zh-CN ko ar he hi th tr ru pl sv".split(" ");
const zones = ["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin"];
const times = [0, Date.UTC(2024, 0, 5, 9, 7, 3, 45), Date.UTC(2024, 6, 21, 15, 30, 59, 999), Date.UTC(2023, 10, 28)];
const numeric = "numeric";
const two = "2-digit";
const dateOptions = [
  {}, { dateStyle: "full" }, { dateStyle: "long" }, { dateStyle: "medium" }, { dateStyle: "short" },
  { timeStyle: "full" }, { timeStyle: "long" }, { timeStyle: "medium" }, { timeStyle: "short" },
  { dateStyle: "full", timeStyle: "full" }, { dateStyle: "long", timeStyle: "short" }, { dateStyle: "medium", timeStyle: "medium" },
  { dateStyle: "short", timeStyle: "short" },
  { year: numeric, month: "long", day: numeric }, { year: numeric, month: "short", day: numeric }, { year: numeric, month: two, day: two },
  { year: two, month: numeric, day: numeric }, { year: numeric, month: "long" }, { year: numeric, month: "short" }, { year: numeric, month: numeric },
  { month: "long", day: numeric }, { month: "short", day: numeric }, { month: numeric, day: numeric }, { month: two, day: two },
  { month: "long" }, { month: "short" }, { month: "narrow" }, { month: numeric }, { day: numeric }, { day: two }, { year: numeric }, { year: two },
  { weekday: "long" }, { weekday: "short" }, { weekday: "narrow" }, { weekday: "long", year: numeric, month: "long", day: numeric },
  { weekday: "short", month: "short", day: numeric }, { weekday: "short", day: numeric }, { weekday: "long", hour: numeric },
  { weekday: "long", month: "long", day: numeric, hour: numeric, minute: two },
  { hour: numeric }, { hour: two }, { hour: numeric, minute: two }, { hour: two, minute: two }, { hour: numeric, minute: two, second: two },
  { hour: two, minute: two, second: two, hour12: false }, { hour: numeric, minute: numeric, hour12: true }, { hour: numeric, hourCycle: "h11" },
  { minute: two, second: two, fractionalSecondDigits: 3 }, { hour: numeric, minute: numeric, second: numeric, fractionalSecondDigits: 2 },
  { fractionalSecondDigits: 3 }, { year: numeric, month: numeric, day: numeric, hour: numeric, minute: numeric, second: numeric },
  { year: numeric, month: two, day: two, hour: two, minute: two, second: two, hourCycle: "h23" },
  { year: numeric, month: "long", day: numeric, hour: numeric, minute: two, timeZoneName: "short" },
  { era: "short" }, { era: "long", year: numeric }, { era: "narrow", year: numeric, month: "long", day: numeric },
  { dayPeriod: "long", hour: numeric }, { dayPeriod: "short", hour: numeric, minute: numeric }, { timeZoneName: "short" }, { timeZoneName: "long" },
  { timeStyle: "short", hour12: true }, { timeStyle: "medium", hour12: false },
].map((options, index) => ({ ...options, timeZone: zones[index % zones.length] }));
const shown = [0, -0, 1, -1, 2, 5, 0.5, -0.25, 1.005, 12.345, 999, 1000, 1234.5678, -9876.54321, 99999.5, 999999, 1234567.891, 1.5e12, 9.9996e14, 1e16, 1e-7, NaN, -Infinity,
  12345678901234567890n];
const currency = (code, more) => ({ style: "currency", currency: code, ...more });
const numberOptions = [
  {}, { minimumFractionDigits: 2 }, { maximumFractionDigits: 0 }, { maximumSignificantDigits: 3 }, { minimumIntegerDigits: 3 }, { useGrouping: false },
  { useGrouping: "min2" }, { style: "percent" }, { style: "percent", maximumFractionDigits: 1 },
  ..."USD EUR JPY BRL INR GBP CHF KRW PLN SEK CNY".split(" ").map((code) => currency(code)),
  currency("USD", { currencyDisplay: "code" }), currency("EUR", { currencyDisplay: "name" }), currency("CAD", { currencyDisplay: "narrowSymbol" }),
  currency("USD", { currencySign: "accounting" }), currency("USD", { notation: "compact" }), currency("USD", { signDisplay: "exceptZero" }),
  { notation: "compact" }, { notation: "compact", compactDisplay: "long" }, { notation: "scientific" }, { notation: "engineering" },
  ..."kilometer liter celsius kilometer-per-hour megabyte day percent mile-per-gallon kilobyte-per-second hour".split(" ").flatMap((unit) =>
    ["short", "long", "narrow"].map((unitDisplay) => ({ style: "unit", unit, unitDisplay }))),
  { signDisplay: "always" }, { signDisplay: "never" }, { roundingMode: "floor", maximumFractionDigits: 0 },
  { roundingMode: "halfEven", maximumFractionDigits: 0 }, { roundingIncrement: 5, minimumFractionDigits: 2, maximumFractionDigits: 2 },
  { trailingZeroDisplay: "stripIfInteger", minimumFractionDigits: 2 },
];
const words = "a,B,c,A,b,C,ä,Z,z,é,e,E,ß,ss,æ,œ,ø,ñ,n,1,10,2, ,_,-,$,€,a b,ab,a-b,résumé,resume,Résumé,日本,中文,한국,α,б,א,ا,😀,,co-op,coop,İ,ı,i,I,ö,o,å,Å,ch,c,cz,ll,lz,ü,y,ż,ź,ł,l,š,s,č,ž,item 10,item 9".split(",");
const parts = (list) => list.map(({ type, value, source = "" }) => `${source}${type}=${value}`).join("|");
const each = (list, options, make) =>
  list.flatMap((locale) => options.map((option) => [`${locale} ${JSON.stringify(option)}`, () => make(locale, option)]));

const groups = {
  "DateTimeFormat, format": each(locales, dateOptions, (locale, options) => {
    const format = new Intl.DateTimeFormat(locale, options);
    return times.map((time) => format.format(time));
  }),
  "DateTimeFormat, formatToParts": each(locales, dateOptions, (locale, options) => parts(new Intl.DateTimeFormat(locale, options).formatToParts(times[1]))),
  "DateTimeFormat, formatRange": each(locales, dateOptions.slice(0, 44), (locale, options) => {
    const format = new Intl.DateTimeFormat(locale, options);
    return [0, 6e4, 108e5, 72e6, 2592e5, 3456e6, 3456e7].map((by) => format.formatRange(times[1], times[1] + by));
  }),
  "DateTimeFormat, time zones' names": each(
    locales,
    zones.concat("Europe/London", "Asia/Tokyo", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Casablanca", "+05:30", "Etc/GMT+5", "America/Phoenix")
      .flatMap((timeZone) => ["short", "long", "shortOffset", "longOffset", "shortGeneric", "longGeneric"].map((timeZoneName) => ({ timeZone, timeZoneName }))),
    (locale, options) => times.map((time) => new Intl.DateTimeFormat(locale, options).formatToParts(time).find(({ type }) => type === "timeZoneName")?.value),
  ),
  "DateTimeFormat, offsets of other times": each(
    ["en-US"],
    "Europe/London Europe/Berlin Asia/Kolkata Asia/Kathmandu America/New_York Africa/Monrovia Pacific/Apia Europe/Dublin America/Caracas Asia/Pyongyang Antarctica/Troll".split(" "),
    (locale, timeZone) => {
      const format = new Intl.DateTimeFormat(locale, { timeZone, dateStyle: "short", timeStyle: "medium" });
      return [-3e12, -2e12, -1e12, -9e11, -5e11, 0, 1e11, 5e11, 1e12, 1324e9, 1.7e12, 2e12, 5e12, 8.64e15, -8.64e15].map((time) => format.format(time));
    },
  ),
  "DateTimeFormat, resolvedOptions": each(locales, dateOptions, (locale, options) => JSON.stringify(new Intl.DateTimeFormat(locale, options).resolvedOptions())),
  "NumberFormat, format": each(locales, numberOptions, (locale, options) => {
    const format = new Intl.NumberFormat(locale, options);
    return shown.map((number) => format.format(number));
  }),
  "NumberFormat, formatToParts": each(locales, numberOptions, (locale, options) => parts(new Intl.NumberFormat(locale, options).formatToParts(-1234.5))),
  "NumberFormat, formatRange": each(locales, numberOptions, (locale, options) => {
    const format = new Intl.NumberFormat(locale, options);
    return [format.formatRange(1, 3), format.formatRange(2.9, 1000), format.formatRange(1, 1)];
  }),
  "NumberFormat, resolvedOptions": each(["de", "ar"], numberOptions, (locale, options) => JSON.stringify(new Intl.NumberFormat(locale, options).resolvedOptions())),
  "PluralRules": each([...locales, "cy", "lt", "ga"], [{}, { type: "ordinal" }, { minimumFractionDigits: 1 }], (locale, options) => {
    const rules = new Intl.PluralRules(locale, options);
    return [...[0, 1, 2, 3, 4, 5, 10, 11, 12, 20, 21, 22, 100, 101, 1.5, 1e6].map((number) => rules.select(number)), rules.selectRange(0, 1),
      JSON.stringify(rules.resolvedOptions())];
  }),
  "ListFormat": each(
    locales,
    ["conjunction", "disjunction", "unit"].flatMap((type) => ["long", "short", "narrow"].map((style) => ({ type, style }))),
    (locale, options) => [["a"], ["a", "b"], ["a", "b", "c", "d"]].map((list) => parts(new Intl.ListFormat(locale, options).formatToParts(list))),
  ),
  "RelativeTimeFormat": each(
    locales,
    ["long", "short", "narrow"].flatMap((style) => ["always", "auto"].map((numeric) => ({ style, numeric }))),
    (locale, options) => {
      const format = new Intl.RelativeTimeFormat(locale, options);
      return ["second", "minute", "hour", "days", "week", "month", "quarter", "year"]
        .flatMap((unit) => [-10, -2, -1, -0, 0, 1, 2, 1.5, 1000].map((amount) => format.format(amount, unit)));
    },
  ),
  "Collator": each(
    [...locales, "de-u-co-phonebk", "es-u-co-trad", "zh-u-co-stroke", "cs", "da", "fi", "lt"],
    [{}, { numeric: true }, { sensitivity: "base" }, { sensitivity: "accent" }, { sensitivity: "case" }, { caseFirst: "upper" }, { ignorePunctuation: true }],
    (locale, options) => [...words].sort(new Intl.Collator(locale, options).compare).join(","),
  ),
  "Segmenter": each(["en", "ja", "zh", "th", "fr"], ["grapheme", "word", "sentence"], (locale, granularity) => {
    const segmenter = new Intl.Segmenter(locale, { granularity });
    return ["Hello, world! How are you? 1,234.5 it's", "こんにちは世界。元気ですか？", "你好，世界！我爱北京天安门。", "สวัสดีชาวโลก", "مرحبا بالعالم", "👨‍👩‍👧‍👦🇩🇪é", "a.b@c.com", "no\r\nyes"]
      .map((text) => [...segmenter.segment(text)].map(({ segment, isWordLike }) => `${segment}${isWordLike ? "*" : ""}`).join("|"));
  }),
  "DisplayNames": each(
    locales,
    ["long", "short", "narrow"].flatMap((style) => ["region", "language", "currency", "script", "dateTimeField", "calendar"].map((type) => ({ style, type }))),
    (locale, options) => {
      const names = new Intl.DisplayNames(locale, options);
      const codes = {
        region: "US DE GB HK 419 001 ZZ", language: "en en-US en-GB de-AT zh-Hans zh-Hant-TW pt-BR sr-Latn es-419 xx", currency: "USD EUR JPY ZZZ",
        script: "Latn Arab Hans Cyrl", dateTimeField: "era year quarter month weekOfYear weekday day dayPeriod hour minute second timeZoneName",
        calendar: "gregory buddhist japanese",
      };
      return codes[options.type].split(" ").map((code) => names.of(code));
    },
  ),
  "Locale": each("en-US de zh-TW ar-EG-u-nu-latn th-TH-u-ca-buddhist en-Latn-US sr-Cyrl-RS pt-u-hc-h12 he en-u-kn iw".split(" "), [{}, { region: "GB", hourCycle: "h23" }], (tag, options) => {
    const locale = new Intl.Locale(tag, options);
    return ["baseName", "language", "script", "region", "calendar", "collation", "hourCycle", "caseFirst", "numeric", "numberingSystem", "textInfo", "weekInfo",
      "hourCycles", "calendars", "numberingSystems"].map((member) => JSON.stringify(locale[member]) ?? "none")
      .concat(String(locale), String(locale.maximize()), String(locale.minimize()));
  }),
  "tags and values": [
    ["getCanonicalLocales", () => Intl.getCanonicalLocales(["EN-us", "zh-hans-cn", "sl-nedis", "en-u-nu-latn-ca-gregory", "iw", "zh-min-nan", "cmn"])],
    ["supportedLocalesOf", () => Intl.NumberFormat.supportedLocalesOf(["en-US", "de-XX", "xx", "zh-TW"])],
    ...["calendar", "collation", "currency", "numberingSystem", "timeZone", "unit"].map((key) => [`supportedValuesOf("${key}")`, () => Intl.supportedValuesOf(key)]),
  ],
  "toLocaleString and the like": [
    ...each(locales, [undefined, { timeZone: "Asia/Tokyo" }], (locale, options) => [
      (1234.5).toLocaleString(locale), 123456789n.toLocaleString(locale), new Date(times[1]).toLocaleString(locale, options),
      new Date(times[1]).toLocaleDateString(locale, options), new Date(times[1]).toLocaleTimeString(locale, options), [1234.5, new Date(0)].toLocaleString(locale),
      "ISTANBUL ΑΣ".toLocaleLowerCase(locale), "istanbul ß ά".toLocaleUpperCase(locale), String("ä".localeCompare("z", locale)),
    ]),
    ["el, lt, az", () => ["el", "lt", "az"].flatMap((locale) => ["Άά".toLocaleUpperCase(locale), "i̇ì".toLocaleUpperCase(locale), "IÌ".toLocaleLowerCase(locale)])],
  ],
  "what throws which error": [
    ["a style with fields", () => new Intl.DateTimeFormat("en", { dateStyle: "short", hour: numeric })], ["a zone", () => new Intl.DateTimeFormat("en", { timeZone: "Mars" })],
    ["a tag", () => new Intl.NumberFormat("e")], ["no currency", () => new Intl.NumberFormat("en", { style: "currency" })],
    ["digits", () => new Intl.NumberFormat("en", { minimumFractionDigits: 101 })], ["a unit", () => new Intl.NumberFormat("en", { style: "unit", unit: "foo" })],
    ["no date", () => new Intl.DateTimeFormat("en").format(NaN)], ["without new", () => Intl.PluralRules("en")], ["toLocaleDateString", () => new Date(0).toLocaleDateString("en", { timeStyle: "short" })],
    ["a unit of time", () => new Intl.RelativeTimeFormat("en").format(1, "x")], ["a receiver", () => Intl.NumberFormat.prototype.formatToParts.call({}, 1)],
    ["a code", () => new Intl.DisplayNames("en", { type: "region" }).of("x")], ["null", () => new Intl.NumberFormat("en", null)],
  ],
  "what stands where": [
    ...Object.getOwnPropertyNames(Intl).filter((name) => Intl[name].prototype).map((name) => [name, () => [
      Object.prototype.toString.call(Intl[name].prototype), String(Intl[name].length), JSON.stringify(Object.getOwnPropertyDescriptor(Intl, name)),
      Object.getOwnPropertyNames(Intl[name].prototype).sort().join(),
    ]]),
    ["Intl", () => Object.getOwnPropertyNames(Intl).sort()],
  ],
};

// The answers of a group: label and text of each case.
const answersOf = (name) => groups[name].map(([label, evaluate]) => {
  try {
    return [label, JSON.stringify(evaluate())];
  } catch (error) {
    return [label, name === "what throws which error" ? error.name : String(error)];
  }
});
