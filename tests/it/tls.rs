//! TLS: who gets in with which certificate, and what is said of bad files.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chitchat::chat::Kind;
use chitchat::rpc::{Access, Certificates, ClientTls, Dialler, Keepalive, ServerFiles};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SanType, date_time_ymd};
use tempfile::TempDir;

use crate::support::{DEADLINE, Peer, Program, TestServer, join};

/// Certificates as the program makes them, for Alex and Aske.
struct Made(TempDir);

impl Made {
    fn new() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        made.add(&["Alex", "Aske"]);
        made
    }

    fn add(&self, names: &[&str]) -> Vec<String> {
        let mut args = vec!["certs", self.0.path().to_str().unwrap()];
        args.extend(names);
        let (status, out, err) = Program::start(&args).end();
        assert!(status.success(), "{err:?}");
        out
    }

    fn path(&self, file: &str) -> String {
        self.0.path().join(file).to_str().unwrap().to_owned()
    }

    fn server(&self, client_ca: bool) -> Certificates {
        Certificates::load(ServerFiles {
            cert: self.path("server.pem").into(),
            key: self.path("server.key").into(),
            client_ca: client_ca.then(|| self.path("ca.pem").into()),
        })
        .unwrap()
    }

    fn trust(&self) -> ClientTls {
        ClientTls::trust(Path::new(&self.path("ca.pem"))).unwrap()
    }

    /// What a client with this participant's certificate needs.
    fn access(&self, name: &str) -> Access {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let (cert, key) = (self.path(&cert), self.path(&key));
        encrypted(self.trust().identify(cert.as_ref(), key.as_ref()).unwrap())
    }

    fn copy(&self, from: &Made, file: &str) {
        std::fs::copy(from.path(file), self.path(file)).unwrap();
    }
}

fn encrypted(tls: ClientTls) -> Access {
    Access {
        tls: Some(tls),
        ..Access::default()
    }
}

fn server(certificates: Certificates) -> TestServer {
    TestServer::with(|s| s.certificates = Some(certificates))
}

#[test]
fn with_a_ca_of_clients_a_name_is_its_certificates() {
    let made = Made::new();
    let server = server(made.server(true));
    let mut alex = Peer::ask_with(&server.address, made.access("Alex"), join("Alex", 1));
    assert_eq!(alex.next().kind, Kind::Join);
    let impostor = Peer::ask_with(&server.address, made.access("Aske"), join("Beate", 2));
    let words = "the certificate is for «Aske», not for «Beate»".to_owned();
    assert_eq!(impostor.status(), (7, words), "PERMISSION_DENIED");
    let aske = Peer::ask_with(&server.address, made.access("Aske"), join("aske", 2));
    aske.next();
    alex.say("between us", 1);
    assert_eq!(aske.next().text, "between us");
}

#[test]
fn a_subject_alternative_name_counts_before_the_common_name() {
    let made = Made::new();
    let ca = rcgen::Issuer::from_ca_cert_pem(
        &std::fs::read_to_string(made.path("ca.pem")).unwrap(),
        KeyPair::from_pem(&std::fs::read_to_string(made.path("ca.key")).unwrap()).unwrap(),
    )
    .unwrap();
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Common");
    params.subject_alt_names = vec![
        SanType::DnsName("Alternative".try_into().unwrap()),
        SanType::Rfc822Name("Second".try_into().unwrap()),
    ];
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &ca).unwrap();
    std::fs::write(made.path("San.pem"), cert.pem()).unwrap();
    std::fs::write(made.path("San.key"), key.serialize_pem()).unwrap();
    let server = server(made.server(true));
    for (name, code) in [("Common", 7), ("Alternative", 0), ("Second", 0)] {
        let mut peer = Peer::ask_with(&server.address, made.access("San"), join(name, 1));
        peer.leave(1);
        assert_eq!(peer.status().0, code, "{name}");
    }
}

#[test]
fn without_a_certificate_of_that_ca_nobody_gets_in() {
    let (made, other) = (Made::new(), Made::new());
    let server = server(made.server(true));
    let dial = |access| {
        Dialler::with_access(Keepalive::default(), access)
            .dial(&server.address, DEADLINE)
            .and_then(|dialled| dialled.rooms())
    };
    let (cert, key) = (other.path("Alex.pem"), other.path("Alex.key"));
    let strange = made.trust().identify(cert.as_ref(), key.as_ref()).unwrap();
    // a server's certificate is not for being a client
    let (cert, key) = (made.path("server.pem"), made.path("server.key"));
    let misused = made.trust().identify(cert.as_ref(), key.as_ref()).unwrap();
    for (what, access) in [
        ("plaintext", Access::default()),
        ("no certificate", encrypted(made.trust())),
        ("another CA's", encrypted(strange)),
        ("the server's", encrypted(misused)),
    ] {
        assert!(dial(access).is_err(), "{what}");
    }
    assert!(dial(made.access("Alex")).is_ok());
}

