//! A client that costs as little as can be, so that the servers are what is measured.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const PIECE_BYTES: usize = 256 << 10;

/// Where a request goes.
#[derive(Clone)]
pub struct Address {
    pub host: SocketAddr,
    pub path: String,
}

impl Address {
    pub fn of(url: &str) -> Result<Address> {
        let rest = url.strip_prefix("http://").context("it is a plain URL")?;
        let at = rest.find('/').context("it has a path")?;
        Ok(Address { host: rest[..at].parse()?, path: rest[at..].to_owned() })
    }

    pub fn with_suffix(&self, number: u64) -> Address {
        Address { host: self.host, path: format!("{}-{number}", self.path) }
    }
}

/// Sends so many bytes; the body of the answer comes back.
pub async fn upload(method: &str, address: &Address, bytes: u64) -> Result<Vec<u8>> {
    let mut connection = TcpStream::connect(address.host).await?;
    let Address { host, path } = address;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/zip\r\nContent-Length: {bytes}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await?;
    let piece = vec![b'x'; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE_BYTES as u64);
        connection.write_all(&piece[..now as usize]).await?;
        left -= now;
    }
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let at = end_of_head(&answer).context("there is an answer")?;
    check(&answer[..at])?;
    Ok(answer.split_off(at))
}

/// Reads a file and forgets it; how many bytes came.
pub async fn download(address: &Address) -> Result<u64> {
    let mut connection = TcpStream::connect(address.host).await?;
    let Address { host, path } = address;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; PIECE_BYTES];
    let mut filled = 0;
    let at = loop {
        let count = connection.read(&mut buffer[filled..]).await?;
        ensure!(count > 0, "there is no answer");
        filled += count;
        if let Some(at) = end_of_head(&buffer[..filled]) {
            break at;
        }
    };
    check(&buffer[..at])?;
    let mut bytes = (filled - at) as u64;
    loop {
        match connection.read(&mut buffer).await? {
            0 => return Ok(bytes),
            count => bytes += count as u64,
        }
    }
}

fn end_of_head(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn check(head: &[u8]) -> Result<()> {
    match head.get(..12) {
        Some(b"HTTP/1.1 200" | b"HTTP/1.1 201" | b"HTTP/1.1 204") => Ok(()),
        _ => bail!("{}", String::from_utf8_lossy(head)),
    }
}
