//! Names of issuers, as people and tokens write them.

use url::Url;

/// The issuer with its scheme and without a slash at its end: how two of them are compared.
pub(crate) fn normalized(issuer: &str) -> String {
    address(issuer).trim_end_matches('/').to_owned()
}

fn address(issuer: &str) -> String {
    if issuer.contains("://") { issuer.to_owned() } else { format!("https://{issuer}") }
}

/// Checks what an app calls its issuer: the address of a web server, perhaps without `https://`.
///
/// # Errors
/// A clause that says what is wrong with it.
pub(crate) fn check(issuer: &str) -> Result<(), String> {
    if issuer.starts_with('"') {
        return Err("it begins with a quotation mark: quotes around the value of an environment variable are part of it".into());
    }
    if issuer.is_empty() {
        return Err("it is empty".into());
    }
    let has_scheme = issuer.contains("://");
    let url = Url::parse(&address(issuer))
        .map_err(|error| format!("it is not the address of a server: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it must begin with https:// or http://".into());
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err("it must be a host, perhaps with a port and a path, and nothing else".into());
    }
    let host = url.host_str().unwrap_or_default();
    if !has_scheme && host != "localhost" && !ends_in_a_domain(host) {
        return Err(format!("`{host}` is not a domain; if it is meant, write https:// before it"));
    }
    Ok(())
}

/// Whether the last of several labels could be a top-level domain.
fn ends_in_a_domain(host: &str) -> bool {
    let Some((before, last)) = host.rsplit_once('.') else { return false };
    let is_word = last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_alphabetic());
    !before.is_empty() && (is_word || last.starts_with("xn--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_compared_with_their_scheme_and_without_their_last_slash() {
        for issuer in ["x.example", "x.example/", "https://x.example", "https://x.example//"] {
            assert_eq!(normalized(issuer), "https://x.example");
        }
        assert_eq!(normalized("http://localhost:3211"), "http://localhost:3211");
        assert_eq!(normalized("x.example/api/auth/"), "https://x.example/api/auth");
    }

    #[test]
    fn an_issuer_is_the_address_of_a_web_server() {
        for good in [
            "https://x.example",
            "x.example",
            "x.example/api/auth",
            "https://x.example/api/auth/",
            "http://127.0.0.1:3211",
            "https://auth",
            "localhost:3000",
            "localhost",
            "xn--bcher-kva.xn--p1ai",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("\"https://x.example\"", "begins with a quotation mark"),
            ("", "it is empty"),
            ("ftp://x.example", "must begin with https:// or http://"),
            ("https://", "not the address of a server"),
            ("https://a b", "not the address of a server"),
            ("https://user@x.example", "nothing else"),
            ("https://x.example?tenant=1", "nothing else"),
            ("https://x.example#a", "nothing else"),
            ("CLERK_DOMAIN", "`clerk_domain` is not a domain"),
            ("10.0.0.1", "`10.0.0.1` is not a domain"),
            ("x.1example", "not a domain"),
        ] {
            let reason = check(bad).expect_err(bad);
            assert!(reason.contains(why), "{bad}: {reason}");
        }
    }
}
