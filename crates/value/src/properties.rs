//! What holds for all values. A failure prints the smallest case and keeps its seed under `proptest-regressions`, from
//! where each later run of `cargo test -p value properties` repeats it first.

use std::cmp::Ordering;

use crate::{
    DocumentId, FunctionPath, InternalId, JsonFormat, Object, Patch, TableNumber, Value, key,
    push_with_fractions,
};
use proptest::{collection::vec, prelude::*};

/// Field names, often prefixes of each other, with every kind of character that sorts specially.
fn field_name() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ab]{1,3}", "[ -#%-~][ -~]{0,8}"]
}

fn scalar() -> impl Strategy<Value = Value> {
    let edges = [
        i64::MIN,
        i32::MIN.into(),
        i16::MIN.into(),
        i8::MIN.into(),
        -1,
        0,
        1,
        127,
        128,
        255,
        256,
        65535,
        i64::MAX,
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Int64),
        (-70_000i64..70_000).prop_map(Value::Int64),
        proptest::sample::select(edges.to_vec()).prop_map(Value::Int64),
        any::<u64>().prop_map(|bits| Value::Float64(f64::from_bits(bits))),
        (-1000i32..1000).prop_map(|number| Value::Float64(f64::from(number) / 4.0)),
        proptest::sample::select(vec![
            0.0,
            -0.0,
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
            f64::MIN_POSITIVE,
            9e15,
            1e16
        ])
        .prop_map(Value::Float64),
        any::<String>().prop_map(Value::String),
        "[a\u{0}\u{1}\u{10000}\u{FFFF}]{0,4}".prop_map(Value::String),
        vec(prop_oneof![Just(0u8), Just(0xFF), any::<u8>()], 0..6).prop_map(Value::Bytes),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec((field_name(), inner), 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Values of which one is easily the beginning of another.
fn similar() -> impl Strategy<Value = Value> {
    let leaf = proptest::sample::select(vec!["", "a", "a\0", "a\0\0", "a\u{1}"]).prop_map(Value::from);
    prop_oneof![leaf, Just(Value::Null), Just(Value::Int64(-1)), Just(Value::Int64(0))].prop_recursive(
        2,
        6,
        2,
        |inner| {
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(Value::Array),
                vec(("a{0,2}", inner), 0..3).prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        },
    )
}

fn part() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![1 => Just(None), 5 => value().prop_map(Some), 5 => similar().prop_map(Some)]
}

fn encode(parts: &[Option<Value>]) -> Vec<u8> {
    key::encode(&parts.iter().map(Option::as_ref).collect::<Vec<_>>())
}

/// Text that is nearly a value.
fn almost_json() -> impl Strategy<Value = String> {
    let token = proptest::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"$integer\"",
        "\"$float\"",
        "\"$bytes\"",
        "\"$commitTs\"",
        "\"$undefined\"",
        "\"AQAAAAAAAAA=\"",
        "null",
        "1",
        "-",
        "1e9",
        "true",
        "\"\\ud800\"",
        "\"",
        "\\u0000",
        " ",
    ]);
    vec(token, 0..20).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn lossless_json_gives_the_same_value_and_the_same_text(value in value()) {
        let text = value.to_json();
        let read = Value::from_json(&text).expect("what we write is legal");
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(read.to_json(), text.clone());
        prop_assert_eq!(Value::from_serde_json(value.to_serde_json(), JsonFormat::ConvexEncoded).expect("legal"), value.clone());
        prop_assert_eq!(serde_json::from_str::<Value>(&text).expect("legal"), value);
    }

    #[test]
    fn with_fractions_it_is_the_same_value_and_no_number_is_an_integer(value in value()) {
        let mut text = String::new();
        push_with_fractions(&mut text, &value.to_json());
        prop_assert_eq!(Value::from_json(&text).expect("it is still legal"), value);
        let mut parts = vec![serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON")];
        while let Some(part) = parts.pop() {
            match part {
                serde_json::Value::Number(number) => prop_assert!(number.is_f64(), "{number} in {text}"),
                serde_json::Value::Array(members) => parts.extend(members),
                serde_json::Value::Object(fields) => parts.extend(fields.into_iter().map(|(_, field)| field)),
                _ => {}
            }
        }
    }

    #[test]
    fn export_json_gives_the_same_value(value in value()) {
        let text = value.to_json_in(JsonFormat::Export);
        prop_assert_eq!(Value::from_json_in(&text, JsonFormat::Export).expect("what we write is legal"), value);
    }

    #[test]
    fn clean_json_is_json(value in value()) {
        let text = value.to_json_in(JsonFormat::Clean);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        prop_assert!(Value::from_json_in(&text, JsonFormat::Clean).is_ok());
    }

    #[test]
    fn keys_give_their_parts_back(parts in vec(part(), 0..4)) {
        prop_assert_eq!(key::decode(&encode(&parts)).expect("a key"), parts);
    }

    #[test]
    fn keys_sort_as_their_parts_do(left in vec(part(), 0..3), right in vec(part(), 0..3)) {
        prop_assert_eq!(encode(&left).cmp(&encode(&right)), left.cmp(&right));
    }

    #[test]
    fn an_interval_over_a_prefix_holds_exactly_what_begins_with_it(
        prefix in vec(part(), 0..3), other in vec(part(), 1..3), rest in vec(part(), 0..2), kept in 0usize..3,
    ) {
        let other: Vec<_> = prefix.iter().take(kept).cloned().chain(other).collect();
        let start = encode(&prefix);
        let interval = start.clone()..key::prefix_end(&start);
        let extended: Vec<_> = prefix.iter().chain(&rest).cloned().collect();
        prop_assert!(interval.contains(&encode(&extended)));
        prop_assert_eq!(interval.contains(&encode(&other)), other.starts_with(&prefix));
    }

    #[test]
    fn nothing_lies_between_a_key_and_its_successor(left in vec(part(), 0..3), right in vec(part(), 0..3)) {
        let (left, right) = (encode(&left), encode(&right));
        let successor = key::successor(&left);
        prop_assert!(left < successor);
        prop_assert!(right <= left || right >= successor);
    }

    #[test]
    fn the_order_is_total(a in value(), b in value(), c in value()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn a_part_is_smaller_and_shallower_than_the_whole(value in value()) {
        let members: Vec<&Value> = match &value {
            Value::Array(members) => members.iter().collect(),
            Value::Object(object) => object.iter().map(|(_, member)| member).collect(),
            _ => vec![],
        };
        for member in members {
            prop_assert!(member.size_bytes() < value.size_bytes());
            prop_assert!(member.nesting() < value.nesting());
        }
        prop_assert_eq!(value.check(), Ok(()));
    }

    #[test]
    fn a_field_more_is_bytes_more(object in vec((field_name(), value()), 0..5), name in field_name(), added in value()) {
        let mut object: Object = object.into_iter().collect();
        object.remove(&name);
        let before = object.size_bytes();
        object.insert(name.clone(), added.clone());
        prop_assert_eq!(object.size_bytes(), before + name.len() + 1 + added.size_bytes());
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in prop_oneof![any::<String>(), almost_json()]) {
        for format in [JsonFormat::ConvexEncoded, JsonFormat::Clean, JsonFormat::Export] {
            if let Ok(value) = Value::from_json_in(&text, format) {
                prop_assert_eq!(value.check(), Ok(()), "what was parsed keeps the limits");
            }
        }
        let _ = Patch::from_json(&text);
        let _ = text.parse::<DocumentId>();
        let _ = text.parse::<FunctionPath>();
    }

    #[test]
    fn bytes_are_a_key_only_if_encoding_gives_them_back(
        mut bytes in prop_oneof![vec(any::<u8>(), 0..24), vec(0u8..0x16, 0..24), part().prop_map(|part| encode(&[part]))],
        change in any::<(prop::sample::Index, u8)>(),
    ) {
        if !bytes.is_empty() {
            let position = change.0.index(bytes.len());
            bytes[position] = change.1;
        }
        if let Ok(parts) = key::decode(&bytes) {
            prop_assert_eq!(encode(&parts), bytes);
        }
    }

    #[test]
    fn ids_give_their_parts_back_and_no_other_text_is_one(
        table in 1u32.., internal_id in any::<[u8; 16]>(), position in any::<prop::sample::Index>(), other in "[0-9a-z]",
    ) {
        let id = DocumentId::new(TableNumber::new(table).expect("not 0"), InternalId::from_bytes(internal_id));
        let text = id.to_string();
        prop_assert!((31..=37).contains(&text.len()));
        prop_assert_eq!(text.parse::<DocumentId>(), Ok(id));
        let position = position.index(text.len());
        let mut changed = text.clone();
        changed.replace_range(position..=position, &other);
        // A checksum of two bytes can't see every change; what it misses must still be one spelling of one id.
        if let Ok(other) = changed.parse::<DocumentId>() {
            prop_assert_eq!(other.to_string(), changed);
        }
    }
}
