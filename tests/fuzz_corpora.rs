//! Every stored input of the fuzz targets goes through the same code as under the fuzzer.

#[path = "../fuzz/src/lib.rs"]
#[allow(missing_docs, unreachable_pub, reason = "the library of the fuzz targets")]
mod targets;

use std::path::Path;

/// Runs `target` on the corpus of that name; a failure names the file.
fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let outcome = std::panic::catch_unwind(|| target(&bytes));
        assert!(outcome.is_ok(), "{}", path.display());
    }
}

#[test]
fn traces_in_protobuf() {
    run("otlp_trace_pb", targets::otlp_trace_pb);
}

#[test]
fn traces_in_json() {
    run("otlp_json", targets::otlp_json);
}

#[test]
fn forests_of_spans() {
    run("analyzer", targets::analyzer);
}

#[test]
fn variables() {
    run("environment", targets::environment);
}

#[test]
fn files_of_unsent_spans() {
    run("spool_segment", targets::spool_segment);
}

#[test]
fn tables_of_prices() {
    run("price_table", targets::price_table);
}
