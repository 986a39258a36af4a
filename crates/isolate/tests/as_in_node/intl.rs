//! `Intl` in an isolate beside Node.js 22 (intl.js), and the table of what differs (docs/reference/intl.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use isolate::{CallLimits, Invocation, Slot, Step};

use super::{in_node, node_22, support};
use support::{image, on_thread, query_of, run};

const CASES: &str = include_str!("intl.js");
const BEGIN: &str = "<!-- The test `intl` writes what follows. -->\n";
const END: &str = "<!-- It ends here. -->\n";

/// Answers that differ for one reason.
struct Kind {
    about: &'static [&'static str],
    /// Empty for all of them.
    locales: &'static str,
    /// What stands in a case's label.
    options: &'static str,
    reason: &'static str,
}

/// Why answers differ. Each case that does belongs to the first kind that it fits.
const KINDS: &[Kind] = &[
    Kind {
        about: &[
            "DateTimeFormat, format",
            "DateTimeFormat, formatToParts",
            "DateTimeFormat, formatRange",
            "DateTimeFormat, resolvedOptions",
        ],
        locales: "th",
        options: "",
        reason: "Thai dates are of the Buddhist calendar, whose patterns are not built in: those of the Gregorian one stand in for \
            them, with their hours, eras and dashes",
    },
    Kind {
        about: &["DateTimeFormat, resolvedOptions"],
        locales: "es pt-BR",
        options: "",
        reason: "V8 looks for fields in the letters of a pattern's words as well: it finds a day in \"de\" and a second in \"às\"",
    },
    Kind {
        about: &["ListFormat"],
        locales: "he hi",
        options: "",
        reason: "the list is that of CLDR 48.2; Node.js has 48.0",
    },
    Kind {
        about: &["PluralRules"],
        locales: "es cy ga",
        options: "ordinal",
        reason: "the rules for ordinal numbers are those of CLDR 48.2; Node.js has 48.0",
    },
    Kind {
        about: &["NumberFormat, format"],
        locales: "ru pl",
        options: "\"unitDisplay\":\"long\"",
        reason: "of a number with more than 18 digits ICU takes the last 18, as a floating point number whose own last digits are \
            others, and by these the plural form of the unit; here each digit counts",
    },
    Kind {
        about: &["NumberFormat, formatRange"],
        locales: "ar he",
        options: "\"signDisplay\":\"exceptZero\"",
        reason: "the sign for \"about\" stands before the mark of direction that the locale's pattern begins with, in ICU behind it",
    },
    Kind {
        about: &["NumberFormat, formatToParts"],
        locales: "he",
        options: "\"currency\":\"CNY\"",
        reason: "the mark of direction that the symbol of the currency begins with is part of it, in ICU of the text before it",
    },
    Kind {
        about: &["tags and values"],
        locales: "",
        options: "\"calendar\"",
        reason: "the calendars are those that dates can be written in",
    },
    Kind {
        about: &["tags and values"],
        locales: "",
        options: "\"collation\"",
        reason: "the collations are those that there are: none for searches",
    },
    Kind {
        about: &["tags and values"],
        locales: "",
        options: "\"currency\"",
        reason: "all currencies that CLDR names, also those of the past",
    },
    Kind {
        about: &["tags and values"],
        locales: "",
        options: "\"timeZone\"",
        reason: "the time zones of another release of IANA's database",
    },
    Kind {
        about: &["what stands where"],
        locales: "Locale",
        options: "",
        reason: "`Locale` has its newer functions (`getCalendars`) beside the fields, which alone Node.js 22 has",
    },
];

impl Kind {
    fn fits(&self, about: &str, label: &str) -> bool {
        let locale = label.split(' ').next().unwrap_or_default();
        self.about.contains(&about)
            && (self.locales.is_empty() || self.locales.split(' ').any(|known| known == locale))
            && label.contains(self.options)
    }
}

type Answers = Vec<(String, String)>;

fn in_an_isolate(names: &[String]) -> BTreeMap<String, Answers> {
    let image = image(&format!(
        "{CASES}\nexport const compared = query((_ctx, {{ name, part }}) => JSON.stringify(answersOf(name).slice(part * 500, part * 500 + 500)));"
    ));
    let names = names.to_vec();
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let limits = CallLimits { user_time_ms_max: 120_000, ..CallLimits::default() };
        let mut groups = BTreeMap::new();
        for name in names {
            let mut answers: Answers = Vec::new();
            for part in 0.. {
                let arguments = serde_json::json!([{ "name": name, "part": part }]).to_string();
                let text = match run(&mut slot, &Invocation { limits, ..query_of("compared", &arguments) }) {
                    Step::Done(Ok(text)) => text,
                    other => panic!("{name}: {other:?}"),
                };
                let text: String = serde_json::from_str(&text).expect("a text");
                let more: Answers = serde_json::from_str(&text).expect("JSON");
                let is_last = more.len() < 500;
                answers.extend(more);
                if is_last {
                    break;
                }
            }
            groups.insert(name, answers);
        }
        groups
    })
}

