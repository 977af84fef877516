//! Tables that fit the terminal: columns give way where it is too narrow, the least important first.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// A rule under the heads and nothing else, so that a row takes one line.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));
/// Spaces between two columns.
const GAP: usize = 2;

/// One column of a table of rows `R`.
pub(crate) struct Column<R> {
    /// What stands above it.
    pub(crate) head: &'static str,
    /// Where its cells stand.
    pub(crate) side: CellAlignment,
    /// The rank in which it gives way, the lowest first; `None` stays.
    pub(crate) gives_way: Option<u8>,
    /// The text of a cell.
    pub(crate) cell: fn(&R) -> String,
}

/// The rows as a table of at most `width` columns of characters, without spaces at the ends of its lines.
/// Where what must stay is wider still, cells are broken into lines.
pub(crate) fn fitted<R>(rows: &[R], columns: &[Column<R>], width: u16) -> String {
    let mut standing: Vec<&Column<R>> = columns.iter().collect();
    loop {
        let mut table = drawn(rows, &standing);
        if natural_width(&table) <= usize::from(width) {
            return table.trim_fmt();
        }
        let next = standing.iter().filter_map(|column| column.gives_way).min();
        let Some(rank) = next else {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
            return table.trim_fmt();
        };
        standing.retain(|column| column.gives_way != Some(rank));
    }
}

fn drawn<R>(rows: &[R], columns: &[&Column<R>]) -> Table {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(columns.iter().map(|column| column.head));
    for row in rows {
        table.add_row(columns.iter().map(|column| (column.cell)(row)));
    }
    for (at, (drawn, column)) in table.column_iter_mut().zip(columns).enumerate() {
        drawn.set_cell_alignment(column.side);
        let is_last = at + 1 == columns.len();
        drawn.set_padding((u16::from(at > 0), u16::from(!is_last)));
    }
    table
}

/// Characters of a line if nothing is broken.
fn natural_width(table: &Table) -> usize {
    let widths = table.column_max_content_widths();
    let texts: usize = widths.iter().map(|width| usize::from(*width)).sum();
    texts + GAP * widths.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> [Column<&'static str>; 3] {
        let column = |head, gives_way, cell| Column {
            head,
            side: CellAlignment::Left,
            gives_way,
            cell,
        };
        [
            column("name", None, |row: &&str| (*row).to_owned()),
            column("first to go", Some(1), |_| "x".to_owned()),
            column("last to go", Some(2), |_| "y".to_owned()),
        ]
    }

    fn lines(width: u16) -> Vec<String> {
        let table = fitted(&["abc def ghi", "jkl"], &columns(), width);
        table.lines().map(str::to_owned).collect()
    }

    #[test]
    fn columns_give_way_in_their_order_and_what_stays_is_broken() {
        assert!(lines(40)[0].contains("first to go"), "{:?}", lines(40));
        assert_eq!(lines(30)[0], "name         last to go");
        assert_eq!(lines(20)[0], "name");
        assert_eq!(lines(7), ["name", "───────", "abc def", "ghi", "jkl"]);
    }

    #[test]
    fn no_line_is_wider_than_asked_for() {
        for width in 9..60 {
            let lines = lines(width);
            assert!(
                lines
                    .iter()
                    .all(|line| line.chars().count() <= usize::from(width)),
                "{width}: {lines:?}"
            );
        }
    }
}
