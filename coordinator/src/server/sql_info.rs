//! What the server says of itself, every number in the union member that drivers cast it to.

use std::sync::OnceLock;

use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity, SqlSupportedTransaction};
use connector_spi::{Error, Result};

/// The answers to GetSqlInfo.
pub(super) fn data() -> Result<&'static SqlInfoData> {
    static DATA: OnceLock<std::result::Result<SqlInfoData, String>> = OnceLock::new();
    DATA.get_or_init(|| build().map_err(|cause| cause.to_string())).as_ref().map_err(Error::internal)
}

fn build() -> arrow_flight::error::Result<SqlInfoData> {
    let mut info = SqlInfoDataBuilder::new();
    for (name, value) in [
        (SqlInfo::FlightSqlServerName, "Tributary"),
        (SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
        (SqlInfo::FlightSqlServerArrowVersion, "59.3.2"),
        (SqlInfo::SqlIdentifierQuoteChar, "\""),
        (SqlInfo::SqlSearchStringEscape, "\\"),
        (SqlInfo::SqlExtraNameCharacters, ""),
        (SqlInfo::SqlSchemaTerm, "schema"),
        (SqlInfo::SqlCatalogTerm, "catalog"),
        (SqlInfo::SqlProcedureTerm, "procedure"),
    ] {
        info.append(name, value);
    }
    for name in [
        SqlInfo::FlightSqlServerSql,
        SqlInfo::FlightSqlServerCancel,
        SqlInfo::SqlDdlSchema,
        SqlInfo::SqlDdlTable,
        SqlInfo::SqlDdlCatalog,
        SqlInfo::SqlAllTablesAreSelectable,
        SqlInfo::SqlSupportsColumnAliasing,
        SqlInfo::SqlNullPlusNullIsNull,
        SqlInfo::SqlSupportsTableCorrelationNames,
        SqlInfo::SqlSupportsExpressionsInOrderBy,
        SqlInfo::SqlSupportsOrderByUnrelated,
        SqlInfo::SqlSupportsLikeEscapeClause,
        SqlInfo::SqlSupportsNonNullableColumns,
        SqlInfo::SqlCatalogAtStart,
        SqlInfo::SqlCorrelatedSubqueriesSupported,
    ] {
        info.append(name, true);
    }
    for name in [
        SqlInfo::FlightSqlServerReadOnly,
        SqlInfo::FlightSqlServerSubstrait,
        SqlInfo::FlightSqlServerBulkIngestion,
        SqlInfo::FlightSqlServerIngestTransactionsSupported,
        SqlInfo::SqlSupportsDifferentTableCorrelationNames,
        SqlInfo::SqlSupportsIntegrityEnhancementFacility,
        SqlInfo::SqlSelectForUpdateSupported,
        SqlInfo::SqlStoredProceduresSupported,
        SqlInfo::SqlMaxRowSizeIncludesBlobs,
        SqlInfo::SqlTransactionsSupported,
        SqlInfo::SqlDataDefinitionCausesTransactionCommit,
        SqlInfo::SqlDataDefinitionsInTransactionsIgnored,
        SqlInfo::SqlBatchUpdatesSupported,
        SqlInfo::SqlSavepointsSupported,
        SqlInfo::SqlNamedParametersSupported,
        SqlInfo::SqlLocatorsUpdateCopy,
        SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported,
    ] {
        info.append(name, false);
    }
    let insensitive = SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32;
    let exact = SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32;
    for (name, value) in [
        (SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32),
        (SqlInfo::FlightSqlServerStatementTimeout, 0),
        (SqlInfo::FlightSqlServerTransactionTimeout, 0),
        (SqlInfo::SqlIdentifierCase, insensitive),
        (SqlInfo::SqlQuotedIdentifierCase, exact),
        (SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedAtEnd as i32),
        (SqlInfo::SqlSupportedGroupBy, 0b11),
        (SqlInfo::SqlSupportedGrammar, 0b11),
        (SqlInfo::SqlAnsi92SupportedLevel, 0b1),
        (SqlInfo::SqlOuterJoinsSupportLevel, 0b11),
        (SqlInfo::SqlSchemasSupportedActions, 0b111),
        (SqlInfo::SqlCatalogsSupportedActions, 0b111),
        (SqlInfo::SqlSupportedPositionedCommands, 0),
        (SqlInfo::SqlSupportedSubqueries, 0b1111),
        (SqlInfo::SqlSupportedUnions, 0b11),
        (SqlInfo::SqlSupportedTransactionsIsolationLevels, 0b1),
        (SqlInfo::SqlSupportedResultSetTypes, 0b10),
    ] {
        info.append(name, value);
    }
    for name in [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatementLength,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxTablesInSelect,
        SqlInfo::SqlMaxUsernameLength,
        SqlInfo::SqlDefaultTransactionIsolation,
    ] {
        let limit: i64 = if name == SqlInfo::SqlMaxStatementLength { 1_000_000 } else { 0 };
        info.append(name, limit);
    }
    let keywords: &[&str] =
        &["CATALOG", "CATALOGS", "DESCRIBE", "ILIKE", "KILL", "PUSHDOWN", "QUALIFY", "RESET", "SCHEMAS", "USING"];
    let numeric: &[&str] = &["abs", "ceil", "exp", "floor", "ln", "log10", "power", "random", "round", "sign", "sqrt"];
    let string: &[&str] = &[
        "ascii", "concat", "left", "length", "lower", "ltrim", "replace", "right", "rtrim", "substr", "trim", "upper",
    ];
    let date: &[&str] = &["date_part", "date_trunc", "extract", "now", "to_timestamp"];
    info.append(SqlInfo::SqlKeywords, keywords);
    info.append(SqlInfo::SqlNumericFunctions, numeric);
    info.append(SqlInfo::SqlStringFunctions, string);
    info.append(SqlInfo::SqlSystemFunctions, &[] as &[&str]);
    info.append(SqlInfo::SqlDatetimeFunctions, date);
    info.build()
}
