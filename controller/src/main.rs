//! The `edgefront` command.

fn main() -> std::process::ExitCode {
    edgefront::cli::main()
}
