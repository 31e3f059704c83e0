//! Where a server listens, and where it cannot.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use chitchat::trace::line::{Line, What};

use crate::support::{Peer, Program, TestServer, code};

#[test]
fn a_port_that_is_taken_is_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, out, err) =
        Program::start(&["server", "--store", "memory", "--listen", &address]).end();
    assert_eq!(code(status), 1);
    assert!(out.is_empty(), "{out:?}");
    let last = err.last().expect("an error");
    assert!(
        last.starts_with(&format!("chitchat: cannot listen on {address}: ")),
        "{err:?}"
    );
    assert!(last.contains("in use"), "{err:?}");
}

#[test]
fn a_server_that_cannot_listen_leaves_its_store_closed() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    for (listen, metrics) in [(&*taken, free), (free, &*taken)] {
        let dir = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", dir.path().join("rooms.db").display());
        let listening = ["--listen", listen, "--metrics", metrics];
        let args = [&["server", "--store", &store], &listening[..]].concat();
        let (status, _, err) = Program::start(&args).end();
        assert_eq!(code(status), 1, "{err:?}");
        let left = std::fs::read_dir(dir.path()).unwrap();
        let mut left: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["rooms.db", "rooms.db.lock"], "{listen} {metrics}");
    }
}

#[test]
fn a_second_server_does_not_steal_the_port_of_the_first() {
    let (_first, address) = Program::server(&[]);
    let (status, _, err) =
        Program::start(&["server", "--store", "memory", "--listen", &address]).end();
    assert_eq!(code(status), 1, "{err:?}");
    Peer::join(&address, "Alex", 1);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "it needs a mount of its own")]
fn a_name_is_served_at_all_of_its_addresses_or_not_at_all() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n::1 localhost\n").unwrap();
    let mount = format!("mount --bind {} /etc/hosts", hosts.display());
    let alone = ["--mount", "sh", "-c", &mount];
    let mounted = Command::new("unshare").args(alone).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a name with several addresses needs the right to mount its file");
        return;
    }
    let program = env!("CARGO_BIN_EXE_chitchat");
    let server = format!("exec {program} server --listen localhost:{port} --store memory");
    let script = format!("{mount} && {server}");
    let args = ["--mount", "sh", "-c", &script];
    let (status, _, err) = Program::start_other(Path::new("unshare"), &args).end();
    assert_eq!(code(status), 1, "{err:?}");
    let words = format!("127.0.0.1:{port}: Address already in use");
    assert!(err.last().unwrap().contains(&words), "{err:?}");
}

#[test]
fn a_server_at_several_addresses_starts_once_in_its_log() {
    let two = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let args = [&["server", "--store", "memory"], &two[..]].concat();
    let mut server = Program::start(&args);
    let addresses = [(); 2].map(|()| {
        let line = server.wait_for("listening on ");
        line.trim_start_matches("listening on ").to_owned()
    });
    for address in &addresses {
        Peer::join(address, address, 0);
    }
    server.signal("-TERM");
    let (status, _, log) = server.end();
    assert_eq!(code(status), 0, "{log:?}");
    let starts = log.iter().filter_map(|line| Line::parse(line));
    let starts: Vec<_> = starts.filter(|line| line.what == What::Start).collect();
    assert_eq!(starts.len(), 1, "{log:?}");
    assert!(starts[0].words.ends_with(&addresses.join(", ")), "{log:?}");
}

#[test]
fn a_second_server_does_not_take_a_socket_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = format!("unix:{}/chat.sock", dir.path().display());
    let args = ["server", "--store", "memory", "--listen", path.as_str()];
    let mut first = Program::start(&args);
    first.wait_for("listening on unix:");
    let (status, _, err) = Program::start(&args).end();
    assert_eq!(code(status), 1);
    assert!(
        err.last().unwrap().contains("another server listens there"),
        "{err:?}"
    );
    Peer::join(&path, "Alex", 1);
    first.signal("-KILL");
    first.end();
    // what a killed server left behind is no obstacle
    let mut next = Program::start(&args);
    next.wait_for("listening on unix:");
    Peer::join(&path, "Alex", 1);
}

#[test]
fn a_socket_of_another_kind_of_program_stays_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let other = UnixDatagram::bind(&path).unwrap();
    let listen = format!("unix:{}", path.display());
    let args = ["server", "--store", "memory", "--listen", &listen];
    let (status, _, err) = Program::start(&args).end();
    assert_eq!(code(status), 1);
    let words = "another program may listen there";
    assert!(err.last().unwrap().contains(words), "{err:?}");
    let word = UnixDatagram::unbound().unwrap().send_to(b"hello", &path);
    assert_eq!(word.unwrap(), 5);
    assert_eq!(other.recv(&mut [0; 9]).unwrap(), 5);
}

#[test]
fn an_address_that_is_none_is_a_clear_error() {
    for address in [
        "nonsense",
        "127.0.0.1:70000",
        "unix:/nowhere/at/all",
        "300.1.1.1:1",
        "[127.0.0.1]:0",
    ] {
        let (status, _, err) =
            Program::start(&["server", "--store", "memory", "--listen", address]).end();
        assert_eq!(code(status), 1, "{address}");
        let start = format!("chitchat: cannot listen on {address}: ");
        let last = err.last().unwrap();
        assert!(last.starts_with(&start), "{last}");
        assert!(!last.ends_with("gRPC could not bind it"), "{last}");
    }
}

#[test]
fn a_port_that_there_is_not_leads_to_no_other() {
    let server = TestServer::start();
    let (host, port) = server.address.rsplit_once(':').unwrap();
    let other = format!("{host}:{}", port.parse::<u32>().unwrap() + 65_536);
    let port = other.rsplit_once(':').unwrap().1;
    let (status, out, err) = Program::client("Alex", &other, &[]).end();
    assert_eq!((code(status), out.as_slice()), (3, &[][..]));
    let last = err.last().unwrap();
    let why = format!("chitchat: cannot reach {other}: there is no port {port}");
    assert_eq!(*last, why);
    for without in [host, "[::1]", "127.0.0.1:", "chat.example:chat"] {
        let (status, _, err) = Program::client("Alex", without, &[]).end();
        assert_eq!(code(status), 3, "{err:?}");
        let why = format!("chitchat: cannot reach {without}: it must be HOST:PORT, ");
        assert!(err.last().unwrap().starts_with(&why), "{err:?}");
    }
}
