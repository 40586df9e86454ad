//! Names of nodes as MLflow takes them in the keys of metrics.
//!
//! A key holds letters and digits of any script, `_`, `-`, `.`, spaces, and where the server does not run on Windows
//! `:`; a `/` too, as long as the key is no path that leads elsewhere. It has at most 250 characters. One key that
//! breaks the rules has the whole request refused, so this keeps to what every server takes.

use std::collections::BTreeSet;

/// The most characters of a node's name in a key: room for what stands around it, and for a suffix.
const MAX_NAME: usize = 200;

/// For each name what stands for it in keys. Characters that MLflow does not take become `_`, and long names are cut.
/// Of names that are the same then, whatever their case, the first in byte order keeps it, and the others get a hash
/// of themselves behind it: a node has the same key in every run in which the same nodes ran.
pub(super) fn safe_names(names: &[&str]) -> Vec<String> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|at| names.get(*at));
    let mut safe = vec![String::new(); names.len()];
    let mut taken = BTreeSet::new();
    for at in order {
        let (Some(name), Some(place)) = (names.get(at), safe.get_mut(at)) else { continue };
        let plain = safe_name(name);
        *place = plain.clone();
        let mut hash = fnv1a(name);
        // Some databases compare keys whatever their case.
        while !taken.insert(place.to_lowercase()) {
            *place = format!("{plain}_{hash:08x}");
            hash = hash.wrapping_add(1);
        }
    }
    safe
}

fn safe_name(name: &str) -> String {
    name.chars().map(|c| if is_taken_everywhere(c) { c } else { '_' }).take(MAX_NAME).collect()
}

/// MLflow's rule is Python's `\w`, which is not Rust's `is_alphanumeric`: vowel signs, for one, are alphabetic and no
/// letters. In these blocks both agree.
fn is_taken_everywhere(c: char) -> bool {
    match c {
        '_' | '-' | '.' | ' ' => true,
        '\0'..='\u{24f}'
        | '\u{370}'..='\u{481}'
        | '\u{48a}'..='\u{587}'
        | '\u{5d0}'..='\u{5ea}'
        | '\u{620}'..='\u{64a}'
        | '\u{1e00}'..='\u{1eff}'
        | '\u{3041}'..='\u{30ff}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' => c.is_alphanumeric(),
        _ => false,
    }
}

/// FNV-1a with 32 bits: it must be the same in every process.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_of_scripts_stay_and_what_some_server_refuses_goes() {
        let safe = |name| safe_names(&[name]).remove(0);
        assert_eq!(safe("chat gpt-4.1_mini"), "chat gpt-4.1_mini");
        assert_eq!(safe("chat llama3:8b"), "chat llama3_8b", "a server on Windows takes no colon");
        assert_eq!(safe("openai/gpt-4o"), "openai_gpt-4o");
        assert_eq!(safe("a/../b//c/"), "a_.._b__c_");
        assert_eq!(safe("Größe Ωмега 検索 검색 שלום"), "Größe Ωмега 検索 검색 שלום");
        assert_eq!(safe("हि"), "__", "a vowel sign is no letter to Python");
        assert_eq!(safe("a\nb\"c\u{1f600}×"), "a_b_c__");
        assert_eq!(safe(""), "");
        assert_eq!(safe(&"é".repeat(300)).chars().count(), MAX_NAME);
    }

    #[test]
    fn names_that_become_the_same_stay_apart_whatever_their_order() {
        assert_eq!(fnv1a(""), 0x811c_9dc5);
        assert_eq!(fnv1a("a"), 0xe40c_292c, "a published test vector");
        let one = safe_names(&["a/b", "a:b", "A_b"]);
        let other = safe_names(&["A_b", "a:b", "a/b"]);
        assert_eq!(one, [other[2].clone(), other[1].clone(), other[0].clone()]);
        assert_eq!(one[2], "A_b", "the first in byte order keeps it");
        assert_eq!(one[0], format!("a_b_{:08x}", fnv1a("a/b")));
        assert_eq!(one[1], format!("a_b_{:08x}", fnv1a("a:b")));
    }

    proptest! {
        #[test]
        fn every_name_gets_a_key_of_its_own_that_is_taken_everywhere(names in prop::collection::btree_set(".{0,12}|[aAbB/:_]{0,4}", 0..12)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let safe = safe_names(&names);
            prop_assert_eq!(safe.len(), names.len());
            let distinct: BTreeSet<String> = safe.iter().map(|name| name.to_lowercase()).collect();
            prop_assert_eq!(distinct.len(), names.len());
            for name in &safe {
                prop_assert!(name.chars().all(|c| c.is_alphanumeric() || "_-. ".contains(c)), "{name}");
                prop_assert!(name.chars().count() <= MAX_NAME + 9);
            }
        }
    }
}
