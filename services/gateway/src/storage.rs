//! Files: `POST /api/storage/upload?token=…` and `GET /api/storage/{uuid}`.
//!
//! Neither asks who sends the request: the address is what gives the right. A file is sent as what its uploader said it is,
//! which may be anything; so nothing about it is believed (`nosniff`), and what a browser would run is run without any rights.

use std::{ops::Range, time::Duration};

use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCEPT_RANGES, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE,
            CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use contract::{DeploymentRef, FileName, NewFile, StoredFile, Uploader};
use fair_queue::{Place, Places};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    bodies,
    edge::{Addressed, Edge, SharedEdge},
    error::ApiError,
    sendfile::WaitingParts,
};

const DIGEST: HeaderName = HeaderName::from_static("digest");
/// A file never changes; but who may read it can, so only the browser keeps it.
const CACHED: HeaderValue = HeaderValue::from_static("private, max-age=2592000");
/// What scripts of other origins may read of the answer.
const EXPOSED: HeaderValue = HeaderValue::from_static("Accept-Ranges, Content-Range, Digest, ETag");
/// For documents that a browser would run: they show themselves, and nothing more.
const POWERLESS: HeaderValue =
    HeaderValue::from_static("default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox");
/// From so many bytes on the system sends them from their file; of fewer it would cost more than to read them.
const IN_PLACE_BYTES_MIN: u64 = 64 << 10;
/// Bytes of a refused upload that are read so that its sender sees the answer.
const REFUSED_BYTES_MAX: usize = 16 << 20;

pub(crate) fn routes() -> Router<SharedEdge> {
    Router::new().route("/api/storage/upload", post(upload)).route("/api/storage/{uuid}", get(download))
}

async fn upload(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let mut frames = body.into_data_stream();
    let time = Duration::from_millis(edge.limits.gateway.upload_ms_max);
    let file = match upload_of(deployment.reference, &parts.uri, &parts.headers) {
        Ok(file) => timeout(time, store(&edge, file, &parts.headers, &mut frames)).await,
        Err(error) => Ok(Err(error)),
    };
    match file.unwrap_or_else(|_| Err(too_slow("The upload took longer than an upload may."))) {
        Ok(id) => Ok(Json(json!({ "storageId": id })).into_response()),
        Err(error) => {
            // Of what is too slow nothing more is waited for.
            if error.status() != StatusCode::REQUEST_TIMEOUT {
                let patience = Duration::from_millis(edge.limits.gateway.upload_stall_ms_max);
                let _ = timeout(patience, bodies::discard(&mut frames, REFUSED_BYTES_MAX)).await;
            }
            Err(error)
        }
    }
}

/// What the address and the headers say of a file.
fn upload_of(deployment: DeploymentRef, uri: &Uri, headers: &HeaderMap) -> Result<NewFile, ApiError> {
    let Some(token) = parameter(uri, "token") else {
        let message = "The address of an upload has a token: storage.generateUploadUrl() makes one.";
        return Err(ApiError::unauthorized("InvalidStorageToken", message));
    };
    let content_type = match headers.get(CONTENT_TYPE).map(HeaderValue::to_str) {
        None => None,
        Some(Ok(text)) => Some(text.to_owned()),
        Some(Err(_)) => {
            let message = "The header Content-Type must be printable ASCII.";
            return Err(ApiError::bad_request("InvalidContentType", message));
        }
    };
    let digests = headers.get_all(DIGEST).iter().map(|value| value.to_str().ok());
    let sha256 = expected_sha256(digests).map_err(|()| {
        let message = "The header Digest must be `sha-256=` and 32 bytes in base 64.";
        ApiError::bad_request("InvalidDigest", message)
    })?;
    Ok(NewFile { deployment, by: Uploader::Token(token), content_type, sha256 })
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default().as_bytes();
    url::form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Digests by other algorithms than SHA-256 say nothing here.
fn expected_sha256<'h>(headers: impl Iterator<Item = Option<&'h str>>) -> Result<Option<[u8; 32]>, ()> {
    for header in headers {
        for digest in header.ok_or(())?.split(',') {
            let Some((algorithm, value)) = digest.trim().split_once('=') else { return Err(()) };
            if algorithm.eq_ignore_ascii_case("sha-256") {
                let digest = BASE64.decode(value).ok().and_then(|bytes| bytes.try_into().ok());
                return digest.map(Some).ok_or(());
            }
        }
    }
    Ok(None)
}

