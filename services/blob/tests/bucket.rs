//! The contracts of the blob store and of the object store in a bucket: one of moto, a server that speaks S3 (`make setup`
//! installs it).

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use blob::{BucketOptions, Handle, Service};
use bytes::Bytes;
use conformance::{BlobSubject, ObjectSubject};
use contract::{BlobDigest, DeploymentId, DeploymentRef, GroupId, ObjectName, ObjectStore as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

/// The server of all tests of this process, which it outlives by no more than a moment: it ends with its standard input.
static SERVER: LazyLock<(Mutex<Child>, u16)> = LazyLock::new(|| {
    let folder = "../../tests/end-to-end/s3";
    let mut server = Command::new(format!("{folder}/.venv/bin/python"))
        .arg(format!("{folder}/serve.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("moto is there: see `make setup`");
    let mut line = String::new();
    let output = server.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it is read");
    (Mutex::new(server), line.trim().parse().expect("it serves"))
});

const AUTHORIZATION: &str =
    "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any";

static BUCKETS: AtomicU32 = AtomicU32::new(0);

/// A bucket that no other test has.
#[derive(Clone)]
struct Bucket {
    name: String,
}

impl Bucket {
    async fn new() -> Bucket {
        let bucket = Bucket { name: format!("bucket-{}", BUCKETS.fetch_add(1, Ordering::Relaxed)) };
        bucket.ask("PUT", "", "").await;
        bucket
    }

    /// The server believes everybody, but wants to be told a name.
    async fn ask(&self, method: &str, path: &str, body: &'static str) -> String {
        let port = SERVER.1;
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.expect("it is accepted");
        let (name, length) = (&self.name, body.len());
        let request = format!(
            "{method} /{name}{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nAuthorization: {AUTHORIZATION}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes()).await.expect("it is taken");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.expect("it is text");
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
        answer
    }

    /// Objects, and uploads of which parts are kept.
    async fn contents(&self) -> Vec<String> {
        let named = |answer: String, begin: &str| {
            let names =
                answer.split(begin).skip(1).map(|rest| rest.split('<').next().unwrap_or("").to_owned());
            names.collect::<Vec<_>>()
        };
        let mut found = named(self.ask("GET", "?list-type=2", "").await, "<Key>");
        found.extend(named(self.ask("GET", "?uploads", "").await, "<UploadId>"));
        found
    }

    fn options(&self, url: &str) -> BucketOptions {
        let settings = [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", SERVER.1)),
            ("AWS_ACCESS_KEY_ID", "someone".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        BucketOptions { url: url.to_owned(), settings }
    }

    async fn open(&self) -> Handle {
        let options = self.options(&format!("s3://{}/some/prefix", self.name));
        Service::start_in_bucket(options, CancellationToken::new()).await.expect("it opens").handle()
    }
}

async fn subject() -> BlobSubject {
    let bucket = Bucket::new().await;
    let blobs = Arc::new(bucket.open().await);
    let damage = move |digest: BlobDigest| {
        let name = hex::encode(digest.0);
        let path = format!("/some/prefix/{}/{name}", &name[..2]);
        let damaging = bucket.ask("PUT", &path, "whol");
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(damaging));
    };
    BlobSubject { blobs, damage: Box::new(damage), kept: Box::new(()) }
}

conformance::blob_store!(subject);

async fn object_subject() -> ObjectSubject {
    let bucket = Bucket::new().await;
    let objects = Arc::new(bucket.open().await);
    let leftovers = move || {
        let bucket = bucket.clone();
        Box::pin(async move { bucket.contents().await.len() }) as _
    };
    ObjectSubject { objects, leftovers: Box::new(leftovers), kept: Box::new(()) }
}

mod objects {
    conformance::object_store!(super::object_subject);
    conformance::remote_object_store!(super::object_subject);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_an_object_clears_away_what_a_process_has_left_of_it() {
    let bucket = Bucket::new().await;
    let objects = bucket.open().await;
    let deployment = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
    let name = ObjectName { deployment, component: None, id: [9; 16] };
    let mut writer = objects.create(name).await.expect("it begins");
    for _ in 0..3 {
        writer.write(Bytes::from(vec![7; 8 << 20])).await.expect("it is taken");
    }
    // As after a kill: nothing of it is cleared away.
    std::mem::forget(writer);
    assert!(bucket.contents().await.len() >= 2, "the upload, and the note of it");
    let objects = bucket.open().await;
    for _ in 0..3_000 {
        // A part that was under way may still arrive.
        tokio::time::sleep(Duration::from_millis(20)).await;
        objects.delete(name).await.expect("it is deleted");
        if bucket.contents().await.is_empty() {
            return;
        }
    }
    panic!("{:?} is left", bucket.contents().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_or_is_none_is_refused_at_the_start() {
    let bucket = Bucket::new().await;
    let open = async |url: &str| {
        let options = bucket.options(url);
        assert!(!format!("{options:?}").contains("secret"), "secrets stay out of logs");
        Service::start_in_bucket(options, CancellationToken::new()).await.err().map(|error| error.to_string())
    };
    for url in ["bucket-0", "https://bucket-0", "s3://", "s3:bucket-0"] {
        let error = open(url).await.expect("it is refused");
        assert!(error.contains("names no bucket"), "{url}: {error}");
    }
    assert!(open("s3://another-bucket").await.is_some(), "it is not there");
    assert_eq!(open(&format!("s3://{}", bucket.name)).await, None);
}