#[test]
fn a_client_trusts_no_other_server() {
    let (made, other) = (Made::new(), Made::new());
    let server = server(made.server(false));
    let dial = |tls| {
        Dialler::with_access(Keepalive::default(), encrypted(tls)).dial(&server.address, DEADLINE)
    };
    let error = |tls| dial(tls).err().expect("no connection").to_string();
    let why = error(other.trust());
    assert!(why.contains("CERTIFICATE_VERIFY_FAILED"), "{why}");
    error(made.trust().expect_name("elsewhere.example".to_owned()));
    error(made.trust().expect_name("nul\0".to_owned()));
    assert!(dial(made.trust()).is_ok());
    assert!(dial(made.trust().expect_name("localhost".to_owned())).is_ok());
}

#[test]
fn the_programs_find_their_certificates() {
    let made = Made::new();
    let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(|f| made.path(f));
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--client-ca", &ca];
    let (_server, address) = Program::server(&tls);
    let [cert, key] = ["Alex.pem", "Alex.key"].map(|f| made.path(f));
    let tls = ["--tls-ca", &ca, "--cert", &cert, "--key", &key];
    let mut alex = Program::client("Alex", &address, &tls);
    alex.wait_for("joined");
    let (status, _, err) = Program::client("Aske", &address, &tls).end();
    assert_eq!(status.code(), Some(4));
    assert_eq!(
        err.last().unwrap(),
        "chitchat: the server refused: the certificate is for «Alex», not for «Aske»"
    );
    let mut args = vec!["history", "--server", &address];
    args.extend(tls);
    let (status, out, _) = Program::start(&args).end();
    assert_eq!((status.code(), out.len()), (Some(0), 1));
    alex.type_line("exit");
    assert!(alex.end().0.success());
}

#[test]
fn handshakes_that_fail_do_not_fill_the_log() {
    const MANY: usize = 1000;
    let made = Made::new();
    let [cert, key] = ["server.pem", "server.key"].map(|f| made.path(f));
    let (server, address) = Program::server(&["--tls-cert", &cert, "--tls-key", &key]);
    for _ in 0..MANY {
        let mut stranger = TcpStream::connect(&address).unwrap();
        stranger.set_read_timeout(Some(DEADLINE)).unwrap();
        let _ = stranger.write_all(b"GET / HTTP/1.0\r\n\r\n");
        let _ = stranger.read_to_end(&mut Vec::new()); // until it is closed
    }
    server.signal("-TERM");
    let (status, _, err) = server.end();
    assert!(status.success());
    let failed = err.iter().filter(|line| line.contains("Handshake failed"));
    let lines = failed.count();
    assert!((1..MANY / 2).contains(&lines), "{lines} lines");
}

#[test]
fn a_hangup_reads_the_certificates_again_and_drops_nobody() {
    let (made, next) = (Made::new(), Made::new());
    let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(|f| made.path(f));
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--client-ca", &ca];
    let (mut server, address) = Program::server(&tls);
    let old = made.access("Alex");
    let mut alex = Peer::ask_with(&address, old.clone(), join("Alex", 1));
    alex.next();

    std::fs::write(&cert, "nonsense").unwrap();
    server.signal("-HUP");
    server.wait_for_error("the certificates stay as they were: ");
    // No client could connect with it.
    let modern = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let params = CertificateParams::default();
    std::fs::write(&cert, params.self_signed(&modern).unwrap().pem()).unwrap();
    std::fs::write(&key, modern.serialize_pem()).unwrap();
    server.signal("-HUP");
    server.wait_for_error("a private key that cannot be used");
    Peer::ask_with(&address, made.access("Aske"), join("Aske", 2)).next();

    for file in ["ca.pem", "server.pem", "server.key"] {
        made.copy(&next, file);
    }
    server.signal("-HUP");
    server.wait_for_error("the certificates were read again");
    let aske = Peer::ask_with(&address, next.access("Aske"), join("Aske", 3));
    aske.next();
    let dialled = Dialler::with_access(Keepalive::default(), old).dial(&address, DEADLINE);
    assert!(dialled.is_err(), "the old CA counts no more");
    alex.say("still here", 1);
    aske.until("what Alex says", |e| e.text == "still here");
    server.signal("-TERM");
    assert!(server.end().0.success());
}

