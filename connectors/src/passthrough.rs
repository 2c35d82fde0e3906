//! The name of a table that is a query in the source's own language; it says what the query is, and travels as any name.

use connector_spi::TableName;

/// The schema of such tables in every catalog.
pub const SCHEMA: &str = "system";

/// The table's name: `query(["…"])`.
pub fn table(arguments: &[String]) -> String {
    format!("query({})", serde_json::Value::from(arguments))
}

/// What the query was called with; none for the name of any other table.
pub(crate) fn arguments(name: &TableName) -> Option<Vec<String>> {
    let list = name.table.strip_prefix("query(")?.strip_suffix(')')?;
    if name.schema == SCHEMA { serde_json::from_str(list).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_the_query_is() {
        let texts = ["SELECT '\"a\", (b)'\n--".to_owned(), String::new()];
        let name = TableName::new(SCHEMA, table(&texts));
        assert_eq!(arguments(&name), Some(texts.to_vec()));
        assert_eq!(arguments(&TableName::new("public", table(&texts))), None);
        assert_eq!(arguments(&TableName::new(SCHEMA, "query(1)")), None);
    }
}
