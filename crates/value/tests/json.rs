//! The JSON encodings: fixed vectors, every refusal, and values inside of messages.

use value::{JsonFormat, Object, Patch, Value, ValueOrUndefined, object};

fn parse(text: &str) -> Value {
    Value::from_json(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn code(text: &str) -> &'static str {
    match Value::from_json(text) {
        Ok(value) => panic!("{text} is the value {value:?}"),
        Err(error) => error.code(),
    }
}

#[test]
fn known_encodings() {
    for (text, value) in [
        ("null", Value::Null),
        ("true", Value::Boolean(true)),
        ("0", Value::Float64(0.0)),
        ("1", Value::Float64(1.0)),
        ("-1.5", Value::Float64(-1.5)),
        ("9007199254740991", Value::Float64(9007199254740991.0)),
        ("9007199254740992.0", Value::Float64(9007199254740992.0)),
        ("-9.5e+18", Value::Float64(-9.5e18)),
        ("0.1", Value::Float64(0.1)),
        ("5e-324", Value::Float64(5e-324)),
        ("1.7976931348623157e+308", Value::Float64(f64::MAX)),
        (r#"{"$float":"AAAAAAAA+H8="}"#, Value::Float64(f64::NAN)),
        (r#"{"$float":"AAAAAAAA8H8="}"#, Value::Float64(f64::INFINITY)),
        (r#"{"$float":"AAAAAAAA8P8="}"#, Value::Float64(f64::NEG_INFINITY)),
        (r#"{"$float":"AAAAAAAAAIA="}"#, Value::Float64(-0.0)),
        (r#"{"$integer":"AQAAAAAAAAA="}"#, Value::Int64(1)),
        (r#"{"$integer":"//////////8="}"#, Value::Int64(-1)),
        (r#"{"$integer":"/////////38="}"#, Value::Int64(i64::MAX)),
        (r#"{"$integer":"AAAAAAAAAIA="}"#, Value::Int64(i64::MIN)),
        (r#"{"$bytes":""}"#, Value::Bytes(vec![])),
        (r#"{"$bytes":"ABCD"}"#, Value::Bytes(vec![0x00, 0x10, 0x83])),
        (r#""a\"\\\n😀""#, Value::from("a\"\\\n😀")),
        ("[]", Value::Array(vec![])),
        (r#"[1,[null]]"#, Value::Array(vec![Value::Float64(1.0), Value::Array(vec![Value::Null])])),
        ("{}", Value::Object(Object::new())),
        (r#"{"":1,"a b":2,"z":3}"#, object! {"z" => 3.0, "" => 1.0, "a b" => 2.0}.into()),
    ] {
        assert_eq!(parse(text), value, "{text}");
        assert_eq!(value.to_json(), text);
        assert_eq!(value.to_serde_json(), serde_json::from_str::<serde_json::Value>(text).expect("JSON"));
    }
}

#[test]
fn other_spellings_are_read() {
    for (text, value) in [
        (" [ 1.0 , 1e0 ] ", Value::Array(vec![Value::Float64(1.0), Value::Float64(1.0)])),
        ("18446744073709551616", Value::Float64(18446744073709551616.0)),
        ("-9223372036854775809", Value::Float64(-9223372036854775808.0)),
        ("-0", Value::Float64(-0.0)),
        (r#"{"\u0062":1,"a":2}"#, object! {"a" => 2.0, "b" => 1.0}.into()),
        (r#"{"\u0024integer":"AQAAAAAAAAA="}"#, Value::Int64(1)),
        (r#""\ud83d\ude00""#, Value::from("😀")),
    ] {
        assert_eq!(parse(text), value, "{text}");
    }
}

#[test]
fn what_is_no_value_is_refused_with_its_code() {
    for (text, expected) in [
        ("", "InvalidJson"),
        ("{", "InvalidJson"),
        ("1 2", "InvalidJson"),
        ("[1,]", "InvalidJson"),
        ("NaN", "InvalidJson"),
        ("1e999", "InvalidJson"),
        ("\"\\ud800\"", "InvalidJson"),
        ("\"\\udc00\"", "InvalidJson"),
        ("\"\\ud800\\u0041\"", "InvalidJson"),
        ("\"\n\"", "InvalidJson"),
        (r#"{"$integer":"AQAAAAAAAA=="}"#, "InvalidValueEncoding"),
        (r#"{"$integer":1}"#, "InvalidJson"),
        (r#"{"$integer":null}"#, "InvalidValueEncoding"),
        (r#"{"$integer":"AQAAAAAAAAA"}"#, "InvalidValueEncoding"),
        (r#"{"$bytes":"-_-_"}"#, "InvalidValueEncoding"),
        (r#"{"$bytes":"AB=="}"#, "InvalidValueEncoding"),
        (r#"{"$bytes":"ABCD","x":1}"#, "InvalidValueEncoding"),
        (r#"{"x":1,"$bytes":"ABCD"}"#, "InvalidValueEncoding"),
        (r#"{"$float":"AAAAAAAA8D8="}"#, "InvalidValueEncoding"),
        (r#"{"$float":"AAAAAAAAAAA="}"#, "InvalidValueEncoding"),
        (r#"{"$commitTs":null}"#, "CommitTimestampNotAllowed"),
        (r#"{"$undefined":null}"#, "InvalidValueEncoding"),
        (r#"{"$set":[]}"#, "InvalidValueEncoding"),
        (r#"{"$map":[]}"#, "InvalidValueEncoding"),
        (r#"{"$other":1}"#, "InvalidFieldName"),
        (r#"{"$":1}"#, "InvalidFieldName"),
        (r#"{"é":1}"#, "InvalidFieldName"),
        (r#"{"a\u0000":1}"#, "InvalidFieldName"),
        (r#"{"a":1,"a":1}"#, "DuplicateField"),
    ] {
        assert_eq!(code(text), expected, "{text}");
    }
}

#[test]
fn a_refusal_says_what_was_wrong() {
    for half in [r#""\ud800""#, r#"["a\udc00b"]"#, r#"{"a":"\ud800\u0041"}"#, r#"{"\ud800":1}"#] {
        let error = Value::from_json(half).expect_err(half).to_string();
        assert!(error.contains("lone surrogate"), "{half}: {error}");
    }
    for (text, found) in [("null", "null"), (r#""id""#, "string"), ("[]", "array")] {
        let error = Patch::from_json(text).expect_err(text).to_string();
        assert!(error.contains("must be an object") && error.contains(found), "{text}: {error}");
    }
}

#[test]
fn the_structural_limits_hold_exactly() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(parse(&nested(64)).nesting(), 64);
    assert_eq!(code(&nested(65)), "TooNestedError");
    let nested_objects = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    assert_eq!(parse(&nested_objects(64)).nesting(), 64);
    assert_eq!(code(&nested_objects(65)), "TooNestedError");
    let encoded_inside = format!("{}{}{}", "[".repeat(64), r#"{"$integer":"AQAAAAAAAAA="}"#, "]".repeat(64));
    assert_eq!(parse(&encoded_inside).nesting(), 64, "an encoded scalar is a scalar");

    let array = |length: usize| format!("[{}]", vec!["1"; length].join(","));
    assert_eq!(parse(&array(8192)).as_array().map(<[Value]>::len), Some(8192));
    assert_eq!(code(&array(8193)), "ArrayTooLong");
    let object = |count: usize| {
        let fields: Vec<String> = (0..count).map(|field| format!("\"f{field}\":1")).collect();
        format!("{{{}}}", fields.join(","))
    };
    assert_eq!(parse(&object(1024)).as_object().map(Object::len), Some(1024));
    assert_eq!(code(&object(1025)), "TooManyFieldsError");
    assert_eq!(code(&format!("{{\"{}\":1}}", "x".repeat(1025))), "InvalidFieldName");
}

#[test]
fn hostile_nesting_ends_with_an_error() {
    for open in ["[", "{\"a\":", "[{\"a\":", "{\"$bytes\":", "{\"$undefined\":"] {
        let text = open.repeat(1_000_000);
        assert!(Value::from_json(&text).is_err());
        assert!(ValueOrUndefined::from_json(&text).is_err());
        assert!(Patch::from_json(&text).is_err());
        assert!(serde_json::from_str::<Value>(&text).is_err());
    }
}

#[test]
fn values_built_by_hand_are_checked_for_the_same_limits() {
    let nested = |levels: usize| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    assert_eq!(nested(64).check(), Ok(()));
    assert_eq!(nested(65).check().map_err(|error| error.code()), Err("TooNestedError"));
    let array = Value::Array(vec![Value::Null; 8193]);
    assert_eq!(array.check().map_err(|error| error.code()), Err("ArrayTooLong"));
    let object = Value::Object((0..1025).map(|field| (field.to_string(), Value::Null)).collect());
    assert_eq!(object.check().map_err(|error| error.code()), Err("TooManyFieldsError"));
    let object = Value::from(object! {"$x" => 1.0});
    assert_eq!(object.check().map_err(|error| error.code()), Err("InvalidFieldName"));
}

#[test]
fn the_clean_format_is_plain_json() {
    let value = Value::from(object! {
        "integer" => i64::MAX, "float" => 1.0, "half" => 0.5, "nan" => f64::NAN, "up" => f64::INFINITY,
        "down" => f64::NEG_INFINITY, "zero" => -0.0, "bytes" => vec![0u8, 16, 131],
    });
    let text = concat!(
        r#"{"bytes":"ABCD","down":"-Infinity","float":1,"half":0.5,"integer":"9223372036854775807","#,
        r#""nan":"NaN","up":"Infinity","zero":-0.0}"#
    );
    assert_eq!(value.to_json_in(JsonFormat::Clean), text);

    let read = Value::from_json_in(r#"{"n":1,"s":"1"}"#, JsonFormat::Clean).expect("plain");
    assert_eq!(read, object! {"n" => 1.0, "s" => "1"}.into());
    for text in [r#"{"$integer":"AQAAAAAAAAA="}"#, r#"{"$bytes":""}"#, r#"{"$undefined":null}"#] {
        let error = Value::from_json_in(text, JsonFormat::Clean).expect_err("no encodings here");
        assert_eq!(error.code(), "InvalidFieldName");
    }
}

#[test]
fn the_export_format_tells_integers_from_floats() {
    let value = Value::from(object! {
        "integer" => i64::MIN, "float" => 1.0, "nan" => f64::NAN, "zero" => -0.0, "bytes" => vec![0u8],
        "large" => 1e20,
    });
    let text = concat!(
        r#"{"bytes":{"$bytes":"AA=="},"float":1.0,"integer":-9223372036854775808,"large":1e+20,"#,
        r#""nan":{"$float":"AAAAAAAA+H8="},"zero":{"$float":"AAAAAAAAAIA="}}"#
    );
    assert_eq!(value.to_json_in(JsonFormat::Export), text);
    assert_eq!(Value::from_json_in(text, JsonFormat::Export), Ok(value));
    let error = Value::from_json_in("9223372036854775808", JsonFormat::Export).expect_err("too large");
    assert_eq!(error.code(), "InvalidValueEncoding");
}

#[test]
fn formats_have_names_and_aliases() {
    for (name, format) in [
        ("convex_encoded_json", JsonFormat::ConvexEncoded),
        ("convex_json", JsonFormat::ConvexEncoded),
        ("json", JsonFormat::Clean),
        ("convex_clean_json", JsonFormat::Clean),
        ("export_json", JsonFormat::Export),
    ] {
        assert_eq!(name.parse(), Ok(format));
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert_eq!("JSON".parse::<JsonFormat>().expect_err("unknown").code(), "BadFormat");
}

#[test]
fn patches_set_and_remove_fields() {
    let text = r#"{"a":{"$undefined":null},"b":{"c":1},"t":{"$commitTs":null}}"#;
    let patch = Patch::from_json(text).expect("a patch");
    assert_eq!(patch.0["a"], None);
    let mut document = object! {"a" => 1.0, "b" => object! {"d" => 1.0}, "e" => true};
    patch.apply(&mut document);
    let expected = object! {"b" => object! {"c" => 1.0}, "e" => true, "t" => Value::CommitTimestamp};
    assert_eq!(document, expected);

    for (text, expected) in [
        (r#"{"a":{"b":{"$undefined":null}}}"#, "InvalidValueEncoding"),
        (r#"{"a":{"$undefined":null,"b":1}}"#, "InvalidValueEncoding"),
        (r#"{"$undefined":null}"#, "InvalidValueEncoding"),
        (r#"{"a":1,"a":2}"#, "DuplicateField"),
        (r#"[]"#, "InvalidDocumentError"),
        (r#""id""#, "InvalidDocumentError"),
        ("null", "InvalidDocumentError"),
        ("", "InvalidJson"),
        ("{", "InvalidJson"),
    ] {
        assert_eq!(Patch::from_json(text).expect_err(text).code(), expected, "{text}");
    }
    let deepest = format!(r#"{{"a":{}{}}}"#, "[".repeat(63), "]".repeat(63));
    assert!(Patch::from_json(&deepest).is_ok());
    let deeper = format!(r#"{{"a":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    assert_eq!(Patch::from_json(&deeper).expect_err("too deep").code(), "TooNestedError");
}

#[test]
fn undefined_stands_only_where_it_may() {
    for (text, expected) in [
        (r#"{"$undefined":null}"#, None),
        ("null", Some(Value::Null)),
        ("1", Some(Value::Float64(1.0))),
        ("-1", Some(Value::Float64(-1.0))),
        ("0.5", Some(Value::Float64(0.5))),
        ("true", Some(Value::Boolean(true))),
        (r#""a""#, Some(Value::from("a"))),
        (r#""\n""#, Some(Value::from("\n"))),
        ("[1]", Some(Value::Array(vec![Value::Float64(1.0)]))),
        ("{}", Some(Value::Object(Object::new()))),
        (r#"{"$commitTs":null}"#, Some(Value::CommitTimestamp)),
        (r#"{"$integer":"AQAAAAAAAAA="}"#, Some(Value::Int64(1))),
    ] {
        assert_eq!(ValueOrUndefined::from_json(text), Ok(ValueOrUndefined(expected.clone())), "{text}");
        assert_eq!(serde_json::from_str::<ValueOrUndefined>(text).expect(text), ValueOrUndefined(expected));
    }
    for text in [r#"[{"$undefined":null}]"#, r#"{"$undefined":1}"#, r#"{"$undefined":null,"a":1}"#] {
        assert!(ValueOrUndefined::from_json(text).is_err(), "{text}");
    }
}

#[test]
fn the_placeholder_stands_for_the_timestamp_of_the_commit() {
    let text = r#"{"a":[{"$commitTs":null}],"b":{"$commitTs":null}}"#;
    let mut value = Value::from_json_with_placeholder(text).expect("allowed here");
    assert_eq!(value.to_json(), text);
    assert!(value.contains_commit_timestamp());
    assert_eq!(Value::CommitTimestamp, Value::Int64(i64::MAX));
    assert_eq!(Value::CommitTimestamp.size_bytes(), 9);
    value.resolve_commit_timestamp(7);
    assert!(!value.contains_commit_timestamp());
    assert_eq!(value, object! {"a" => vec![Value::Int64(7)], "b" => 7i64}.into());
    assert!(Value::from_json_with_placeholder(r#"{"$commitTs":1}"#).is_err());
    assert!(Value::from_json_with_placeholder(r#"{"$commitTs":"AAAA"}"#).is_err());
}

#[test]
fn values_stand_in_messages() {
    #[derive(serde::Deserialize, serde::Serialize)]
    #[serde(tag = "type")]
    enum Message {
        Call { args: Vec<Value>, options: Object },
    }
    let text = r#"{"type":"Call","args":[{"n":{"$integer":"AQAAAAAAAAA="}},1],"options":{"a":null}}"#;
    let message: Message = serde_json::from_str(text).expect("a message");
    let Message::Call { args, .. } = &message;
    assert_eq!(args, &[object! {"n" => 1i64}.into(), Value::Float64(1.0)]);
    assert_eq!(serde_json::to_string(&message).expect("text"), text);

    let text = text.replace("{\"n\"", "{\"$n\"");
    let error = serde_json::from_str::<Message>(&text).err().expect("an illegal name").to_string();
    assert!(error.contains("InvalidFieldName") && error.contains("$n"), "{error}");
}
