//! Boxes and Markdown: columns as wide as the first rows need.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use unicode_width::UnicodeWidthStr;

use super::Writer;
use super::value::{Values, is_number};

/// Rows that are looked at before the widths are fixed.
const MEASURED: usize = 1_000;

/// The lines around a table.
pub(super) struct Style {
    edge: &'static str,
    top: Option<[&'static str; 4]>,
    middle: Option<[&'static str; 4]>,
    bottom: Option<[&'static str; 4]>,
}

pub(super) const BOX: Style = Style {
    edge: "│",
    top: Some(["┌", "─", "┬", "┐"]),
    middle: Some(["├", "─", "┼", "┤"]),
    bottom: Some(["└", "─", "┴", "┘"]),
};

pub(super) const MARKDOWN: Style = Style { edge: "|", top: None, middle: None, bottom: None };

/// A table that is written once its widths are known.
pub(super) struct Table<'a> {
    out: &'a mut (dyn Write + Send),
    style: Style,
    names: Vec<String>,
    right: Vec<bool>,
    widths: Vec<usize>,
    waiting: Vec<Vec<String>>,
    started: bool,
}

impl<'a> Table<'a> {
    pub(super) fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send), style: Style) -> Self {
        let names: Vec<String> = schema.fields().iter().map(|field| shown(field.name(), &style)).collect();
        Self {
            out,
            right: schema.fields().iter().map(|field| is_number(field.data_type())).collect(),
            widths: names.iter().map(|name| name.width()).collect(),
            names,
            style,
            waiting: Vec::new(),
            started: false,
        }
    }

    fn start(&mut self) -> io::Result<()> {
        for row in &self.waiting {
            for (width, text) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(text.width());
            }
        }
        self.started = true;
        self.rule(self.style.top)?;
        let names = self.names.clone();
        self.line(&names)?;
        match self.style.middle {
            Some(_) => self.rule(self.style.middle)?,
            None => {
                let dashes = self.widths.iter().zip(&self.right);
                let dashes: Vec<String> = dashes
                    .map(
                        |(width, right)| {
                            if *right { format!("{}:", "-".repeat((*width).max(2) - 1)) } else { "-".repeat(*width) }
                        },
                    )
                    .collect();
                self.line(&dashes)?;
            }
        }
        for row in std::mem::take(&mut self.waiting) {
            self.line(&row)?;
        }
        Ok(())
    }

    fn rule(&mut self, rule: Option<[&'static str; 4]>) -> io::Result<()> {
        let Some([left, dash, cross, right]) = rule else { return Ok(()) };
        let dashes: Vec<String> = self.widths.iter().map(|width| dash.repeat(width + 2)).collect();
        writeln!(self.out, "{left}{}{right}", dashes.join(cross))
    }

    fn line(&mut self, row: &[String]) -> io::Result<()> {
        let edge = self.style.edge;
        for ((text, width), right) in row.iter().zip(&self.widths).zip(&self.right) {
            let blanks = " ".repeat(width.saturating_sub(text.width()));
            match right {
                true => write!(self.out, "{edge} {blanks}{text} ")?,
                false => write!(self.out, "{edge} {text}{blanks} ")?,
            }
        }
        writeln!(self.out, "{edge}")
    }
}

/// A value on one line.
fn shown(text: &str, style: &Style) -> String {
    let plain = text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    if style.top.is_none() { plain.replace('|', "\\|") } else { plain }
}

impl Writer for Table<'_> {
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let values = Values::of(batch)?;
        for row in 0..batch.num_rows() {
            let cell = |column| {
                let text = values.text(column, row)?.unwrap_or_else(|| "NULL".to_owned());
                Ok(shown(&text, &self.style))
            };
            let cells = (0..batch.num_columns()).map(cell).collect::<io::Result<Vec<_>>>()?;
            if self.started {
                self.line(&cells)?;
            } else {
                self.waiting.push(cells);
                if self.waiting.len() >= MEASURED {
                    self.start()?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.started {
            self.start()?;
        }
        self.rule(self.style.bottom)?;
        self.out.flush()
    }
}