/// Passes the body on as it comes; the file's id comes back. What is begun and not finished leaves nothing.
async fn store(
    edge: &Edge,
    file: NewFile,
    headers: &HeaderMap,
    frames: &mut axum::body::BodyDataStream,
) -> Result<String, ApiError> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > edge.limits.file_bytes_max) {
        return Err(too_large(edge));
    }
    let _place = place(edge, &edge.uploads, file.deployment).await?;
    let mut upload = edge.services.files.begin(file).await?;
    let stall = Duration::from_millis(edge.limits.gateway.upload_stall_ms_max);
    loop {
        let Ok(frame) = timeout(stall, frames.next()).await else {
            return Err(too_slow("Nothing came of the upload for longer than may be."));
        };
        match frame.transpose().map_err(bodies::unreadable)? {
            Some(bytes) => upload.write(bytes).await.map_err(|error| match &*error.code {
                "FileTooLarge" => too_large(edge),
                _ => error.into(),
            })?,
            None => return Ok(upload.finish().await?),
        }
    }
}

/// A place for a file on its way, once there is one.
pub(crate) async fn place(
    edge: &Edge,
    places: &Places,
    deployment: DeploymentRef,
) -> Result<Place, ApiError> {
    let wait = Duration::from_millis(edge.limits.slot_wait_ms_max);
    timeout(wait, places.take(deployment, 1)).await.map_err(|_| {
        ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyConcurrentRequests",
            "Too many files are being sent at once. Try again later.",
        )
    })
}

fn too_large(edge: &Edge) -> ApiError {
    let message = format!("A file has at most {} bytes.", edge.limits.file_bytes_max);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "FileTooLarge", message)
}

fn too_slow(message: &str) -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
}

async fn download(
    State(edge): State<SharedEdge>,
    Addressed { deployment, .. }: Addressed,
    Path(uuid): Path<String>,
    waiting_parts: Option<Extension<WaitingParts>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let invalid = || ApiError::bad_request("InvalidStoragePath", "The path does not name a file by a UUID.");
    let uuid = canonical_uuid(&uuid).ok_or_else(invalid)?;
    let component = parameter(&uri, "component").unwrap_or_default();
    let name = FileName { deployment: deployment.reference, component, uuid };
    let Some(file) = edge.services.files.find(name).await? else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "FileNotFound", "There is no such file."));
    };
    let part = part_of(&method, &headers, &file);
    let mut response = match &part {
        Part::Unchanged => StatusCode::NOT_MODIFIED.into_response(),
        Part::Unsatisfiable => {
            let message =
                format!("The file has {} bytes; one range of them can be asked for.", file.size_bytes);
            ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "RangeNotSatisfiable", message).into_response()
        }
        Part::Whole | Part::Range(_) => {
            let range = match &part {
                Part::Range(range) => range.clone(),
                _ => 0..file.size_bytes,
            };
            let length = range.end - range.start;
            let body = match method {
                Method::HEAD => Body::empty(),
                _ => body_of(&edge, deployment.reference, &file, range, waiting_parts).await?,
            };
            ([(CONTENT_LENGTH, length)], body).into_response()
        }
    };
    if let Part::Range(_) = part {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    describe(response.headers_mut(), &file, &part);
    Ok(response)
}

/// As `getUrl` writes it; any other spelling names nothing.
fn canonical_uuid(text: &str) -> Option<String> {
    let uuid = Uuid::try_parse(text).ok()?.hyphenated().to_string();
    uuid.eq_ignore_ascii_case(text).then_some(uuid)
}

/// What of a file is asked for.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Whole,
    Range(Range<u64>),
    /// The sender has it.
    Unchanged,
    /// Several ranges, or one that the file does not have.
    Unsatisfiable,
}

fn part_of(method: &Method, headers: &HeaderMap, file: &StoredFile) -> Part {
    let etag = etag_of(file);
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_this = |tag: &str| matches!(tag.trim(), tag if tag == "*" || tag.trim_start_matches("W/") == etag);
    if text(IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(is_this)) {
        return Part::Unchanged;
    }
    // Ranges are for GET, and only of the file that the sender has begun to read.
    if method != Method::GET || text(IF_RANGE).is_some_and(|tag| tag != etag) {
        return Part::Whole;
    }
    match text(RANGE) {
        Some(ranges) => part_of_ranges(ranges, file.size_bytes),
        None => Part::Whole,
    }
}

