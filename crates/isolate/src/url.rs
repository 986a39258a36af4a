//! The parsing behind the class `URL`.

use ::url::{Url, quirks};

/// JSON text of the components of `input`, relative to `base` unless that is empty; or JSON text of an error.
pub fn parse(input: &str, base: &str) -> Result<String, String> {
    let base = if base.is_empty() { None } else { Some(Url::parse(base).map_err(|_| invalid(base))?) };
    let url = Url::options().base_url(base.as_ref()).parse(input).map_err(|_| invalid(input))?;
    Ok(components(&url))
}

/// The components after one of them was set: `change` is JSON text of its name and its new value. What the URL can't
/// take is ignored, as the URL Standard wants it, except for `href`.
pub fn set(href: &str, change: &[u8]) -> Result<String, String> {
    let mut url = Url::parse(href).map_err(|_| invalid(href))?;
    let (name, value): (String, String) = serde_json::from_slice(change).map_err(|_| invalid(href))?;
    // Errors mean that the URL stays as it was.
    let _ = match name.as_str() {
        "href" => return parse(&value, ""),
        "protocol" => quirks::set_protocol(&mut url, &value),
        "username" => quirks::set_username(&mut url, &value),
        "password" => quirks::set_password(&mut url, &value),
        "host" => quirks::set_host(&mut url, &value),
        "hostname" => quirks::set_hostname(&mut url, &value),
        "port" => quirks::set_port(&mut url, &value),
        "pathname" => {
            quirks::set_pathname(&mut url, &value);
            Ok(())
        }
        "search" => {
            quirks::set_search(&mut url, &value);
            Ok(())
        }
        "hash" => {
            quirks::set_hash(&mut url, &value);
            Ok(())
        }
        _ => Err(()),
    };
    Ok(components(&url))
}

fn components(url: &Url) -> String {
    serde_json::json!({
        "href": quirks::href(url),
        "origin": quirks::origin(url),
        "protocol": quirks::protocol(url),
        "username": quirks::username(url),
        "password": quirks::password(url),
        "host": quirks::host(url),
        "hostname": quirks::hostname(url),
        "port": quirks::port(url),
        "pathname": quirks::pathname(url),
        "search": quirks::search(url),
        "hash": quirks::hash(url),
    })
    .to_string()
}

fn invalid(input: &str) -> String {
    serde_json::json!({ "message": format!("Invalid URL: '{input}'"), "name": "TypeError" }).to_string()
}
