//! Frames: two lengths of 32 bits (big-endian), JSON, and bytes that are no JSON.

use std::io;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _};

const PREFIX_BYTES: usize = 8;

/// A frame as it is sent.
pub(crate) fn encode(header: &impl Serialize, body: &[u8]) -> Vec<u8> {
    let json = serde_json::to_vec(header).expect("headers are plain data");
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("limits are far below 4 GiB").to_be_bytes();
    let mut frame = Vec::with_capacity(PREFIX_BYTES + json.len() + body.len());
    frame.extend_from_slice(&length(&json));
    frame.extend_from_slice(&length(body));
    frame.extend_from_slice(&json);
    frame.extend_from_slice(body);
    frame
}

/// The next frame; `None` where the stream ends between two. What comes is a guest's: it may be anything.
pub(crate) async fn read<H: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> io::Result<Option<(H, Bytes)>> {
    let mut prefix = [0; PREFIX_BYTES];
    match from.read_exact(&mut prefix[..1]).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    from.read_exact(&mut prefix[1..]).await?;
    let length = |at: usize| u32::from_be_bytes(prefix[at..at + 4].try_into().expect("four bytes")) as usize;
    let (json_bytes, body_bytes) = (length(0), length(4));
    if json_bytes + body_bytes > bytes_max {
        return Err(invalid(format!("a frame of {} bytes", json_bytes + body_bytes)));
    }
    let mut frame = vec![0; json_bytes + body_bytes];
    from.read_exact(&mut frame).await?;
    let header = serde_json::from_slice(&frame[..json_bytes]).map_err(|error| invalid(error.to_string()))?;
    Ok(Some((header, Bytes::from(frame).slice(json_bytes..))))
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn nodejs_frames_are_read_as_they_were_written_and_nothing_else_is() {
        let header = json!({"type": "returned", "text": "ä"});
        let frame = encode(&header, b"body");
        let twice = [frame.clone(), frame.clone()].concat();
        let mut from = twice.as_slice();
        for _ in 0..2 {
            let (read_header, body): (Value, Bytes) =
                read(&mut from, 1_000).await.expect("readable").expect("a frame");
            assert_eq!((read_header, &*body), (header.clone(), b"body".as_slice()));
        }
        assert!(read::<Value>(&mut from, 1_000).await.expect("an end").is_none());
        let refused =
            async |mut bytes: &[u8]| read::<Value>(&mut bytes, 1_000).await.expect_err("refused").kind();
        assert_eq!(refused(&frame[..frame.len() - 1]).await, io::ErrorKind::UnexpectedEof);
        assert_eq!(refused(&[0, 0, 4, 0, 0, 0, 0, 0]).await, io::ErrorKind::InvalidData);
        assert_eq!(refused(&[0, 0, 0, 2, 0, 0, 0, 0, b'{', b'!']).await, io::ErrorKind::InvalidData);
    }
}
