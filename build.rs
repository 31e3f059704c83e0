//! Generates the Rust types of the wire contract and of gRPC's standard
//! services, without protoc.

fn main() {
    // Generated modules are named after their files, so that files of the same
    // name need directories of their own.
    generate(
        "generated",
        &[
            "proto/chat.proto",
            "proto/grpc/health/v1/health.proto",
            "proto/grpc/reflection/v1/reflection.proto",
        ],
    );
    generate(
        "generated-v1alpha",
        &["proto/grpc/reflection/v1alpha/reflection.proto"],
    );
    println!("cargo:rerun-if-changed=proto");
}

fn generate(directory: &str, files: &[&str]) {
    protobuf_codegen::Codegen::new()
        .pure()
        .include("proto")
        .inputs(files)
        .cargo_out_dir(directory)
        .run_from_script();
}