#[test]
fn each_bad_file_has_a_sentence_of_its_own() {
    let (made, other) = (Made::new(), Made::new());
    let write = |file: &str, text: &str| {
        std::fs::write(made.path(file), text).unwrap();
        made.path(file)
    };
    let key = KeyPair::generate().unwrap();
    let dated = |file: &str, from: i32, until: i32| {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        write(file, &params.self_signed(&key).unwrap().pem())
    };
    let dated_key = write("dated.key", &key.serialize_pem());
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let modern = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let params = CertificateParams::default();
    let modern_cert = write("h", &params.self_signed(&modern).unwrap().pem());
    let (cert, cert_key) = (made.path("server.pem"), made.path("server.key"));
    let missing = made.path("missing");
    let cases = [
        (missing.clone(), cert_key.clone(), "cannot read "),
        (cert.clone(), missing, "cannot read "),
        (
            write("a", "nonsense"),
            cert_key.clone(),
            " holds no certificate in PEM form",
        ),
        (
            write("b", "\0"),
            cert_key.clone(),
            " holds no certificate in PEM form",
        ),
        (
            cert_key.clone(),
            cert_key.clone(),
            " holds no certificate in PEM form",
        ),
        (
            write("c", &pem("CERTIFICATE")),
            cert_key.clone(),
            "a certificate that cannot be read",
        ),
        (
            dated("d", 2001, 2002),
            dated_key.clone(),
            " is not valid since Jan  1 00:00:00 2002",
        ),
        (
            dated("e", 2901, 2902),
            dated_key,
            " is not valid before Jan  1 00:00:00 2901",
        ),
        (
            cert.clone(),
            cert.clone(),
            " holds no private key in unencrypted PKCS#8 form",
        ),
        (
            cert.clone(),
            write("f", &pem("ENCRYPTED PRIVATE KEY")),
            " holds no private key in unencrypted PKCS#8 form",
        ),
        (
            cert.clone(),
            write("g", &pem("PRIVATE KEY")),
            "a private key that cannot be used",
        ),
        (
            modern_cert,
            write("h.key", &modern.serialize_pem()),
            "a private key that cannot be used",
        ),
        (
            cert.clone(),
            other.path("server.key"),
            " is not the one of the certificate in ",
        ),
    ];
    for (cert, key, why) in &cases {
        let args = [
            "server",
            "--store",
            "memory",
            "--tls-cert",
            cert,
            "--tls-key",
            key,
        ];
        let (status, _, err) = Program::start(&args).end();
        assert_eq!(status.code(), Some(1), "{err:?}");
        let [line] = &err[..] else { panic!("{err:?}") };
        assert!(line.contains(why), "{line} is to say {why}");
    }
    let old = made.path("d");
    for args in [
        [
            "server",
            "--tls-cert",
            &cert,
            "--tls-key",
            &cert_key,
            "--client-ca",
            &old,
        ]
        .as_slice(),
        &["client", "Alex", "--tls-ca", &old],
        &["history", "--tls-ca", &old],
    ] {
        let (status, _, err) = Program::start(args).end();
        assert_eq!(status.code(), Some(1), "{err:?}");
        assert!(
            err.last().unwrap().contains("is not valid since"),
            "{err:?}"
        );
    }
}

#[test]
fn only_their_owner_reads_the_private_keys_and_nothing_is_written_over() {
    let made = Made::new();
    for file in ["ca.key", "server.key", "Alex.key"] {
        let mode = std::fs::metadata(made.path(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let before = std::fs::read(made.path("Alex.key")).unwrap();
    let out = made.add(&["Alex", "Åse Berg"]);
    assert!(out[1].ends_with("Alex.pem is there already"), "{out:?}");
    assert_eq!(std::fs::read(made.path("Alex.key")).unwrap(), before);
    let server = server(made.server(true));
    Peer::ask_with(
        &server.address,
        made.access("Åse Berg"),
        join("Åse Berg", 1),
    )
    .next();
    for bad in ["a/b", "ca", "server", ".x", "Server"] {
        let args = ["certs", made.0.path().to_str().unwrap(), bad];
        assert_eq!(Program::start(&args).end().0.code(), Some(1), "{bad}");
    }
    // Half of a pair is left alone: whoever keeps the CA's key elsewhere gets
    // no other CA.
    for (gone, left) in [("ca.key", "ca.pem"), ("Alex.pem", "Alex.key")] {
        let kept = std::fs::read(made.path(gone)).unwrap();
        std::fs::remove_file(made.path(gone)).unwrap();
        let args = ["certs", made.0.path().to_str().unwrap(), "Alex"];
        let (status, _, err) = Program::start(&args).end();
        assert_eq!(status.code(), Some(1));
        let said = err.last().unwrap();
        assert!(
            said.contains(&format!("{left} is there, but not its")),
            "{said}"
        );
        assert!(std::fs::metadata(made.path(gone)).is_err());
        std::fs::write(made.path(gone), kept).unwrap();
    }
}

#[test]
fn beyond_this_machine_only_the_explicit_listen_unencrypted() {
    let args = ["server", "--store", "memory", "--listen"];
    for address in ["0.0.0.0:0", "[::]:0"] {
        let (status, _, err) = Program::start(&[&args[..], &[address]].concat()).end();
        assert_eq!(status.code(), Some(1));
        let why = format!("on its way to {address}: encrypt with --tls-cert");
        assert!(err.last().unwrap().contains(&why), "{err:?}");
    }
    // gRPC's core would decode them, and then listen everywhere.
    for address in ["0.0.0%2E0:0", "%30.0.0.0:0", "%5B::%5D:0"] {
        for insecure in [&[][..], &["--insecure"]] {
            let args = [&args[..], &[address], insecure].concat();
            let (status, _, err) = Program::start(&args).end();
            assert_eq!(status.code(), Some(1));
            let why = format!("cannot listen on {address}: ");
            assert!(err.last().unwrap().contains(&why), "{err:?}");
        }
    }
    let mut server = Program::start(&[&args[..], &["0.0.0.0:0", "--insecure"]].concat());
    server.wait_for("listening on ");
    server.wait_for_error("0.0.0.0:0 is not encrypted: others can read and change everything");
}
