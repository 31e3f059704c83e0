//! Generates the Rust types of the wire contract, without protoc.

fn main() {
    protobuf_codegen::Codegen::new()
        .pure()
        .include("proto")
        .input("proto/chat.proto")
        .cargo_out_dir("generated")
        .run_from_script();
    println!("cargo:rerun-if-changed=proto");
}
