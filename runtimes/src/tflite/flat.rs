//! Reading tables of `FlatBuffers` where they lie. Every access is checked: a file may hold anything.

/// A table, by the place of its head in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    file: &'a [u8],
    at: usize,
}

/// A vector of offsets or numbers, by the place of its first element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vector<'a> {
    file: &'a [u8],
    at: usize,
    /// Number of elements.
    pub(super) len: usize,
}

/// What is wrong, in words.
pub(super) type Fault = &'static str;

const BEYOND: Fault = "it points beyond its end";

fn bytes<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N], Fault> {
    let end = at.checked_add(N).ok_or(BEYOND)?;
    let bytes = file.get(at..end).ok_or(BEYOND)?;
    bytes.try_into().map_err(|_| BEYOND)
}

/// Where the offset at `at` leads to, counted from itself.
fn follow(file: &[u8], at: usize) -> Result<usize, Fault> {
    let offset = u32::from_le_bytes(bytes(file, at)?) as usize;
    at.checked_add(offset).filter(|&to| to < file.len()).ok_or(BEYOND)
}

impl<'a> Table<'a> {
    /// The outermost table.
    pub(super) fn root(file: &'a [u8]) -> Result<Self, Fault> {
        let at = follow(file, 0)?;
        Ok(Self { file, at })
    }

    /// The place of the field of this number; `None` where it has its default.
    fn field(&self, number: usize) -> Result<Option<usize>, Fault> {
        let back = i32::from_le_bytes(bytes(self.file, self.at)?);
        let head = i64::try_from(self.at).map_err(|_| BEYOND)? - i64::from(back);
        let head = usize::try_from(head).map_err(|_| BEYOND)?;
        let size = usize::from(u16::from_le_bytes(bytes(self.file, head)?));
        let slot = 4 + 2 * number;
        if slot + 2 > size {
            return Ok(None);
        }
        let offset = usize::from(u16::from_le_bytes(bytes(self.file, head + slot)?));
        Ok((offset != 0).then_some(self.at + offset))
    }

    pub(super) fn byte(&self, number: usize) -> Result<u8, Fault> {
        let at = self.field(number)?;
        at.map_or(Ok(0), |at| Ok(bytes::<1>(self.file, at)?[0]))
    }

    pub(super) fn uint(&self, number: usize) -> Result<u32, Fault> {
        let at = self.field(number)?;
        at.map_or(Ok(0), |at| Ok(u32::from_le_bytes(bytes(self.file, at)?)))
    }

    pub(super) fn ulong(&self, number: usize) -> Result<u64, Fault> {
        let at = self.field(number)?;
        at.map_or(Ok(0), |at| Ok(u64::from_le_bytes(bytes(self.file, at)?)))
    }

    /// Vector of elements of `size` bytes; empty where there is none.
    fn vector(&self, number: usize, size: usize) -> Result<Vector<'a>, Fault> {
        let file = self.file;
        let Some(at) = self.field(number)? else {
            return Ok(Vector { file, at: 0, len: 0 });
        };
        let at = follow(file, at)?;
        let len = u32::from_le_bytes(bytes(file, at)?) as usize;
        let first = at + 4;
        let whole = len.checked_mul(size).and_then(|bytes| first.checked_add(bytes));
        if whole.is_none_or(|end| end > file.len()) {
            return Err(BEYOND);
        }
        Ok(Vector { file, at: first, len })
    }

    /// Vector of tables.
    pub(super) fn tables(&self, number: usize) -> Result<Vec<Table<'a>>, Fault> {
        let vector = self.vector(number, 4)?;
        let file = vector.file;
        let table = |index| {
            let at = follow(file, vector.at + 4 * index)?;
            Ok(Table { file, at })
        };
        (0..vector.len).map(table).collect()
    }

    /// Vector of 32-bit numbers.
    pub(super) fn ints(&self, number: usize) -> Result<Vec<i32>, Fault> {
        let vector = self.vector(number, 4)?;
        let int = |index| Ok(i32::from_le_bytes(bytes(vector.file, vector.at + 4 * index)?));
        (0..vector.len).map(int).collect()
    }

    /// Vector of bytes.
    pub(super) fn bytes(&self, number: usize) -> Result<&'a [u8], Fault> {
        let vector = self.vector(number, 1)?;
        vector.file.get(vector.at..vector.at + vector.len).ok_or(BEYOND)
    }

    /// A text; empty where there is none.
    pub(super) fn text(&self, number: usize) -> Result<String, Fault> {
        let bytes = self.bytes(number)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}
