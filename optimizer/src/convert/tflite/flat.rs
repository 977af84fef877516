//! `FlatBuffers`: a tree of tables and vectors as the bytes of a file.
//!
//! The crate `flatbuffers` aligns a vector to its elements only, while TFLite wants the bytes of weights at
//! multiples of 16, and its way to ask for more is unsafe code. Here the tree is written from front to back, where
//! each place in the file is known when it is reached.

/// What a table's field or a vector's entry can refer to.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// A table.
    Table(Table),
    /// A vector of tables.
    Tables(Vec<Table>),
    /// Text.
    Text(String),
    /// A vector of bytes, at a multiple of [`BYTES_ALIGNMENT`].
    Bytes(Vec<u8>),
    /// A vector of 32-bit integers.
    Ints(Vec<i32>),
    /// A vector of 64-bit integers.
    Longs(Vec<i64>),
    /// A vector of 32-bit floats.
    Floats(Vec<f32>),
}

/// The fields of a table that are set; others have the default of the schema.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    fields: Vec<(usize, Field)>,
}

#[derive(Debug, Clone)]
enum Field {
    Byte(u8),
    Word([u8; 4]),
    Item(Item),
}

/// What the kernels of TFLite expect of constants.
const BYTES_ALIGNMENT: usize = 16;

/// Offsets are 32 bits wide, of which readers take one for a sign.
pub(super) const LARGEST: usize = i32::MAX as usize;

impl Table {
    /// A table without fields.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Sets a field of one byte: a small enumeration or a truth value.
    pub(super) fn byte(self, slot: usize, value: u8) -> Self {
        self.with(slot, Field::Byte(value))
    }

    /// Sets a truth value.
    pub(super) fn flag(self, slot: usize, value: bool) -> Self {
        self.byte(slot, u8::from(value))
    }

    /// Sets a 32-bit integer, signed or not.
    pub(super) fn int(self, slot: usize, value: i32) -> Self {
        self.with(slot, Field::Word(value.to_le_bytes()))
    }

    /// Sets a 32-bit float.
    pub(super) fn float(self, slot: usize, value: f32) -> Self {
        self.with(slot, Field::Word(value.to_le_bytes()))
    }

    /// Sets a field that refers to another part of the file.
    pub(super) fn item(self, slot: usize, item: Item) -> Self {
        self.with(slot, Field::Item(item))
    }

    /// The same, or nothing where there is none.
    pub(super) fn maybe(self, slot: usize, item: Option<Item>) -> Self {
        match item {
            Some(item) => self.item(slot, item),
            None => self,
        }
    }

    fn with(mut self, slot: usize, field: Field) -> Self {
        self.fields.push((slot, field));
        self
    }
}

