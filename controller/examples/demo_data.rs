//! Writes the demonstration's pictures, from which `assets/demo/train.py` makes its network:
//! `cargo run --release -p edgefront --example demo_data -- DIR` leaves `training.safetensors` and
//! `validation.safetensors` in DIR.

use std::path::PathBuf;

use edgefront::demo::{Set, pictures};

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "demo-data".into()));
    std::fs::create_dir_all(&folder)?;
    for (set, name) in [(Set::Training, "training"), (Set::Validation, "validation")] {
        std::fs::write(
            folder.join(name).with_extension("safetensors"),
            pictures(set, set.size()).encode(),
        )?;
    }
    Ok(())
}
