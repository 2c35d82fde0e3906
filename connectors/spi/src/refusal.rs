//! Why an operation stays in the engine.

use std::fmt;

/// Why an operation stays in the engine; EXPLAIN shows it as `CODE, text (remedy)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of reason it is.
    pub code: RefusalCode,
    /// The reason: one sentence without a point.
    pub text: &'static str,
    /// What the user could do, where there is something.
    pub remedy: Option<&'static str>,
}

/// The kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalCode {
    /// Pushdown is switched off.
    Off,
    /// It is calculated from columns, and not said of plain ones.
    Expression,
    /// The source treats values of the column's type in another way.
    Type,
    /// The source orders or compares the column's text in another way.
    Collation,
    /// The value cannot be written in the source's language, or means something else there.
    Value,
    /// The source has no such function, or one with other results.
    Function,
    /// What the scan does already comes after it.
    Order,
    /// It is larger than the source is asked for.
    Size,
    /// The source would not be faster.
    Cost,
    /// The source cannot do it at all.
    Source,
}

impl Refusal {
    /// A reason.
    pub const fn new(code: RefusalCode, text: &'static str) -> Self {
        Self { code, text, remedy: None }
    }

    /// The same reason with what the user could do.
    #[must_use]
    pub const fn remedy(self, remedy: &'static str) -> Self {
        Self { remedy: Some(remedy), ..self }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "OFF",
            Self::Expression => "EXPRESSION",
            Self::Type => "TYPE",
            Self::Collation => "COLLATION",
            Self::Value => "VALUE",
            Self::Function => "FUNCTION",
            Self::Order => "ORDER",
            Self::Size => "SIZE",
            Self::Cost => "COST",
            Self::Source => "SOURCE",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.code, self.text)?;
        match self.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}
