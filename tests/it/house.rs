//! The house's rules: which way the arrows between the modules point, and
//! what the sources must have or must not.

use std::fs;
use std::path::{Path, PathBuf};

/// Which modules each module may use. All arrows point down.
const ARROWS: [(&str, &[&str]); 10] = [
    (
        "cli",
        &[
            "chat", "history", "trace", "wire", "rpc", "standard", "server", "client", "bench",
        ],
    ),
    ("bench", &["chat", "wire", "rpc"]),
    ("client", &["chat", "trace", "wire", "rpc"]),
    (
        "server",
        &["chat", "history", "trace", "wire", "rpc", "standard"],
    ),
    ("standard", &["wire", "rpc"]),
    ("rpc", &["wire"]),
    ("wire", &["chat"]),
    ("trace", &["chat"]),
    ("history", &["chat"]),
    ("chat", &[]),
];

/// Which modules alone may use a crate.
const CRATES: [(&str, &[&str]); 7] = [
    ("grpcio", &["rpc", "wire"]),
    ("futures_util", &["rpc"]),
    ("futures_executor", &["rpc"]),
    ("protobuf", &["wire"]),
    ("rusqlite", &["history"]),
    ("redis", &["history"]),
    ("clap", &["cli"]),
];

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no *.{ending} in {folder}");
    found.sort();
    found
}

/// The sources of `src/`, each with its module. Test modules are not looked at.
fn sources() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = |path: &Path| {
        let first = path
            .strip_prefix(&root)
            .unwrap()
            .components()
            .next()
            .unwrap();
        first
            .as_os_str()
            .to_string_lossy()
            .trim_end_matches(".rs")
            .to_owned()
    };
    files("src", "rs")
        .into_iter()
        .filter(|path| {
            !path.ends_with("tests.rs") && !path.components().any(|c| c.as_os_str() == "tests")
        })
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .split("#[cfg(test)]")
                .next()
                .unwrap_or_default()
                .to_owned();
            let module = module(&path);
            (path, module, code)
        })
        .collect()
}

fn code_lines(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter(|l| !l.trim_start().starts_with("//"))
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for (path, module, code) in sources() {
        let Some((_, allowed)) = ARROWS.iter().find(|(m, _)| *m == module) else {
            assert!(
                ["lib", "main"].contains(&module.as_str()),
                "no arrows are drawn for {module}"
            );
            continue;
        };
        for line in code_lines(&code) {
            for used in line.split("crate::").skip(1) {
                let used = used
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap();
                if used != module && !used.is_empty() && !allowed.contains(&used) {
                    wrong.push(format!("{}: {module} uses {used}: {line}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_library_is_seen_by_its_own_module_alone() {
    let mut wrong = Vec::new();
    for (path, module, code) in sources() {
        for line in code_lines(&code) {
            for (library, allowed) in CRATES {
                let used = line.contains(&format!("{library}::"))
                    || line.contains(&format!("use {library};"));
                if used && !allowed.contains(&module.as_str()) {
                    wrong.push(format!(
                        "{}: {module} uses {library}: {line}",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_source_says_what_it_is() {
    for (path, _, code) in sources() {
        assert!(code.starts_with("//! "), "{} has no header", path.display());
    }
}

#[test]
fn nothing_panics_on_purpose_outside_of_tests() {
    let forbidden = [
        ".unwrap()",
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        "FIXME",
        "XXX",
    ];
    let mut wrong = Vec::new();
    for (path, _, code) in sources() {
        for line in code.lines() {
            let documented =
                line.trim_start().starts_with("///") || line.trim_start().starts_with("//!");
            if !documented && forbidden.iter().any(|f| line.contains(f)) {
                wrong.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_test_sleeps() {
    // written so that this file does not contain it
    let sleeping = ["thread::", "sleep"].concat();
    for path in files("tests", "rs") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains(&sleeping),
            "{} sleeps; wait on an event instead",
            path.display()
        );
    }
}
