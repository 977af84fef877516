//! What the targets share.

use std::path::{Path, PathBuf};

use edgefront_protocol::PictureShape;

/// What a model takes, as small as pictures can be and still be scaled.
pub const PICTURE: PictureShape = PictureShape {
    channels: 3,
    height: 2,
    width: 2,
};

/// Calls `read` with a file of this content, for decoders that take paths.
pub fn with_file(extension: &str, content: &[u8], read: impl FnOnce(&Path)) {
    let path = folder().join(format!("file.{extension}"));
    std::fs::write(&path, content).expect("the temporary folder takes files");
    read(&path);
}

/// A folder of this process, which fuzzes one target on one thread.
pub fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("edgefront-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder takes folders");
    folder
}
