//! The client against a server on this machine.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use egress::{
    Bounds, Client, EgressLimits, Error, HeaderMap, HeaderValue, Method, Policy, Redirects, RequestBody,
    Response as Answer, chunks,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// `{"a":"aaaa…"}` with 100,000 letters, by gzip.
const GZIP: &[u8] = include_bytes!("letters.json.gz");
const LETTERS: usize = 100_000;

const BOUNDS: Bounds = Bounds { time_max: Duration::from_secs(60), body_bytes_max: 1 << 20 };

/// Serves until the test's runtime ends.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let to = |status: u16, place: &str| {
        Response::builder().status(status).header(header::LOCATION, place).body(Full::default())
    };
    let text = |text: String| Response::builder().header("x-path", &path).body(Full::from(text));
    let host = request.headers()[header::HOST].to_str().expect("a name");
    let port = host.rsplit_once(':').expect("a port").1;
    let response = match path.as_str() {
        "/hang" => std::future::pending().await,
        "/loop" => to(302, "/loop"),
        "/away" => to(307, &format!("http://127.0.0.1:{port}/found")),
        "/303" => to(303, "/what"),
        "/302" => to(302, "/what"),
        "/307" => to(307, "/what"),
        "/elsewhere" => to(307, &format!("http://localhost:{port}/what")),
        "/what" => {
            let (head, body) = request.into_parts();
            let has = |name| if head.headers.contains_key(name) { name } else { "-" };
            let seen =
                [head.method.as_str(), has("authorization"), has("content-type"), has("x-own")].join(" ");
            let Ok(body) = body.collect().await else { return Ok(Response::new(Full::default())) };
            text(format!("{seen} {}", String::from_utf8_lossy(&body.to_bytes())))
        }
        "/length" => {
            let length = request.headers().get(header::CONTENT_LENGTH);
            text(length.map_or("-", |length| length.to_str().expect("text")).to_owned())
        }
        "/file" => to(302, "file:///etc/hostname"),
        "/nowhere" => to(302, "http://["),
        "/letters" => {
            assert!(request.headers()[header::ACCEPT_ENCODING].to_str().expect("a list").contains("gzip"));
            Response::builder().header(header::CONTENT_ENCODING, "gzip").body(Full::from(GZIP))
        }
        "/agent" => text(request.headers()[header::USER_AGENT].to_str().expect("a name").to_owned()),
        path if path.len() == 2 => match path[1..].parse::<u32>() {
            Ok(0) => to(301, "found?x=1"),
            Ok(left) => to(303, &format!("/{}", left - 1)),
            Err(_) => text("it is found".to_owned()),
        },
        "/found" => text("it is found".to_owned()),
        _ => Response::builder().status(404).body(Full::default()),
    };
    Ok(response.expect("a response"))
}

fn client(policy: Policy) -> Client {
    Client::new(policy, EgressLimits { redirects_max: 4, ..EgressLimits::DEFAULT })
}

async fn get(client: &Client, url: &str) -> Result<(u16, usize), Error> {
    let answer = client.get(url, "application/json", BOUNDS).await?;
    Ok((answer.status, answer.body.len()))
}

#[tokio::test]
async fn answers_of_any_status_come_after_their_redirects() {
    let address = serve().await;
    let client = client(Policy::default());
    let url = |path: &str| format!("http://{address}{path}");
    let found = client.get(&url("/3"), "application/json", BOUNDS).await.expect("an answer");
    assert_eq!(
        (found.status, &found.body[..], &found.headers["x-path"]),
        (200, &b"it is found"[..], &"/found".parse().expect("a value"))
    );
    assert_eq!(get(&client, &url("/none")).await, Ok((404, 0)));
    assert_eq!(get(&client, &url("/nowhere")).await, Ok((302, 0)), "what leads nowhere is the answer");
    assert_eq!(get(&client, &url("/4")).await, Err(Error::TooManyRedirects { redirects_max: 4 }));
    assert_eq!(get(&client, &url("/loop")).await, Err(Error::TooManyRedirects { redirects_max: 4 }));
    assert_eq!(get(&client, &url("/file")).await, Err(Error::InvalidUrl));
    assert_eq!(get(&client, "data:,x").await, Err(Error::InvalidUrl));
    let agent = client.get(&url("/agent"), "*/*", BOUNDS).await.expect("an answer").body;
    assert!(agent.starts_with(b"tidemark/"), "{agent:?}");
}