fn cell(text: &str) -> String {
    let shown: String = text
        .chars()
        .map(|character| match character {
            '|' => "\\|".into(),
            '\u{a0}' | '\u{202f}' | '\u{2009}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
                format!("⟨{:x}⟩", character as u32)
            }
            _ => character.to_string(),
        })
        .collect();
    format!("`{shown}`")
}

/// What two answers have that differs: the first texts of lists, else all.
fn first_difference(one: &str, other: &str) -> (String, String) {
    let lists: (Result<Vec<String>, _>, Result<Vec<String>, _>) =
        (serde_json::from_str(one), serde_json::from_str(other));
    if let (Ok(one), Ok(other)) = lists
        && let Some((one, other)) = one.iter().zip(&other).find(|(one, other)| one != other)
    {
        return (one.clone(), other.clone());
    }
    (one.to_owned(), other.to_owned())
}

#[test]
fn intl() {
    let answers = "Object.fromEntries(Object.keys(groups).map((name) => [name, answersOf(name)]))";
    let expected: BTreeMap<String, Answers> = in_node(&node_22(), CASES, answers);
    let names: Vec<String> = expected.keys().cloned().collect();
    let got = in_an_isolate(&names);
    let mut counts = String::from("| about | compared | differ | why |\n| --- | --- | --- | --- |\n");
    let mut list =
        String::from("| about | case | Node.js 22 | here | why |\n| --- | --- | --- | --- | --- |\n");
    let mut unexplained = Vec::new();
    let mut cases_of_kinds = vec![0; KINDS.len()];
    for (name, answers) in &expected {
        assert_eq!(answers.len(), got[name].len(), "{name}");
        let differing: Vec<_> = answers.iter().zip(&got[name]).filter(|(one, other)| one != other).collect();
        let mut numbers = BTreeSet::new();
        for ((label, node), (_, here)) in &differing {
            let (node, here) = first_difference(node, here);
            let Some(kind) = KINDS.iter().position(|kind| kind.fits(name, label)) else {
                unexplained.push(format!("{name}, {label}\n  Node.js: {node}\n  isolate: {here}"));
                continue;
            };
            cases_of_kinds[kind] += 1;
            numbers.insert(kind + 1);
            let short = |text: &str| cell(&text.chars().take(160).collect::<String>());
            writeln!(
                list,
                "| {name} | {} | {} | {} | {} |",
                cell(label),
                short(&node),
                short(&here),
                kind + 1
            )
            .expect("a string");
        }
        let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
        let (compared, differ, why) = (answers.len(), differing.len(), numbers.join(", "));
        writeln!(counts, "| {name} | {compared} | {differ} | {why} |").expect("a string");
    }
    let mut reasons = String::new();
    for (index, (kind, cases)) in KINDS.iter().zip(&cases_of_kinds).enumerate() {
        let noun = if *cases == 1 { "case" } else { "cases" };
        writeln!(reasons, "{}. {} ({cases} {noun})", index + 1, kind.reason).expect("a string");
    }
    let path = "../../docs/reference/intl.md";
    let page = std::fs::read_to_string(path).expect("the reference is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the tables begin");
    let (_, after) = rest.split_once(END).expect("the page says where the tables end");
    let made = format!(
        "{before}{BEGIN}\n{counts}\n### Why they differ\n\n{reasons}\n### Each case\n\nThe first text of a case that differs.\n\n{list}\n{END}{after}"
    );
    assert!(
        unexplained.is_empty(),
        "{} differ for no reason that is known:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    let without_cases = KINDS.iter().zip(&cases_of_kinds).filter(|(_, cases)| **cases == 0);
    let without_cases: Vec<&str> = without_cases.map(|(kind, _)| kind.reason).collect();
    assert!(without_cases.is_empty(), "nothing differs any more for these reasons: {without_cases:#?}");
    if std::env::var("UPDATE_REFERENCE").is_ok_and(|value| value == "1") {
        std::fs::write(path, &made).expect("the reference can be written");
    }
    let page = std::fs::read_to_string(path).expect("the reference is there");
    assert!(
        page == made,
        "docs/reference/intl.md is not what is compared: UPDATE_REFERENCE=1 brings it up to date"
    );
}