/// The file whose root is this table. `identifier` says what schema it has.
pub(super) fn write(root: Table, identifier: [u8; 4]) -> Vec<u8> {
    let mut writer = Writer { bytes: vec![0; 4] };
    writer.bytes.extend_from_slice(&identifier);
    writer.table(root, 0);
    writer.bytes
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Appends an item, and writes at `from` how far it is from there.
    fn item(&mut self, item: Item, from: usize) {
        match item {
            Item::Table(table) => self.table(table, from),
            Item::Tables(tables) => self.tables(tables, from),
            Item::Text(text) => {
                self.vector(from, text.len(), 1);
                self.bytes.extend_from_slice(text.as_bytes());
                self.bytes.push(0);
            }
            Item::Bytes(bytes) => {
                self.vector(from, bytes.len(), BYTES_ALIGNMENT);
                self.bytes.extend_from_slice(&bytes);
            }
            Item::Ints(values) => {
                self.vector(from, values.len(), size_of::<i32>());
                let bytes = values.into_iter().flat_map(i32::to_le_bytes);
                self.bytes.extend(bytes);
            }
            Item::Longs(values) => {
                self.vector(from, values.len(), size_of::<i64>());
                let bytes = values.into_iter().flat_map(i64::to_le_bytes);
                self.bytes.extend(bytes);
            }
            Item::Floats(values) => {
                self.vector(from, values.len(), size_of::<f32>());
                let bytes = values.into_iter().flat_map(f32::to_le_bytes);
                self.bytes.extend(bytes);
            }
        }
    }

    /// Appends a table behind the list of where its fields are, and then what they refer to.
    fn table(&mut self, table: Table, from: usize) {
        let slots = table.fields.iter().map(|(slot, _)| slot + 1).max().unwrap_or(0);
        let header = 2 * (2 + slots);
        // The table begins with the distance back to the list.
        let mut size = 4;
        let mut places = vec![0_u16; slots];
        let words = table.fields.iter().filter(|(_, field)| !is_byte(field));
        for (slot, _) in words {
            places[*slot] = size;
            size += 4;
        }
        for (slot, _) in table.fields.iter().filter(|(_, field)| is_byte(field)) {
            places[*slot] = size;
            size += 1;
        }
        self.pad_until(|len| (len + header).is_multiple_of(4));
        for entry in [header as u16, size].iter().chain(&places) {
            self.bytes.extend_from_slice(&entry.to_le_bytes());
        }
        let start = self.bytes.len();
        self.point(from, start);
        self.bytes.extend_from_slice(&(header as i32).to_le_bytes());
        self.bytes.resize(start + usize::from(size), 0);
        let mut referred = Vec::new();
        for (slot, field) in table.fields {
            let at = start + usize::from(places[slot]);
            match field {
                Field::Byte(byte) => self.bytes[at] = byte,
                Field::Word(word) => self.bytes[at..at + 4].copy_from_slice(&word),
                Field::Item(item) => referred.push((item, at)),
            }
        }
        for (item, at) in referred {
            self.item(item, at);
        }
    }

    fn tables(&mut self, tables: Vec<Table>, from: usize) {
        self.vector(from, tables.len(), 4);
        let start = self.bytes.len();
        self.bytes.resize(start + 4 * tables.len(), 0);
        for (index, table) in tables.into_iter().enumerate() {
            self.table(table, start + 4 * index);
        }
    }

    /// Appends a vector's length, so that its elements, which follow, begin at a multiple of `alignment`.
    fn vector(&mut self, from: usize, length: usize, alignment: usize) {
        let alignment = alignment.max(4);
        self.pad_until(|len| (len + 4).is_multiple_of(alignment));
        self.point(from, self.bytes.len());
        self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
    }

    /// Writes at `from` how far `to` is from there.
    fn point(&mut self, from: usize, to: usize) {
        let distance = (to - from) as u32;
        self.bytes[from..from + 4].copy_from_slice(&distance.to_le_bytes());
    }

    fn pad_until(&mut self, fits: impl Fn(usize) -> bool) {
        while !fits(self.bytes.len()) {
            self.bytes.push(0);
        }
    }
}

fn is_byte(field: &Field) -> bool {
    matches!(field, Field::Byte(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::tflite::reading::Reader;

    #[test]
    fn what_is_written_is_read_again() {
        let inner = Table::new().int(1, -7).flag(0, true);
        let root = Table::new()
            .float(2, 1.5)
            .item(0, Item::Tables(vec![inner, Table::new()]))
            .item(3, Item::Text("name".to_owned()))
            .item(5, Item::Longs(vec![1, -2]))
            .item(4, Item::Bytes(vec![1, 2, 3]));
        let bytes = write(root, *b"TEST");
        assert_eq!(&bytes[4..8], b"TEST");
        let root = Reader::root(&bytes);
        assert_eq!(root.float(2).to_bits(), 1.5_f32.to_bits());
        assert_eq!(root.text(3), "name");
        assert_eq!(root.longs(5), [1, -2]);
        assert_eq!(root.bytes(4), [1, 2, 3]);
        assert!(root.child(1).is_none() && root.child(9).is_none());
        let inner = root.tables(0);
        assert_eq!((inner[0].byte(0), inner[0].int(1)), (1, -7));
        assert_eq!((inner[1].byte(0), inner[1].int(1)), (0, 0));
    }

    #[test]
    fn bytes_lie_where_kernels_can_load_them() {
        for length in 0..40 {
            let text = Item::Text("x".repeat(length));
            let root = Table::new().item(0, text).item(1, Item::Bytes(vec![9; 5]));
            let bytes = write(root, *b"TEST");
            assert_eq!(Reader::root(&bytes).place(1) % BYTES_ALIGNMENT, 0);
        }
    }
}
