//! `Intl` in an isolate beside Node.js 22 (intl.js), and the table of what differs (docs/reference/intl.md).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use isolate::{CallLimits, Invocation, Slot, Step};

use super::{in_node, node_22, support};
use support::{image, on_thread, query_of, run};

const CASES: &str = include_str!("intl.js");
const BEGIN: &str = "<!-- The test `intl` writes what follows. -->\n";
const END: &str = "<!-- It ends here. -->\n";

/// Why answers differ, by group. A group that is not here must have the same answers.
const REASONS: &[(&str, &str)] = &[
    (
        "DateTimeFormat, format",
        "Thai in its own calendar, where CLDR's packages have no patterns: those of the Gregorian one are used",
    ),
    ("DateTimeFormat, formatToParts", "as above"),
    (
        "DateTimeFormat, formatRange",
        "ranges of hours with a zone's offset keep it; days of one week, fields of one kind",
    ),
    ("DateTimeFormat, time zones' names", "marks of direction"),
    (
        "DateTimeFormat, resolvedOptions",
        "V8 finds fields in the letters of literals too (\"de\" has a day, \"às\" a second)",
    ),
    ("NumberFormat, format", "plural forms of numbers beyond 2^63"),
    ("NumberFormat, formatToParts", "marks of direction, units before a sign"),
    ("NumberFormat, formatRange", "where the sign \"about\" stands"),
    ("PluralRules", "rules of CLDR 48.2, where Node.js has 48.0"),
    ("ListFormat", "patterns of CLDR 48.2, where Node.js has 48.0"),
    ("Collator", "the order of CLDR 48.2, where Node.js has 48.0"),
    ("Segmenter", "other dictionaries for languages without spaces"),
    ("DisplayNames", "names of CLDR 48.2, where Node.js has 48.0"),
    ("Locale", "as CLDR 48.2 has it"),
    (
        "what stands where",
        "the functions of `Locale` (`getCalendars`), which Node.js 22 has as fields alone; they are here, too",
    ),
    (
        "tags and values",
        "what is named is what is there: two calendars, no search collations, all currencies of CLDR",
    ),
    ("toLocaleString and the like", "as above"),
];

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
    let mut list = String::from("| about | case | Node.js 22 | here |\n| --- | --- | --- | --- |\n");
    let mut unexplained = Vec::new();
    for (name, answers) in &expected {
        assert_eq!(answers.len(), got[name].len(), "{name}");
        let differing: Vec<_> = answers.iter().zip(&got[name]).filter(|(one, other)| one != other).collect();
        let reason = REASONS.iter().find(|(group, _)| group == name).map(|(_, reason)| *reason);
        let why = if differing.is_empty() { "" } else { reason.unwrap_or("") };
        writeln!(counts, "| {name} | {} | {} | {why} |", answers.len(), differing.len()).expect("a string");
        for ((label, node), (_, here)) in &differing {
            let (node, here) = first_difference(node, here);
            if reason.is_none() {
                unexplained.push(format!("{name}, {label}\n  Node.js: {node}\n  isolate: {here}"));
            }
            let short = |text: &str| cell(&text.chars().take(160).collect::<String>());
            writeln!(list, "| {name} | {} | {} | {} |", cell(label), short(&node), short(&here))
                .expect("a string");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/intl.md");
    let page = std::fs::read_to_string(&path).expect("the reference is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the tables begin");
    let (_, after) = rest.split_once(END).expect("the page says where the tables end");
    let made = format!(
        "{before}{BEGIN}\n{counts}\n### Each case\n\nThe first text of a case that differs.\n\n{list}\n{END}{after}"
    );
    if std::env::var("UPDATE_REFERENCE").is_ok_and(|value| value == "1") {
        std::fs::write(&path, &made).expect("the reference can be written");
    }
    assert!(unexplained.is_empty(), "{} differ:\n{}", unexplained.len(), unexplained.join("\n"));
    let page = std::fs::read_to_string(&path).expect("the reference is there");
    assert!(
        page == made,
        "docs/reference/intl.md is not what is compared: UPDATE_REFERENCE=1 brings it up to date"
    );
}
