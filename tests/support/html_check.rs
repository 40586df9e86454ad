//! Reads a page strictly: only the elements and attributes our pages are made of may be there.

use std::collections::BTreeMap;

/// A tag of a page.
#[derive(Debug)]
pub struct Tag {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    /// The text up to the next tag.
    pub text_after: String,
    pub is_end: bool,
}

const ELEMENTS: &[&str] = &[
    "html", "head", "meta", "title", "style", "body", "main", "article", "header", "section", "footer",
    "div", "h1", "h2", "h3", "p", "span", "b", "i", "small", "code", "time", "dl", "dt", "dd", "ol", "ul",
    "li", "table", "thead", "tbody", "tr", "th", "td", "svg", "rect", "path", "text",
];
const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "style",
    "scope",
    "tabindex",
    "role",
    "aria-label",
    "aria-hidden",
    "x",
    "y",
    "width",
    "d",
    "viewbox",
    "preserveaspectratio",
];
/// End by themselves, or by what follows.
const WITHOUT_END: &[&str] = &["meta", "rect", "path", "td", "th", "tr"];

/// The tags of a page, after checking that it is made of nothing else and that they match.
pub fn tags(page: &str) -> Vec<Tag> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").expect("a document type");
    let mut tags: Vec<Tag> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        if let Some(last) = tags.last_mut() {
            last.text_after = unescaped(text);
        }
        let end = tag.find('>').expect("a tag ends");
        let inner = tag[1..end].trim_end_matches('/').trim_end();
        rest = &tag[end + 1..];
        let is_end = inner.starts_with('/');
        let mut parsed = parse(inner.trim_start_matches('/'));
        parsed.is_end = is_end;
        assert!(ELEMENTS.contains(&&*parsed.name), "element {:?}", parsed.name);
        for (name, value) in &parsed.attributes {
            assert!(ATTRIBUTES.contains(&&**name), "attribute {name}={value:?} of {}", parsed.name);
            assert!(!value.contains("url(") && !value.contains("script:"), "{name}={value:?}");
        }
        if !WITHOUT_END.contains(&&*parsed.name) {
            match is_end {
                false => open.push(parsed.name.clone()),
                true => {
                    assert_eq!(open.pop().as_deref(), Some(&*parsed.name), "what is ended is what was open")
                }
            }
        }
        if parsed.name == "style" && !is_end {
            let end = rest.find("</style>").expect("the style ends");
            assert!(!rest[..end].contains("url(") && !rest[..end].contains("@import"), "styles load nothing");
            rest = &rest[end..];
        }
        tags.push(parsed);
    }
    assert!(open.is_empty(), "never ended: {open:?}");
    tags
}

fn parse(inner: &str) -> Tag {
    let (name, mut rest) = inner.split_once([' ', '\n']).unwrap_or((inner, ""));
    let mut attributes = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let (key, after) =
            rest.split_once('=').unwrap_or_else(|| panic!("attribute with a value in {inner:?}"));
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("a quote ends"),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        assert!(attributes.insert(key.to_lowercase(), unescaped(value)).is_none(), "{key} twice");
        rest = after;
    }
    Tag { name: name.to_lowercase(), attributes, text_after: String::new(), is_end: false }
}

fn unescaped(text: &str) -> String {
    assert!(!text.contains('>'), "{text:?}");
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&nbsp;"];
        assert!(known.iter().any(|known| text[at..].starts_with(known)), "{:?}", &text[at..]);
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&nbsp;", "\u{a0}").replace("&amp;", "&")
}
