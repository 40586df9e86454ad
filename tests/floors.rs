//! A file imports only from lower floors. The order is the one in ARCHITECTURE.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the ground up; those in one row may not import each other.
const FLOORS: &[&[&str]] = &[
    &["time", "ids", "money", "conventions", "hashing"],
    &["prices"],
    &["span_record"],
    &["otlp_bytes"],
    &["attribute_reader", "cost"],
    &["decode"],
    &["otlp_json"],
    &["run", "run_assembler"],
    &["histogram"],
    &["analysis"],
    &["run_profile"],
    &["report"],
    &["compare", "many_runs", "run_list"],
    &["gates", "trend"],
    &["aggregate", "render"],
    &["encode", "terminal", "sampler", "random", "restarts", "sync"],
    &["privacy"],
    &["pipeline::pressure"],
    &["pipeline::shard", "metrics"],
    &["clock", "delivery", "process_identity"],
    &["mlflow"],
    &["environment"],
    &["layer", "metrics_page"],
    &["pipeline"],
    &["handle"],
    &["propagation", "compat"],
    &["builder"],
    &["testing", "limits_page"],
];

fn floor_of(module: &str) -> Option<usize> {
    let names = |floor: &&[&str]| {
        floor.iter().any(|name| module == *name || module.starts_with(&format!("{name}::")))
    };
    // The longest name wins: `pipeline::shard` stands below `pipeline`.
    let exact =
        FLOORS.iter().position(|floor| floor.iter().any(|n| n.contains("::") && module.starts_with(n)));
    exact.or_else(|| FLOORS.iter().position(names))
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What a module imports from this crate, by the `use crate::` lines and paths of its file, tests left out.
fn imports(text: &str) -> Vec<(usize, String)> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        for (at, _) in line.match_indices("crate::") {
            if line[..at].ends_with('$') {
                continue;
            }
            let path: String = line[at + 7..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
                .collect();
            found.push((number + 1, path));
        }
    }
    found
}

fn violations(module: &str, file: &str, text: &str) -> Vec<String> {
    let Some(floor) = floor_of(module) else { return vec![format!("{file}: {module} stands on no floor")] };
    let top = |path: &str| path.split("::").next().unwrap_or_default().to_owned();
    imports(text)
        .into_iter()
        .filter(|(_, path)| {
            let own = top(path) == top(module) && floor_of(path) == Some(floor);
            !own && floor_of(path).is_some_and(|of| of >= floor)
        })
        .map(|(line, path)| format!("{file}:{line}: {module} imports {path}, which is not below it"))
        .collect()
}

#[test]
fn every_file_imports_only_from_lower_floors() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let name = path.strip_prefix(&source).unwrap().with_extension("");
        let module = name.to_string_lossy().replace('/', "::");
        let module = module.strip_suffix("::mod").unwrap_or(&module);
        if module == "lib" {
            continue;
        }
        wrong.extend(violations(module, &path.display().to_string(), &fs::read_to_string(&path).unwrap()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_a_wrong_import() {
    assert_eq!(violations("run", "f", "use crate::report::Report;\n").len(), 1);
    assert_eq!(violations("run", "f", "fn x() { crate::layer::y() }\n").len(), 1);
    assert!(violations("report", "f", "use crate::run::Run;\nuse crate::report::booking;\n").is_empty());
    assert_eq!(
        violations("time", "f", "use crate::ids::SpanId;\n").len(),
        1,
        "not from its own floor either"
    );
}
