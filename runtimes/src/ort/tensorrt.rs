//! What ONNX Runtime's TensorRT provider is asked for: the precision of the file, the shapes of the job, and engines kept
//! in a folder of their own.
//!
//! ONNX Runtime names an engine by the model's file and the names within it, by its own version and TensorRT's, and by the
//! GPU's compute capability, and not by the weights (`TRTGenerateModelId` and `cache_hw_compat` in its public source). So
//! the folder is that of the model's digest. An engine that TensorRT does not take is an error of TensorRT's.

use std::fs;
use std::path::{Path, PathBuf};

use ort::ep::{self, ExecutionProviderDispatch};

use super::version::version;
use super::{NAME, provider};
use crate::handle::Handle;
use crate::onnx::Interface;
use crate::{Options, digest, kept, port};

/// What a reader of its figures must know.
pub(super) const REMARK: &str =
    "TensorRT may round float32 to 10 bits (TF32), against which ONNX Runtime has no option";

/// How ONNX Runtime is asked for it. The error is one line.
pub(super) fn dispatch(
    path: &Path,
    library: &Path,
    options: &Options,
) -> Result<ExecutionProviderDispatch, String> {
    let words = |error: crate::Error| error.to_string();
    let handle = Handle::open(NAME, library).map_err(words)?;
    let version = version(&handle).map_err(words)?;
    if !provider::held(&handle)?.contains(&provider::TENSORRT) {
        return Err(format!("{} was built without it", library.display()));
    }
    let model = Interface::read(path)?;
    // Without shapes for open axes engines are built in the first inference.
    let shapes = model.open_shapes(&port::resolve(&model.declared_inputs()?, options)?);
    let digest = model.digest(path).map_err(|error| error.to_string())?;
    let key = [&digest, &version, shapes.as_deref().unwrap_or_default()].join("\n");
    let folder = folder(&key)?;
    fs::create_dir_all(&folder)
        .and_then(|()| kept::use_folder(&folder))
        .map_err(|error| format!("cannot keep its engines in {}: {error}", folder.display()))?;
    let asked = ep::TensorRT::default()
        .with_fp16(model.is_half)
        .with_int8(model.is_quantized)
        .with_engine_cache(true)
        .with_engine_cache_path(folder.display());
    Ok(match shapes {
        Some(shapes) => asked
            .with_profile_min_shapes(&shapes)
            .with_profile_opt_shapes(&shapes)
            .with_profile_max_shapes(&shapes)
            .build(),
        None => asked.build(),
    })
}

fn folder(key: &str) -> Result<PathBuf, String> {
    Ok(kept::folder(NAME)?.join(&digest::of_text(key)[..32]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_folder_of_its_own() {
        let folder = |key| folder(key).unwrap();
        assert_eq!(folder("a"), folder("a"));
        assert_ne!(folder("a"), folder("b"));
    }
}
