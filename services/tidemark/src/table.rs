//! Tables for people.

/// Rows below a heading, their columns aligned.
pub struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub fn new(heading: [&str; COLUMNS]) -> Table<COLUMNS> {
        Table { rows: vec![heading.map(str::to_owned)] }
    }

    pub fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells);
    }

    /// What others sent may hold what a terminal would obey: that is shown as question marks.
    pub fn text(&self) -> String {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            let line = format!("  {}", cells.collect::<Vec<_>>().join("  "));
            let shown = |character: char| if character.is_control() { '?' } else { character };
            text.extend(line.trim_end().chars().map(shown));
            text.push('\n');
        }
        text
    }
}
