//! Addresses as they may be shown.

use std::borrow::Cow;

/// `url` without the name and the password before its host, and without its query. Any text will do:
/// what is shown is often an address that could not be used.
pub(crate) fn shown_address(url: &str) -> Cow<'_, str> {
    let after_scheme = url.find("://").map_or(0, |at| at.saturating_add(3));
    let (scheme, rest) = url.split_at(after_scheme);
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold an `@` or a slash that should have been escaped: the last one counts.
    let host_start = match rest.rfind('@') {
        Some(at) if at < host_end || rest.get(..at).is_some_and(|front| front.contains(':')) => {
            at.saturating_add(1)
        }
        _ => 0,
    };
    let rest = rest.get(host_start..).unwrap_or_default();
    let shown_end = rest.find(['?', '#']).unwrap_or(rest.len());
    let shown = rest.get(..shown_end).unwrap_or_default();
    if host_start == 0 && shown_end == rest.len() {
        return Cow::Borrowed(url);
    }
    Cow::Owned(format!("{scheme}{shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_queries_are_not_shown() {
        for (url, shown) in [
            ("http://localhost:4318/v1/traces", "http://localhost:4318/v1/traces"),
            ("https://user:hunter2@host:4318/v1/traces", "https://host:4318/v1/traces"),
            ("https://user:hunter2@host/v1?api_key=hunter2", "https://host/v1"),
            ("https://host/v1#hunter2", "https://host/v1"),
            ("user:hunter2@host:4317", "host:4317"),
            ("https://user:hunt/er2@host/v1", "https://host/v1"),
            ("https://user:hunt@er2@host/v1", "https://host/v1"),
            ("https://user:hunt?er2@host/v1", "https://host/v1"),
            ("https://host/a@b", "https://host/a@b"),
            ("not an address", "not an address"),
            ("", ""),
        ] {
            assert_eq!(shown_address(url), shown);
        }
    }
}
