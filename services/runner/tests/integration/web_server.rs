//! A small web server for actions to ask.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// Serves on this machine until the test's runtime ends.
pub struct WebServer {
    pub base: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Clients that wait for `/hang`.
    hanging: AtomicUsize,
    /// `/go-on` was asked for.
    go_on: Notify,
}

struct Request {
    method: String,
    path: String,
    name: Vec<u8>,
    body: Vec<u8>,
}

impl WebServer {
    pub async fn start() -> WebServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("it listens"));
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        WebServer { base, shared }
    }

    /// How many clients wait for `/hang` and are still there.
    pub fn hanging(&self) -> usize {
        self.shared.hanging.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let Request { method, path, name, body } = request;
        let answer = match path.as_str() {
            "/hello" => {
                let mut head = b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-name: ".to_vec();
                head.extend(name);
                head.extend(b"\r\ncontent-length: 17\r\n\r\n{\"hello\":\"world\"}");
                head
            }
            "/moved" => b"HTTP/1.1 302 Found\r\nlocation: /hello\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "/empty" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/echo" => {
                assert!(method == "POST" || method == "PUT");
                let mut answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
                answer.extend(body);
                answer
            }
            "/slow" => {
                let first = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nfirst \r\n";
                stream.write_all(first).await?;
                stream.flush().await?;
                shared.go_on.notified().await;
                b"6\r\nsecond\r\n0\r\n\r\n".to_vec()
            }
            "/go-on" => {
                shared.go_on.notify_one();
                b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
            }
            "/hang" => {
                shared.hanging.fetch_add(1, Ordering::SeqCst);
                let gone = stream.read_u8().await;
                shared.hanging.fetch_sub(1, Ordering::SeqCst);
                gone.map(drop)?;
                return Ok(());
            }
            _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
        };
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// The next request, `None` if the client has gone.
async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let header = |name: &str| {
        let lines = head.split(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\r"));
        lines.into_iter().find_map(|line| {
            let prefix = line.get(..name.len() + 2)?;
            prefix
                .eq_ignore_ascii_case(format!("{name}: ").as_bytes())
                .then(|| line[name.len() + 2..].to_vec())
        })
    };
    let number = |text: &[u8], radix| {
        let text = std::str::from_utf8(text).expect("a number is text");
        usize::from_str_radix(text.trim(), radix).expect("a number")
    };
    let mut body = Vec::new();
    if let Some(length) = header("content-length") {
        body.resize(number(&length, 10), 0);
        stream.read_exact(&mut body).await?;
    } else if header("transfer-encoding").is_some() {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(stream.read_u8().await?);
            }
            let mut chunk = vec![0; number(&line, 16) + 2];
            stream.read_exact(&mut chunk).await?;
            chunk.truncate(chunk.len() - 2);
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
        }
    }
    let name = header("x-name").unwrap_or_default();
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let mut word = || words.next().expect("a request has three words").to_owned();
    Ok(Some(Request { method: word(), path: word(), name, body }))
}
