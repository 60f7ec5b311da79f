//! Tables, which are the result of every benchmark.

/// Rows of text under a head; the first column holds names, the others figures.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The rows as Markdown, columns aligned.
    fn lines(&self) -> Vec<String> {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule = widths.iter().enumerate().map(|(column, &width)| {
            let dashes = "-".repeat(width + 1);
            if column == 0 { format!("{dashes}-") } else { format!("{dashes}:") }
        });
        let mut lines: Vec<String> = self.rows.iter().map(line).collect();
        lines.insert(1, format!("|{}|", rule.collect::<Vec<_>>().join("|")));
        lines
    }

    /// Prints the table to standard output.
    pub(crate) fn print(&self) {
        self.lines().iter().for_each(|line| say(line));
    }
}

/// Prints a line of the result.
#[expect(clippy::print_stdout, reason = "the result of a benchmark is its standard output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["kind", "µs"]);
        table.row(vec!["a".into(), "12.5".into()]);
        assert_eq!(table.lines(), ["| kind |   µs |", "|------|-----:|", "| a    | 12.5 |"]);
    }
}
