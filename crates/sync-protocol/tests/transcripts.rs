//! Messages in the shapes that the official clients send and take.

use std::sync::Arc;

use serde_json::{Value, json};
use sync_protocol::{
    Authenticate, ClientMessage, Connect, Error, FunctionRequest, ModifyQuerySet, MutationResult,
    QuerySetModification, ServerMessage, StateModification, StateVersion, Timestamp, Token, Transition,
    split_into_chunks,
};
use uuid::Uuid;

fn parse(text: &str) -> ClientMessage {
    ClientMessage::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn refused(text: &str) -> Error {
    match ClientMessage::parse(text) {
        Ok(message) => panic!("{text} was taken for {message:?}"),
        Err(error) => error,
    }
}

fn timestamp(text: &str) -> Timestamp {
    Timestamp::decode(text).expect("the tests' timestamps are valid")
}

#[test]
fn connect_of_the_npm_client() {
    let first = parse(
        r#"{"connectionCount":0,"lastCloseReason":"InitialConnect","clientTs":1795157609723,"type":"Connect","sessionId":"eeb94f97-40d8-452f-a084-186fa8178e4e"}"#,
    );
    let session_id = Uuid::parse_str("eeb94f97-40d8-452f-a084-186fa8178e4e").expect("valid");
    let expected = Connect {
        session_id,
        max_observed_timestamp: None,
        client_clock_ms: Some(1_795_157_609_723),
        connection_count: 0,
        last_close_reason: Some("InitialConnect".to_owned()),
    };
    assert_eq!(first, ClientMessage::Connect(expected.clone()));

    let again = parse(
        r#"{"connectionCount":1,"lastCloseReason":null,"clientTs":1795157634451.25,"type":"Connect","sessionId":"eeb94f97-40d8-452f-a084-186fa8178e4e","maxObservedTimestamp":"AJRfrf6clxc="}"#,
    );
    assert_eq!(
        again,
        ClientMessage::Connect(Connect {
            max_observed_timestamp: Some(timestamp("AJRfrf6clxc=")),
            client_clock_ms: Some(1_795_157_634_451),
            connection_count: 1,
            last_close_reason: None,
            ..expected
        })
    );
}

#[test]
fn connect_of_the_rust_client_has_no_clock() {
    let message = parse(
        r#"{"type":"Connect","sessionId":"b0806781-0000-4000-8000-000000000000","connectionCount":0,"lastCloseReason":"InitialConnect","clientTs":0}"#,
    );
    assert!(matches!(message, ClientMessage::Connect(Connect { client_clock_ms: None, .. })));
}

#[test]
fn modify_query_set_keeps_the_arguments_as_they_are() {
    let message = parse(
        r#"{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[
            {"type":"Add","queryId":0,"udfPath":"messages:list","args":[{"big":{"$integer":"BQAAAAAAAAA="},"x":1.0}]},
            {"type":"Add","queryId":1,"udfPath":"_system/cli/tables:default","args":[{}],"componentPath":"","journal":null},
            {"type":"Add","queryId":2,"udfPath":"messages:page","args":[],"componentPath":"a/b","journal":"07ab"},
            {"type":"Remove","queryId":7}]}"#,
    );
    let add = |query_id, path: &str, arguments: &str, journal: Option<&str>, component: &str| {
        QuerySetModification::Add {
            query_id,
            path: path.to_owned(),
            arguments: arguments.into(),
            journal: journal.map(Arc::from),
            component: component.to_owned(),
        }
    };
    assert_eq!(
        message,
        ClientMessage::ModifyQuerySet(ModifyQuerySet {
            base_version: 0,
            new_version: 1,
            modifications: vec![
                add(0, "messages:list", r#"[{"big":{"$integer":"BQAAAAAAAAA="},"x":1.0}]"#, None, ""),
                add(1, "_system/cli/tables:default", "[{}]", None, ""),
                add(2, "messages:page", "[{}]", Some("07ab"), "a/b"),
                QuerySetModification::Remove { query_id: 7 },
            ],
        })
    );
    assert!(matches!(
        parse(r#"{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[]}"#),
        ClientMessage::ModifyQuerySet(ModifyQuerySet { modifications, .. }) if modifications.is_empty()
    ));
}

#[test]
fn mutations_and_actions_share_their_shape() {
    // The Rust clients' order of fields.
    let mutation =
        parse(r#"{"args":[{"body":"x"}],"type":"Mutation","requestId":0,"udfPath":"messages:send"}"#);
    let expected = FunctionRequest {
        request_id: 0,
        path: "messages:send".to_owned(),
        arguments: r#"[{"body":"x"}]"#.into(),
        component: String::new(),
    };
    assert_eq!(mutation, ClientMessage::Mutation(expected.clone()));
    let action = parse(r#"{"type":"Action","requestId":0,"udfPath":"messages:send","args":[{"body":"x"}]}"#);
    assert_eq!(action, ClientMessage::Action(expected));
}

#[test]
fn both_names_of_the_identity_to_act_as_are_read() {
    for field in ["impersonating", "acting_as"] {
        let message = parse(&format!(
            r#"{{"type":"Authenticate","baseVersion":1,"tokenType":"Admin","value":"dev|key","{field}":{{"subject":"s"}}}}"#
        ));
        let token =
            Token::Admin { key: "dev|key".to_owned(), acting_as: Some(r#"{"subject":"s"}"#.to_owned()) };
        assert_eq!(message, ClientMessage::Authenticate(Authenticate { base_version: 1, token }));
    }
}

#[test]
fn authenticate_has_three_kinds_of_token() {
    let token = |text: &str| match parse(text) {
        ClientMessage::Authenticate(authenticate) => authenticate.token,
        other => panic!("{other:?}"),
    };
    assert_eq!(token(r#"{"type":"Authenticate","baseVersion":0,"tokenType":"None"}"#), Token::None);
    assert_eq!(
        token(r#"{"type":"Authenticate","baseVersion":0,"tokenType":"User","value":"jwt"}"#),
        Token::User("jwt".to_owned())
    );
    assert_eq!(
        token(
            r#"{"type":"Authenticate","baseVersion":0,"tokenType":"Admin","value":"dev|key","impersonating":null}"#
        ),
        Token::Admin { key: "dev|key".to_owned(), acting_as: None }
    );
    assert!(matches!(
        refused(r#"{"type":"Authenticate","baseVersion":0,"tokenType":"User"}"#),
        Error::Malformed(_)
    ));
    assert_eq!(format!("{:?}", Token::User("secret".to_owned())), "User(…)");
}

#[test]
fn events_are_read_and_dropped() {
    let message =
        parse(r#"{"type":"Event","eventType":"ClientConnect","event":[{"name":"a","startTime":1}]}"#);
    assert_eq!(message, ClientMessage::Event);
}

#[test]
fn what_is_no_message_is_refused() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"Connect"}"#,
        r#"{"type":"Connect","sessionId":"not-a-uuid"}"#,
        r#"{"type":"Connect","sessionId":"eeb94f97-40d8-452f-a084-186fa8178e4e","maxObservedTimestamp":"AAAA"}"#,
        r#"{"type":"ModifyQuerySet","baseVersion":-1,"newVersion":0,"modifications":[]}"#,
        r#"{"type":"ModifyQuerySet","baseVersion":0,"newVersion":4294967296,"modifications":[]}"#,
        r#"{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[{"type":"Add","queryId":0}]}"#,
        r#"{"type":"Mutation","requestId":0,"udfPath":"a:b"}"#,
        r#"{"type":"Mutation","requestId":0,"udfPath":"a:b","args":[{}]"#,
    ] {
        assert!(matches!(refused(text), Error::Malformed(_)), "{text}");
    }
    assert!(matches!(refused(r#"{"type":"Shout"}"#), Error::UnknownType(kind) if kind == "Shout"));
    let change = r#"{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[{"type":"Change","queryId":0}]}"#;
    assert!(matches!(refused(change), Error::UnknownType(_)));
    let arguments = r#"{"type":"Mutation","requestId":0,"udfPath":"a:b","args":[1]}"#;
    assert!(matches!(refused(arguments), Error::Arguments));
    // Far deeper than any stack: refused or carried, never a crash.
    let deep = format!(
        r#"{{"type":"Mutation","requestId":0,"udfPath":"a:b","args":[{{"a":{}{}}}]}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let _ = ClientMessage::parse(&deep);
}

/// The text and, to see that it is one JSON value, its tree.
fn written(message: &ServerMessage) -> (String, Value) {
    let text = message.to_json();
    // None of them needs more escapes than there is room for besides.
    assert!(text.len() <= message.size_hint(), "{} bytes: {text}", message.size_hint());
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (text, value)
}

fn transition(modifications: Vec<StateModification>) -> Transition {
    Transition {
        start: StateVersion::default(),
        end: StateVersion { query_set: 1, identity: 0, timestamp: timestamp("AAAqNv6clxc=") },
        modifications,
        client_clock_skew_ms: Some(-256),
        server_clock_ns: Some(1_795_157_609_468_000_000),
    }
}

#[test]
fn a_transition_is_written_as_clients_read_it() {
    let message = ServerMessage::Transition(transition(vec![
        StateModification::QueryUpdated {
            query_id: 0,
            value: r#"[{"_id":"a","n":{"$integer":"AQAAAAAAAAA="},"x":1.0}]"#.into(),
            log_lines: vec!["[LOG] 'hello' 1".to_owned()].into(),
            journal: None,
        },
        StateModification::QueryFailed {
            query_id: 1,
            message: "[Request ID: abc] Server \"Error\"\n".to_owned(),
            data: Some(r#"{"code":1.0}"#.into()),
            log_lines: Vec::new().into(),
            journal: Some("07ab".into()),
        },
        StateModification::QueryRemoved { query_id: 2 },
    ]));
    let (text, _) = written(&message);
    assert_eq!(
        text,
        concat!(
            r#"{"type":"Transition","startVersion":{"querySet":0,"identity":0,"ts":"AAAAAAAAAAA="},"#,
            r#""endVersion":{"querySet":1,"identity":0,"ts":"AAAqNv6clxc="},"modifications":["#,
            r#"{"type":"QueryUpdated","queryId":0,"value":[{"_id":"a","n":{"$integer":"AQAAAAAAAAA="},"x":1.0}],"logLines":["[LOG] 'hello' 1"],"journal":null},"#,
            r#"{"type":"QueryFailed","queryId":1,"errorMessage":"[Request ID: abc] Server \"Error\"\n","logLines":[],"errorData":{"code":1.0},"journal":"07ab"},"#,
            r#"{"type":"QueryRemoved","queryId":2}],"clientClockSkew":-256,"serverTs":1795157609468000000}"#,
        )
    );
}

#[test]
fn clocks_that_are_not_known_are_absent_not_null() {
    let (_, value) = written(&ServerMessage::Transition(Transition {
        client_clock_skew_ms: None,
        server_clock_ns: None,
        ..transition(Vec::new())
    }));
    assert_eq!(value.get("clientClockSkew"), None);
    assert_eq!(value.get("serverTs"), None);
    assert_eq!(value["modifications"], json!([]));
}

#[test]
fn errors_have_data_only_if_they_carry_it() {
    let failed = |data: Option<&str>| {
        written(&ServerMessage::MutationResponse {
            request_id: 1,
            result: MutationResult::Failure { message: "Uncaught".to_owned(), data: data.map(Arc::from) },
            log_lines: Vec::new(),
        })
        .1
    };
    assert_eq!(
        failed(None),
        json!({"type":"MutationResponse","requestId":1,"success":false,"result":"Uncaught","logLines":[]})
    );
    assert_eq!(failed(Some("null")).get("errorData"), Some(&Value::Null));
    assert_eq!(failed(Some("\"nope\""))["errorData"], json!("nope"));
}

#[test]
fn the_other_messages_have_their_shapes() {
    let messages = [
        (
            ServerMessage::MutationResponse {
                request_id: 0,
                result: MutationResult::Success {
                    value: "null".into(),
                    timestamp: timestamp("AMrEcf6clxc="),
                },
                log_lines: vec!["[WARN] 'x'".to_owned()],
            },
            json!({"type":"MutationResponse","requestId":0,"success":true,"result":null,"ts":"AMrEcf6clxc=","logLines":["[WARN] 'x'"]}),
        ),
        (
            ServerMessage::ActionResponse {
                request_id: 2,
                result: Ok(r#"{"$float":"AAAAAAAA+H8="}"#.into()),
                log_lines: Vec::new(),
            },
            json!({"type":"ActionResponse","requestId":2,"success":true,"result":{"$float":"AAAAAAAA+H8="},"logLines":[]}),
        ),
        (
            ServerMessage::ActionResponse {
                request_id: 2,
                result: Err(("no".to_owned(), None)),
                log_lines: Vec::new(),
            },
            json!({"type":"ActionResponse","requestId":2,"success":false,"result":"no","logLines":[]}),
        ),
        (
            ServerMessage::AuthError {
                error: "Could not verify token".to_owned(),
                base_version: 1,
                auth_update_attempted: true,
            },
            json!({"type":"AuthError","error":"Could not verify token","baseVersion":1,"authUpdateAttempted":true}),
        ),
        (ServerMessage::FatalError { error: "no".to_owned() }, json!({"type":"FatalError","error":"no"})),
        (ServerMessage::Ping, json!({"type":"Ping"})),
        (
            ServerMessage::TransitionChunk {
                chunk: "{\"type\"".to_owned(),
                part_number: 0,
                total_parts: 2,
                transition_id: "t".to_owned(),
            },
            json!({"type":"TransitionChunk","chunk":"{\"type\"","partNumber":0,"totalParts":2,"transitionId":"t"}),
        ),
    ];
    for (message, expected) in messages {
        assert_eq!(written(&message).1, expected);
    }
}

#[test]
fn chunks_join_to_the_whole_and_end_between_characters() {
    let text = "aé😀".repeat(1_000);
    for bytes_max in [1, 4, 5, 6, 7, 100, 6_999, 7_000, 7_001] {
        let chunks = split_into_chunks(&text, bytes_max);
        assert_eq!(chunks.concat(), text);
        assert!(
            chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= bytes_max.max(4)),
            "{bytes_max}"
        );
    }
    assert_eq!(split_into_chunks("", 10), [""]);
}
