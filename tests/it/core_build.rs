//! How gRPC's core is built.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What `.cargo/` has under this name.
fn read(name: &str) -> String {
    fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(".cargo")
            .join(name),
    )
    .unwrap()
}

/// A toolchain file that is there for every target takes the place of the compilers
/// that are found for another machine.
#[test]
fn the_compilers_for_another_machine_are_cargos() {
    let config = read("config.toml");
    let sets = |name: &str| config.lines().any(|l| l.split(" =").next() == Some(name));
    assert!(sets("HOST_CMAKE_TOOLCHAIN_FILE"), "{config}");
    assert!(!sets("CMAKE_TOOLCHAIN_FILE"), "{config}");
}

#[test]
fn a_toolchain_file_of_ones_own_counts_too() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.cmake");
    let toolchain = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo/grpc.cmake");
    fs::write(
        &own,
        format!("include({})\nset(own yes)\n", toolchain.display()),
    )
    .unwrap();
    fs::write(
        dir.path().join("CMakeLists.txt"),
        "cmake_minimum_required(VERSION 3.10)
        project(own NONE)
        message(\"own=${own}\")",
    )
    .unwrap();
    let output = Command::new("cmake")
        .arg(dir.path())
        .arg("-B")
        .arg(dir.path().join("build"))
        .arg(format!("-DCMAKE_TOOLCHAIN_FILE={}", toolchain.display()))
        .env("CMAKE_TOOLCHAIN_FILE", &own)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("own=yes"), "{said}");
}
