//! How gRPC's core is built.

use std::fs;
use std::process::Command;

use chitchat::wire::HEALTH_CHECK;

use crate::support::{Http2, TestServer};

const CONFIG: &str = include_str!("../../.cargo/config.toml");
const TOOLCHAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cargo/grpc.cmake");

/// A toolchain file that is there for every target takes the place of the compilers
/// that are found for another machine.
#[test]
fn the_compilers_for_another_machine_are_cargos() {
    let sets = |name: &str| CONFIG.lines().any(|l| l.split(" =").next() == Some(name));
    assert!(sets("HOST_CMAKE_TOOLCHAIN_FILE"), "{CONFIG}");
    assert!(!sets("CMAKE_TOOLCHAIN_FILE"), "{CONFIG}");
}

/// What CMake says of a project that is configured as the core is, in this
/// environment.
fn configure(environment: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("CMakeLists.txt"),
        "cmake_minimum_required(VERSION 3.10)
        project(configured NONE)
        message(\"CC=$ENV{CC} CXX=$ENV{CXX} own=${own}\")",
    )
    .unwrap();
    let output = Command::new("cmake")
        .arg(dir.path())
        .arg("-B")
        .arg(dir.path().join("build"))
        .arg(format!("-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}"))
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_toolchain_file_of_ones_own_counts_too() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.cmake");
    fs::write(&own, format!("include({TOOLCHAIN})\nset(own yes)\n")).unwrap();
    let said = configure(&[("CMAKE_TOOLCHAIN_FILE", own.to_str().unwrap())]);
    assert!(said.contains("own=yes"), "{said}");
}

/// The flags are for the compilers that are chosen for the target, by any of the
/// names that Cargo's build scripts know: so CMake must take the same.
#[test]
fn the_compilers_are_those_that_were_chosen() {
    let said = configure(&[
        ("TARGET", "an-odd-target"),
        ("CC", "cc"),
        ("HOST_CC", "host-cc"),
        ("CC_an_odd_target", "odd-cc"),
        ("CXX", "c++"),
        ("HOST_CXX", "host-c++"),
    ]);
    assert!(said.contains("CC=odd-cc CXX=host-c++"), "{said}");
}

/// What a message took of its stream's window would else be given back at once: a
/// system call for each, and a wake-up at the other end. Built without
/// `.cargo/grpc.cmake`, or before it said so (`cargo clean --release -p grpcio-sys`
/// has it built anew), the core does that.
#[test]
fn a_few_bytes_are_given_back_with_whatever_goes_out_next() {
    const WINDOW_UPDATE: u8 = 8;
    let server = TestServer::start();
    let mut joined = Vec::new();
    for id in 1..6 {
        let mut connection = Http2::connect(&server.address);
        connection.join(&format!("Alex{id}"), id);
        connection.until_data("joined");
        connection.frame(0, 0, 1, &[0, 0, 0, 0, 100, 8, id]); // the beginning of a message
        // Meanwhile the server has read that.
        let mut other = Http2::connect(&server.address);
        other.ask(HEALTH_CHECK.name, 1);
        other.until("grpc-status");
        let before = connection.ping();
        assert!(!before.contains(&(WINDOW_UPDATE, 1)), "{id}: {before:?}");
        joined.push(connection); // else the next one would be told that it has gone
    }
}
