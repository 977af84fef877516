//! The worker: a child process of the agent that runs one job.

/// Serves the agent's orders on standard input until it closes. Standard output carries nothing but answers.
pub fn main() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
