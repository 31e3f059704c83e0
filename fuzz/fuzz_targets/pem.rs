//! Whatever stands in a certificate's file and in a key's: they are taken or
//! refused.

#![no_main]

use std::sync::LazyLock;

use chitchat_fuzz::Scratch;
use chitchat_fuzz::rpc::tls::{Certificates, ClientTls, ServerFiles};
use libfuzzer_sys::fuzz_target;

static CERT: LazyLock<Scratch> = LazyLock::new(|| Scratch::new("cert.pem"));
static KEY: LazyLock<Scratch> = LazyLock::new(|| Scratch::new("key.pem"));

fuzz_target!(|input: &[u8]| {
    // The two files, divided where the first key begins, or all in both.
    let begin = b"-----BEGIN PRIVATE";
    let at = input.windows(begin.len()).position(|w| w == begin);
    let (cert, key) = at.map_or((input, input), |at| input.split_at(at));
    let (cert, key) = (CERT.holding(cert), KEY.holding(key));
    if let Ok(tls) = ClientTls::trust(cert) {
        let _ = tls.identify(cert, key);
    }
    let _ = Certificates::load(ServerFiles {
        cert: cert.to_owned(),
        key: key.to_owned(),
        client_ca: Some(cert.to_owned()),
    });
});
