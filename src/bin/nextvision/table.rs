//! Tables that fit a terminal.
//!
//! Too wide a table loses width where columns may be cut first, then columns, those that matter least first.

use crate::text;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Its heading.
    pub(crate) title: &'static str,
    /// Whether its values are numbers, which end where the column ends.
    pub(crate) is_number: bool,
    /// Least width it may be cut to; 0 is not at all.
    pub(crate) cut_to: usize,
    /// Columns with the greatest go first when there is no room; those with 0 stay.
    pub(crate) rank: u8,
}

impl Column {
    /// A column of text that is never cut.
    pub(crate) const fn text(title: &'static str, rank: u8) -> Self {
        Self { title, is_number: false, cut_to: 0, rank }
    }

    /// A column of text that may be cut to `cut_to` columns of the terminal.
    pub(crate) const fn long(title: &'static str, rank: u8, cut_to: usize) -> Self {
        Self { title, is_number: false, cut_to, rank }
    }

    /// A column of numbers.
    pub(crate) const fn number(title: &'static str, rank: u8) -> Self {
        Self { title, is_number: true, cut_to: 0, rank }
    }
}

/// Spaces between columns.
const GAP: usize = 2;

/// A table. Every row has a cell for each column; what is missing is empty, what is too much is left out.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) const fn new(columns: &'static [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row. The cells may come from anywhere: they are cleaned here.
    pub(crate) fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| text::clean(&cell)).collect());
    }

    /// The heading and the rows, none wider than `width`.
    pub(crate) fn render(&self, width: usize) -> Vec<String> {
        let shown = self.fit(width);
        let heading = shown.iter().map(|(column, width)| Self::cell(column.title, column, *width));
        let mut lines = vec![Self::line(heading)];
        for row in &self.rows {
            let cells = shown.iter().map(|(column, width)| {
                let at = self.columns.iter().position(|other| other.title == column.title);
                let value = at.and_then(|at| row.get(at)).map_or("", String::as_str);
                Self::cell(value, column, *width)
            });
            lines.push(Self::line(cells));
        }
        // A single column may still be too wide.
        lines.iter().map(|line| text::cut(line, width).into_owned()).collect()
    }

    fn line(cells: impl Iterator<Item = String>) -> String {
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    }

    fn cell(value: &str, column: &Column, width: usize) -> String {
        let value = text::cut(value, width);
        let space = " ".repeat(width.saturating_sub(text::width(&value)));
        if column.is_number { format!("{space}{value}") } else { format!("{value}{space}") }
    }

    /// The columns that are shown, with their widths.
    fn fit(&self, width: usize) -> Vec<(&'static Column, usize)> {
        let natural = self.columns.iter().enumerate().map(|(at, column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| text::width(cell));
            (column, cells.max().unwrap_or(0).max(text::width(column.title)))
        });
        let mut shown: Vec<_> = natural.collect();
        loop {
            let gaps = GAP * shown.len().saturating_sub(1);
            let total: usize = shown.iter().map(|(_, width)| width).sum::<usize>() + gaps;
            let Some(excess) = total.checked_sub(width).filter(|excess| *excess > 0) else { return shown };
            if shrink(&mut shown, excess) {
                continue;
            }
            let least = shown.iter().enumerate().filter(|(_, (column, _))| column.rank > 0);
            let Some((at, _)) = least.max_by_key(|(_, (column, _))| column.rank) else { return shown };
            shown.remove(at);
        }
    }
}

/// Takes up to `excess` from the widest column that can be cut; returns whether there was one.
fn shrink(shown: &mut [(&'static Column, usize)], excess: usize) -> bool {
    let can = shown.iter_mut().filter(|(column, width)| column.cut_to > 0 && *width > least_width(column));
    let Some((column, width)) = can.max_by_key(|(_, width)| *width) else { return false };
    *width = width.saturating_sub(excess).max(least_width(column));
    true
}

fn least_width(column: &Column) -> usize {
    column.cut_to.max(text::width(column.title))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COLUMNS: &[Column] = &[
        Column::text("ID", 0),
        Column::long("NAME", 1, 6),
        Column::number("FPS", 2),
        Column::long("WHY", 3, 4),
    ];

    fn table(rows: &[[&str; 4]]) -> Table {
        let mut table = Table::new(COLUMNS);
        for row in rows {
            table.add(row.map(str::to_owned));
        }
        table
    }

    #[test]
    fn columns_stand_under_their_headings() {
        let table = table(&[["1", "gate", "25.0", ""], ["12", "Tür", "5.0", "gone"]]);
        assert_eq!(table.render(80), ["ID  NAME   FPS  WHY", "1   gate  25.0", "12  Tür    5.0  gone"]);
    }

    #[test]
    fn long_text_is_cut_before_a_column_goes() {
        let table = table(&[["1", "a-very-long-name", "25.0", "x"]]);
        assert_eq!(table.render(24), ["ID  NAME        FPS  WHY", "1   a-very-l…  25.0  x"]);
    }

    #[test]
    fn what_matters_least_goes_first() {
        let table = table(&[["1", "a-very-long-name", "25.0", "because"]]);
        assert_eq!(table.render(16), ["ID  NAME     FPS", "1   a-ver…  25.0"]);
        assert_eq!(table.render(10), ["ID  NAME", "1   a-ver…"]);
        assert_eq!(table.render(2), ["ID", "1"]);
        assert_eq!(table.render(1), ["…", "1"]);
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let table = table(&[["1", "a\u{1b}[2J\nb", "0", "\u{9b}31m"]]);
        assert_eq!(table.render(80)[1], "1   a b     0");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            rows in prop::collection::vec(prop::collection::vec(any::<String>(), 0..6), 0..6),
            width in 1_usize..120
        ) {
            let mut table = Table::new(COLUMNS);
            for row in rows {
                table.add(row);
            }
            for line in table.render(width) {
                prop_assert!(text::width(&line) <= width, "{line:?} in {width}");
            }
        }
    }
}
