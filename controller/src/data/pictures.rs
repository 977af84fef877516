//! Pictures that stay on the disk: each is read when it is wanted, so memory does not grow with their number.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use edgefront_optimizer::calibrate::Samples;
use edgefront_protocol::Digest;
use edgefront_protocol::pack::{Head, Outline, PictureShape, beginning};
use edgefront_runtimes::{Data, Tensor};
use sha2::{Digest as _, Sha256};

use super::error::{DataError, Problem};

/// Pixels are copied in pieces of this many bytes.
pub(super) const PIECE: usize = 1 << 20;

/// A data set whose pixels lie in a file: its own, or one without a name that goes away with it.
#[derive(Debug)]
pub struct Pictures {
    head: Head,
    file: File,
    /// Where the first picture begins. The others follow without a gap.
    start: u64,
    /// The data set as the user named it.
    path: PathBuf,
}

impl Pictures {
    /// The pictures of a pack, where they are; of `limit` pictures only the first so many.
    pub(super) fn of_pack(path: &Path, limit: Option<usize>) -> Result<Self, DataError> {
        let mut pictures = Self::outlined(path).map_err(|problem| problem.at(path))?;
        if let Some(limit) = limit {
            pictures.head = pictures.head.first(limit);
        }
        Ok(pictures)
    }

    fn outlined(path: &Path) -> Result<Self, Problem> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut start = Vec::new();
        (&file).take(size_of::<u64>() as u64).read_to_end(&mut start)?;
        if let Ok(first) = start.as_slice().try_into() {
            // No more than is there, whatever a damaged file claims.
            let rest = beginning(first).min(length) - start.len() as u64;
            (&file).take(rest).read_to_end(&mut start)?;
        }
        let outline = Outline::decode(&start, length)?;
        let labels = outline.labels.clone().map(|place| {
            let mut labels = vec![0; (place.end - place.start) as usize];
            file.read_exact_at(&mut labels, place.start).map(|()| labels)
        });
        Ok(Self {
            head: outline.head(labels.transpose()?.as_deref())?,
            file,
            start: outline.pixels.start,
            path: path.to_owned(),
        })
    }

    /// All but the pixels.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The pack of these pictures, in memory.
    pub fn encode(&self) -> Result<Vec<u8>, DataError> {
        let mut pack = self.head.encode();
        let from = pack.len();
        pack.resize(from + self.head.len() * self.head.bytes_of_picture(), 0);
        self.read(&mut pack[from..], self.start)?;
        Ok(pack)
    }

    /// The digest of the pack of these pictures.
    pub fn digest(&self) -> Result<Digest, DataError> {
        let mut hasher = Sha256::new_with_prefix(self.head.encode());
        let bytes = self.head.len() * self.head.bytes_of_picture();
        let mut piece = vec![0; PIECE.min(bytes)];
        for at in (0..bytes).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(bytes - at)];
            self.read(piece, self.start + at as u64)?;
            hasher.update(piece);
        }
        Ok(Digest::from_bytes(hasher.finalize().into()))
    }

    fn read(&self, pixels: &mut [u8], at: u64) -> Result<(), DataError> {
        let read = self.file.read_exact_at(pixels, at);
        read.map_err(|error| Problem::from(error).at(&self.path))
    }
}

/// Pictures as samples of a model's one input.
impl Samples for Pictures {
    fn len(&self) -> usize {
        self.head.len()
    }

    fn sample(&self, index: usize) -> io::Result<Vec<Tensor>> {
        let PictureShape {
            channels,
            height,
            width,
        } = self.head.picture();
        let mut pixels = vec![0; self.head.bytes_of_picture()];
        let at = self.start + index as u64 * pixels.len() as u64;
        self.read(&mut pixels, at).map_err(io::Error::other)?;
        let data = Data::F32(self.head.input(&pixels));
        let tensor = Tensor::new(vec![1, channels, height, width], data);
        Ok(vec![tensor.expect("invariant: a picture fills its shape")])
    }

    fn class(&self, index: usize) -> Option<usize> {
        usize::try_from(*self.head.labels()?.get(index)?).ok()
    }
}

/// Decoded pictures on their way into a file without a name.
pub(super) struct Spool(BufWriter<File>);

impl Spool {
    pub(super) fn new() -> Result<Self, Problem> {
        let file = tempfile::tempfile().map_err(Problem::spool)?;
        Ok(Self(BufWriter::new(file)))
    }

    /// Adds the pixels of the next pictures.
    pub(super) fn push(&mut self, pixels: &[u8]) -> Result<(), Problem> {
        self.0.write_all(pixels).map_err(Problem::spool)
    }

    /// The data set, whose pictures were all added.
    pub(super) fn finish(self, head: Head, path: &Path) -> Result<Pictures, Problem> {
        let file = self
            .0
            .into_inner()
            .map_err(|error| Problem::spool(error.into_error()))?;
        Ok(Pictures {
            head,
            file,
            start: 0,
            path: path.to_owned(),
        })
    }
}