/// What can't be read as ranges of bytes counts as if it were not there (RFC 9110, 14.2).
fn part_of_ranges(ranges: &str, size_bytes: u64) -> Part {
    let Some(ranges) = ranges.strip_prefix("bytes=") else { return Part::Whole };
    if ranges.contains(',') {
        return Part::Unsatisfiable;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Part::Whole };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // What is too large for the type is larger than any file.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (start, end) = match (first, last) {
        ("", last) => match number(last) {
            Some(0) => return Part::Unsatisfiable,
            Some(length) => (size_bytes.saturating_sub(length), size_bytes),
            None => return Part::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => (first, size_bytes),
            None => return Part::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, size_bytes.min(last.saturating_add(1))),
            _ => return Part::Whole,
        },
    };
    if start < end { Part::Range(start..end) } else { Part::Unsatisfiable }
}

async fn body_of(
    edge: &Edge,
    deployment: DeploymentRef,
    file: &StoredFile,
    range: Range<u64>,
    waiting_parts: Option<Extension<WaitingParts>>,
) -> Result<Body, ApiError> {
    let place = place(edge, &edge.downloads, deployment).await?;
    let files = &edge.services.files;
    if range.end - range.start >= IN_PLACE_BYTES_MIN
        && let Some(Extension(waiting_parts)) = waiting_parts
        && let Some(parts) = files.read_in_place(file, range.clone()).await?
    {
        let pieces = giving_way(parts).map_ok(move |part| waiting_parts.add(part));
        return Ok(body_with(place, pieces));
    }
    Ok(body_with(place, giving_way(files.read(file, range).await?)))
}

/// A client that takes all there is at once leaves time for others after each piece.
fn giving_way<P>(pieces: impl Stream<Item = P>) -> impl Stream<Item = P> {
    pieces.enumerate().then(async |(number, piece)| {
        if number > 0 {
            tokio::task::yield_now().await;
        }
        piece
    })
}

pub(crate) fn body_with(
    place: Place,
    pieces: impl Stream<Item = contract::Result<Bytes>> + Send + 'static,
) -> Body {
    Body::from_stream(pieces.map(move |piece| {
        let _place = &place;
        // The client sees that the answer breaks off.
        piece.inspect_err(|error| tracing::error!("a file can't be read to its end: {error}"))
    }))
}

fn etag_of(file: &StoredFile) -> String {
    format!("\"{}\"", hex::encode(file.sha256))
}

fn describe(headers: &mut HeaderMap, file: &StoredFile, part: &Part) {
    let ascii = |text: String| HeaderValue::try_from(text).expect("digits and letters are a header's value");
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let size_bytes = file.size_bytes;
    if *part == Part::Unsatisfiable {
        headers.insert(CONTENT_RANGE, ascii(format!("bytes */{size_bytes}")));
        return;
    }
    headers.insert(ETAG, ascii(etag_of(file)));
    headers.insert(CACHE_CONTROL, CACHED);
    match part {
        Part::Range(Range { start, end }) => {
            headers.insert(CONTENT_RANGE, ascii(format!("bytes {start}-{}/{size_bytes}", end - 1)));
        }
        Part::Whole => {
            headers.insert(DIGEST, ascii(format!("sha-256={}", BASE64.encode(file.sha256))));
        }
        Part::Unchanged | Part::Unsatisfiable => return,
    }
    let content_type = file.content_type.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    if may_run(content_type.to_str().unwrap_or_default()) {
        headers.insert(CONTENT_SECURITY_POLICY, POWERLESS);
    }
    headers.insert(CONTENT_TYPE, content_type);
}