async fn send(
    client: &Client,
    method: Method,
    url: String,
    body: RequestBody,
    redirects: Redirects,
) -> Result<Answer, Error> {
    let value = HeaderValue::from_static("x");
    let headers = ["authorization", "content-type", "x-own", "connection"]
        .map(|name| (name.parse().expect("a name"), value.clone()));
    let headers = HeaderMap::from_iter(headers);
    client.send(egress::Request { method, url, headers, body, redirects }).await
}

async fn text_of(mut answer: Answer) -> String {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.expect("it comes") {
        text.extend(chunk);
    }
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn a_redirect_changes_what_the_fetch_standard_says() {
    let address = serve().await;
    let client = client(Policy::default());
    let body = || RequestBody::Whole(Bytes::from_static(b"body"));
    let ask = async |method: Method, path: &str| {
        let url = format!("http://{address}{path}");
        let answer = send(&client, method, url, body(), Redirects::Follow).await.expect("an answer");
        (answer.is_redirected, answer.url.clone(), text_of(answer).await)
    };
    let here = format!("http://{address}/what");
    let seen = |text: &str| (true, here.clone(), text.to_owned());
    assert_eq!(
        ask(Method::POST, "/what").await,
        (false, here.clone(), "POST authorization content-type x-own body".to_owned())
    );
    assert_eq!(ask(Method::POST, "/303").await, seen("GET authorization - x-own "));
    assert_eq!(ask(Method::POST, "/302").await, seen("GET authorization - x-own "));
    assert_eq!(ask(Method::PUT, "/302").await, seen("PUT authorization content-type x-own body"));
    assert_eq!(ask(Method::POST, "/307").await, seen("POST authorization content-type x-own body"));
    let (_, url, text) = ask(Method::POST, "/elsewhere").await;
    assert_eq!(url, format!("http://localhost:{}/what", address.port()));
    assert_eq!(
        text, "POST - content-type x-own body",
        "what was meant for one server is not shown to another"
    );
}

#[tokio::test]
async fn a_request_that_could_have_a_body_says_that_there_is_none() {
    let address = serve().await;
    let client = client(Policy::default());
    for (method, length) in
        [(Method::POST, "0"), (Method::PUT, "0"), (Method::GET, "-"), (Method::DELETE, "-")]
    {
        let url = format!("http://{address}/length");
        let answer = send(&client, method, url, RequestBody::Empty, Redirects::Follow).await;
        assert_eq!(text_of(answer.expect("an answer")).await, length);
    }
}

#[tokio::test]
async fn whoever_asks_says_what_a_redirect_means() {
    let address = serve().await;
    let client = client(Policy::default());
    let ask = |redirects| {
        send(&client, Method::GET, format!("http://{address}/307"), RequestBody::Empty, redirects)
    };
    assert_eq!(ask(Redirects::Return).await.expect("an answer").status, 307);
    assert_eq!(ask(Redirects::Refuse).await.map(|answer| answer.status), Err(Error::Redirected));
}

#[tokio::test]
async fn a_body_is_sent_while_it_is_made_and_broken_off_if_it_has_no_end() {
    let address = serve().await;
    let client = client(Policy::default());
    let ask = |path: &str, body| {
        send(&client, Method::PUT, format!("http://{address}{path}"), body, Redirects::Follow)
    };
    let (sender, receiver) = chunks();
    let sending = async move {
        assert!(sender.send(Bytes::from_static(b"one ")).await);
        assert!(sender.send(Bytes::from_static(b"two")).await);
        sender.end().await;
    };
    let (answer, ()) = tokio::join!(ask("/what", RequestBody::Stream(receiver)), sending);
    let text = text_of(answer.expect("an answer")).await;
    assert_eq!(text, "PUT authorization content-type x-own one two");
    let (sender, receiver) = chunks();
    // Without an end, whether it arrives or not.
    let sending = async move {
        let _ = sender.send(Bytes::from_static(b"one ")).await;
    };
    let (answer, ()) = tokio::join!(ask("/what", RequestBody::Stream(receiver)), sending);
    assert!(matches!(answer.map(|answer| answer.status), Err(Error::Unreachable { .. })));
    let (sender, receiver) = chunks();
    let sending = async move { sender.end().await };
    let (answer, ()) = tokio::join!(ask("/307", RequestBody::Stream(receiver)), sending);
    assert_eq!(answer.map(|answer| answer.status), Err(Error::Redirected), "it can't be sent again");
}

#[tokio::test]
async fn bodies_are_bounded_as_they_come_out_of_the_decompression() {
    let address = serve().await;
    let client = client(Policy::default());
    let url = format!("http://{address}/letters");
    let bytes = LETTERS + r#"{"a":""}"#.len();
    for (bytes_max, expected) in [
        (bytes, Ok(bytes)),
        (bytes - 1, Err(Error::TooLarge { bytes_max: bytes - 1 })),
        (0, Err(Error::TooLarge { bytes_max: 0 })),
    ] {
        let bounds = Bounds { body_bytes_max: bytes_max, ..BOUNDS };
        let answer = client.get(&url, "application/json", bounds).await;
        assert_eq!(answer.map(|answer| answer.body.len()), expected);
    }
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for() {
    let address = serve().await;
    let bounds = Bounds { time_max: Duration::from_millis(20), ..BOUNDS };
    let answer = client(Policy::default()).get(&format!("http://{address}/hang"), "*/*", bounds).await;
    assert_eq!(answer.map(|answer| answer.status), Err(Error::TimedOut));
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gone = listener.local_addr().expect("it listens");
    drop(listener);
    let error =
        get(&client(Policy::default()), &format!("http://{gone}/?secret=x")).await.expect_err("nobody");
    let text = error.to_string();
    assert!(text.starts_with("could not be reached: ") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn the_policy_holds_for_addresses_in_urls_behind_names_and_after_redirects() {
    let address = serve().await;
    let rules = |text: &str| text.split_whitespace().map(|rule| rule.parse().expect(rule)).collect();
    let deny = |text: &str| client(Policy { deny: rules(text), ..Policy::default() });
    let private = client(Policy { deny_private: true, ..Policy::default() });
    let denied = |setting| Err(Error::Denied { setting });
    let by_name = format!("http://localhost:{}", address.port());
    let by_address = format!("http://{address}");
    let by_number = format!("http://2130706433:{}", address.port());
    for url in [
        &by_name,
        &by_address,
        &by_number,
        &"http://[::1]:1".to_owned(),
        &"http://[::ffff:7f00:1]:1".to_owned(),
    ] {
        assert_eq!(get(&private, &format!("{url}/found")).await, denied("egress.deny_private"), "{url}");
    }
    assert_eq!(get(&deny("localhost"), &format!("{by_name}/found")).await, denied("egress.deny"));
    assert_eq!(get(&deny("127.0.0.0/8 ::1"), &format!("{by_name}/found")).await, denied("egress.deny"));
    // By its name it may be asked, and says that it is elsewhere.
    let named = client(Policy { allow: rules("localhost"), ..Policy::default() });
    assert_eq!(get(&named, &format!("{by_name}/found")).await, Ok((200, 11)));
    assert_eq!(get(&named, &format!("{by_name}/away")).await, denied("egress.allow"));
    assert_eq!(get(&named, &format!("{by_address}/found")).await, denied("egress.allow"));
    let with_range =
        client(Policy { allow: rules("* 127.0.0.0/8"), deny_private: true, ..Policy::default() });
    assert_eq!(get(&with_range, &format!("{by_address}/found")).await, Ok((200, 11)));
}
