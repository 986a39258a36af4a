//! What the person who started the program reads.

use std::{
    io::{self, Write as _},
    path::Path,
};

pub struct Served<'a> {
    pub url: &'a str,
    pub site_url: &'a str,
    /// `None`: it is not to be printed.
    pub admin_key: Option<&'a str>,
    /// `None`: gRPC is not served.
    pub grpc_url: Option<&'a str>,
    /// `None`: metrics are not served.
    pub metrics_url: Option<&'a str>,
    pub data_folder: &'a Path,
}

/// One screen, once everything serves. Nobody may be reading, which is fine.
pub fn print_served(served: &Served<'_>) {
    let Served { url, site_url, admin_key, grpc_url, metrics_url, data_folder } = served;
    let folder = data_folder.display();
    let version = env!("CARGO_PKG_VERSION");
    let grpc = grpc_url.map_or(String::new(), |url| format!("    gRPC         {url}\n"));
    let metrics = metrics_url.map_or(String::new(), |url| format!("    Metrics      {url}\n"));
    let (key, use_it) = match admin_key {
        Some(key) => (
            (*key).to_owned(),
            format!(
                "  To use it with your app, put these two lines into its .env.local, then run `npx convex dev`:

    CONVEX_SELF_HOSTED_URL='{url}'
    CONVEX_SELF_HOSTED_ADMIN_KEY='{key}'

  They are also in {folder}/env while this runs. Ctrl-C stops it."
            ),
        ),
        None => (
            format!("in {folder}/env, and by `tidemark deployment keys`"),
            "  Ctrl-C stops it.".to_owned(),
        ),
    };
    let text = format!(
        "
  Tidemark {version} is running.

    API          {url}
    Site         {site_url}
{grpc}    Admin key    {key}
{metrics}    Data         {folder}

{use_it}

"
    );
    print(&text);
}

pub fn print_stopping() {
    print("\n  Stopping. Ctrl-C again ends it at once.\n");
}

pub fn print_error(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

pub fn print(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
