//! What the targets share.

use std::path::Path;

/// Calls `read` with a file of this content, for decoders that take paths.
pub fn with_file(extension: &str, content: &[u8], read: impl FnOnce(&Path)) {
    // One process fuzzes one target on one thread, so the name is its own.
    let path = std::env::temp_dir().join(format!("edgefront-fuzz-{}.{extension}", std::process::id()));
    std::fs::write(&path, content).expect("the temporary folder takes files");
    read(&path);
}