/// Whether a browser that opens it might run what is in it, or take it for something else.
fn may_run(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((kind, subtype)) = essence.split_once('/') else { return true };
    kind == "multipart" || ["html", "xml", ","].iter().any(|part| subtype.contains(part))
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId, ObjectName};

    use super::*;

    fn file(size_bytes: u64, content_type: Option<&str>) -> StoredFile {
        let deployment = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
        StoredFile {
            object: ObjectName { deployment, component: None, id: [0; 16] },
            size_bytes,
            sha256: [0xab; 32],
            content_type: content_type.map(str::to_owned),
        }
    }

    #[test]
    fn one_range_is_answered_several_are_not_and_what_is_none_counts_for_nothing() {
        for (ranges, size, part) in [
            ("bytes=0-0", 10, Part::Range(0..1)),
            ("bytes=2-5", 10, Part::Range(2..6)),
            ("bytes=2-", 10, Part::Range(2..10)),
            ("bytes=9-99999999999999999999999", 10, Part::Range(9..10)),
            ("bytes=-3", 10, Part::Range(7..10)),
            ("bytes=-30", 10, Part::Range(0..10)),
            ("bytes=10-", 10, Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Part::Unsatisfiable),
            ("bytes=-0", 10, Part::Unsatisfiable),
            ("bytes=0-", 0, Part::Unsatisfiable),
            ("bytes=-5", 0, Part::Unsatisfiable),
            ("bytes=0-1,3-4", 10, Part::Unsatisfiable),
            (&format!("bytes={}", "0-,".repeat(10_000)), 10, Part::Unsatisfiable),
            ("bytes=5-2", 10, Part::Whole),
            ("bytes=a-b", 10, Part::Whole),
            ("bytes=+1-2", 10, Part::Whole),
            ("bytes=-", 10, Part::Whole),
            ("bytes=", 10, Part::Whole),
            ("pages=1-2", 10, Part::Whole),
        ] {
            assert_eq!(part_of_ranges(ranges, size), part, "{ranges} of {size}");
        }
    }

    #[test]
    fn conditions_are_about_the_bytes_that_the_sender_has() {
        let (file, same) = (file(10, None), etag_of(&file(10, None)));
        let part = |method: &Method, headers: &[(HeaderName, &str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value")));
            part_of(method, &headers.collect(), &file)
        };
        let (get, weak, range) = (&Method::GET, format!("W/{same}"), (RANGE, "bytes=1-2"));
        assert_eq!(part(get, &[(IF_NONE_MATCH, &same)]), Part::Unchanged);
        assert_eq!(part(get, &[(IF_NONE_MATCH, &format!("\"a\", {weak}"))]), Part::Unchanged);
        assert_eq!(part(get, &[(IF_NONE_MATCH, "*")]), Part::Unchanged);
        assert_eq!(part(get, &[(IF_NONE_MATCH, "\"a\"")]), Part::Whole);
        assert_eq!(part(get, &[(IF_RANGE, &same), range.clone()]), Part::Range(1..3));
        assert_eq!(part(get, &[(IF_RANGE, &weak), range.clone()]), Part::Whole);
        assert_eq!(part(get, &[(IF_RANGE, "Sat, 28 Nov 2026 00:00:00 GMT"), range.clone()]), Part::Whole);
        assert_eq!(part(&Method::HEAD, &[range]), Part::Whole);
    }

    #[test]
    fn what_a_browser_would_run_is_sent_without_rights_and_nothing_is_guessed() {
        let sent = |content_type: Option<&str>| {
            let mut headers = HeaderMap::new();
            describe(&mut headers, &file(1, content_type), &Part::Whole);
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
            (headers[CONTENT_TYPE].clone(), headers.contains_key(CONTENT_SECURITY_POLICY))
        };
        for active in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            " text/html",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/xml",
            "multipart/x-mixed-replace;boundary=x",
            "image/png, text/html",
            "html",
            "",
        ] {
            assert_eq!(sent(Some(active)), (active.parse().expect("a header"), true), "{active}");
        }
        for passive in ["image/png", "application/pdf", "text/plain; charset=utf-8", "video/mp4"] {
            assert_eq!(sent(Some(passive)), (passive.parse().expect("a header"), false), "{passive}");
        }
        for unsent in [None, Some("text/html\r\nSet-Cookie: a=b"), Some("a\0")] {
            assert_eq!(sent(unsent), (HeaderValue::from_static("application/octet-stream"), false));
        }
    }

    #[test]
    fn only_a_uuid_as_it_was_given_names_a_file() {
        let uuid = "0b1a2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
        assert_eq!(canonical_uuid(uuid).as_deref(), Some(uuid));
        assert_eq!(canonical_uuid(&uuid.to_uppercase()).as_deref(), Some(uuid));
        for bad in
            ["", "upload", "../../secret", &uuid.replace('-', ""), &format!("{{{uuid}}}"), "..%2fsecret"]
        {
            assert_eq!(canonical_uuid(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_digest_of_an_upload_is_the_first_by_sha_256() {
        let digest = BASE64.encode([7; 32]);
        let read = |headers: &[&str]| expected_sha256(headers.iter().map(|header| Some(*header)));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["md5=AAAA"]), Ok(None));
        assert_eq!(read(&[&format!("md5=AAAA, SHA-256={digest}")]), Ok(Some([7; 32])));
        assert_eq!(read(&["md5=AAAA", &format!("sha-256={digest}")]), Ok(Some([7; 32])));
        assert_eq!(read(&["sha-256=AAAA"]), Err(()));
        assert_eq!(read(&["sha-256"]), Err(()));
        assert_eq!(expected_sha256([None].into_iter()), Err(()));
    }
}
