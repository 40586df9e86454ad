//! The table that comes with longpole.

use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;

use super::load::{Loaded, load};
use super::{EMPTY_DIGEST, PriceTable, digest};

/// Those who bill by prices of their own, and those who pass calls on; `prices/README.md` says how they are made.
const FILES: &[&[u8]] = &[
    include_bytes!("../../prices/table.json.gz"),
    #[cfg(feature = "aggregator-prices")]
    include_bytes!("../../prices/aggregators.json.gz"),
];

pub(super) fn table() -> &'static PriceTable {
    static TABLE: LazyLock<PriceTable> = LazyLock::new(|| {
        let mut all = Loaded { header: None, providers: Vec::new() };
        let mut hash = EMPTY_DIGEST;
        for file in FILES {
            let text = unpacked(file);
            hash = digest(text.as_bytes(), hash);
            let loaded = load(&text).expect("the tests read this very file");
            all.header = all.header.or(loaded.header);
            // Places of fallbacks are those of their own file.
            let before = all.providers.len();
            all.providers.extend(loaded.providers.into_iter().map(|mut provider| {
                provider.fallbacks.iter_mut().for_each(|place| *place += before);
                provider
            }));
        }
        PriceTable::new(all, "genai-prices", hash)
    });
    &TABLE
}

fn unpacked(file: &[u8]) -> String {
    let mut text = String::with_capacity(file.len() * 10);
    GzDecoder::new(file).read_to_string(&mut text).expect("the tests unpack this very file");
    text
}

#[cfg(test)]
mod tests {
    use super::super::load::check_patterns;
    use super::*;

    fn load_file(file: &[u8]) -> Loaded {
        load(&unpacked(file)).unwrap()
    }

    /// Both files, whatever features are on: a refresh that makes one unusable must not get through.
    #[test]
    fn every_pattern_of_the_tables_compiles() {
        let direct = load_file(include_bytes!("../../prices/table.json.gz"));
        let aggregators = load_file(include_bytes!("../../prices/aggregators.json.gz"));
        for loaded in [&direct, &aggregators] {
            check_patterns(&loaded.providers).unwrap();
        }
        assert_eq!(direct.header, aggregators.header);
        assert!(direct.header.as_ref().is_some_and(|header| !header.extends_embedded));
        let ids =
            |loaded: &Loaded| loaded.providers.iter().map(|provider| provider.id.clone()).collect::<Vec<_>>();
        let (direct, aggregators) = (ids(&direct), ids(&aggregators));
        assert!(direct.iter().all(|id| !aggregators.contains(id)));
    }
}
