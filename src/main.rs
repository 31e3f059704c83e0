//! The program `chitchat`.

fn main() -> std::process::ExitCode {
    chitchat::cli::main()
}
