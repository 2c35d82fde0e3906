//! A scan as the command that MongoDB is sent: a find, or an aggregation where groups, an order with NULL last, or a number are wanted.

use bson::{Bson, Document, RawDocumentBuf, doc};
use connector_spi::{Column, Comparison, Error, Predicate, Result, Scan, SortKey};

use crate::address::Address;
use crate::aggregate;
use crate::json;
use crate::metadata::Facts;
use crate::pushdown::{MANY, all, sent};
use crate::shape::Shape;
use crate::types::Kind;

/// A range of `_id`, which no type of `_id` falls out of: from `min` on, up to before `max`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Part {
    pub(crate) min: Option<Bson>,
    pub(crate) max: Option<Bson>,
}

impl Part {
    fn is_whole(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }

    /// As an expression: comparisons of a query would leave other types of `_id` out.
    fn expression(&self) -> Document {
        let literal = |value: &Bson| doc! { "$literal": value.clone() };
        let from = self.min.as_ref().map(|min| doc! { "$gte": ["$_id", literal(min)] });
        let to = self.max.as_ref().map(|max| doc! { "$lt": ["$_id", literal(max)] });
        doc! { "$expr": { "$and": from.into_iter().chain(to).collect::<Vec<_>>() } }
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for each read")]
pub(crate) enum Request {
    Find { filter: Document, projection: Option<Document>, sort: Option<Document>, limit: Option<i64>, part: Part },
    Aggregate { pipeline: Vec<Document>, by_id: bool },
}

/// The fields of added keys: no document has them, and nobody sees them.
const NULLS: &str = "tributary nulls ";

impl Request {
    /// The command for a part of a scan. Errors: `INTERNAL` for what `absorb` did not take over.
    pub(crate) fn of(scan: &Scan, part: &Part) -> Result<Self> {
        let facts = Facts::read(&scan.native);
        let mut filters = Vec::with_capacity(scan.filters.len() + 1);
        for predicate in &scan.filters {
            let taken = sent(&scan.columns, &facts, predicate).map_err(|refusal| {
                Error::internal(format!("a filter was taken over that MongoDB cannot apply: {}", refusal.text))
            })?;
            filters.push(taken.form);
        }
        let inner = inner(&facts)?;
        let limit = limit(scan)?;
        let counted = scan.aggregation.is_none() && scan.projection.is_empty();
        let (added, sort) = order(scan, &facts);
        let served = scan.filters.iter().any(|filter| is_served(scan, &facts, filter));
        if inner.is_none() && scan.aggregation.is_none() && !counted && added.is_empty() {
            let sort = (!sort.is_empty()).then_some(sort);
            // With an order, or values of an indexed field, the range is a condition, so that another index may serve.
            let (filter, part) = match sort.is_some() || served {
                true => (with(filters, part), Part::default()),
                false => (all(filters), part.clone()),
            };
            return Ok(Self::Find { filter, projection: projection(scan, &facts)?, sort, limit, part });
        }
        let mut pipeline = inner.unwrap_or_default();
        let filter = with(filters, part);
        let ranged = !part.is_whole() && !served;
        let by_id = pipeline.is_empty() && facts.has_ranges() && (ranged || counted && filter.is_empty());
        if !filter.is_empty() {
            pipeline.push(doc! { "$match": filter });
        }
        if let Some(aggregation) = &scan.aggregation {
            pipeline.extend(aggregate::stages(scan, aggregation)?);
            return Ok(Self::Aggregate { pipeline, by_id });
        }
        if !added.is_empty() {
            pipeline.push(doc! { "$set": added });
        }
        if !sort.is_empty() {
            pipeline.push(doc! { "$sort": sort });
        }
        if let Some(limit) = limit {
            pipeline.push(doc! { "$limit": limit });
        }
        match counted {
            true => pipeline.push(doc! { "$count": "rows" }),
            false => pipeline.extend(projection(scan, &facts)?.map(|fields| doc! { "$project": fields })),
        }
        Ok(Self::Aggregate { pipeline, by_id })
    }

    /// The command as JSON, for EXPLAIN.
    pub(crate) fn text(&self, collection: &str) -> String {
        let mut command = Document::new();
        match self {
            Self::Find { filter, projection, sort, limit, part } => {
                command.insert("find", collection);
                command.insert("filter", filter.clone());
                command.extend(projection.clone().map(|fields| ("projection".to_owned(), Bson::Document(fields))));
                command.extend(sort.clone().map(|keys| ("sort".to_owned(), Bson::Document(keys))));
                command.extend(limit.map(|limit| ("limit".to_owned(), Bson::Int64(limit))));
                for (name, bound) in [("min", &part.min), ("max", &part.max)] {
                    command.extend(bound.clone().map(|id| (name.to_owned(), Bson::Document(doc! { "_id": id }))));
                }
            }
            Self::Aggregate { pipeline, .. } => {
                command.insert("aggregate", collection);
                command.insert("pipeline", pipeline.clone());
            }
        }
        let raw = RawDocumentBuf::try_from(&command).ok();
        raw.and_then(|raw| json::text(bson::RawBsonRef::Document(&raw)).ok()).unwrap_or_default()
    }
}

/// Whether an index finds what passes: a value, or a few values, of a field that it begins with.
pub(crate) fn is_served(scan: &Scan, facts: &Facts, filter: &Predicate) -> bool {
    let indexed = |at: &usize| scan.columns.get(*at).is_some_and(|column| facts.indexed.contains(&path(column)));
    match filter {
        Predicate::Compare { column, op: Comparison::Eq, .. } => indexed(column),
        Predicate::In { column, values, negated: false } => {
            indexed(column) && facts.rows.is_none_or(|rows| values.len() as u64 <= rows / MANY)
        }
        Predicate::And(parts) => parts.iter().any(|part| is_served(scan, facts, part)),
        _ => false,
    }
}

/// The pipeline of a query in MongoDB's own language.
fn inner(facts: &Facts) -> Result<Option<Vec<Document>>> {
    let Some(text) = &facts.pipeline else { return Ok(None) };
    let wrong = |cause: String| Error::internal(format!("a pipeline that was taken cannot be read: {cause}"));
    crate::passthrough::pipeline(text).map(Some).map_err(|error| wrong(error.to_string()))
}

fn limit(scan: &Scan) -> Result<Option<i64>> {
    let number = |limit| i64::try_from(limit).map_err(|_| Error::internal("a limit beyond 64 bits"));
    scan.limit.map(number).transpose()
}

/// All conditions, and the range.
fn with(mut filters: Vec<Document>, part: &Part) -> Document {
    if !part.is_whole() {
        filters.push(part.expression());
    }
    all(filters)
}

/// Whether MongoDB's own order of a key is the wanted one: it takes NULL for the smallest, which an ObjectId as `_id` never is.
fn is_natural(facts: &Facts, column: &Column, key: &SortKey) -> bool {
    let never_null = facts.stored && Address::of(column).ok() == Some(Address::top("_id", Kind::ObjectId));
    key.descending != key.nulls_first || never_null
}

/// The fields that must be added for an order, and its keys: before a key whose NULLs are elsewhere in MongoDB's own
/// order, one that says whether it is NULL.
fn order(scan: &Scan, facts: &Facts) -> (Document, Document) {
    let (mut added, mut sort) = (Document::new(), Document::new());
    for (at, key) in scan.order.iter().enumerate() {
        let column = &scan.columns[key.column];
        let name = path(column);
        // A name twice would take the place of the first.
        if sort.contains_key(&name) {
            continue;
        }
        if !is_natural(facts, column, key) {
            let there = doc! { "$gt": [format!("${name}"), Bson::Null] };
            added.insert(format!("{NULLS}{at}"), doc! { "$cond": [there, 0, 1] });
            sort.insert(format!("{NULLS}{at}"), if key.nulls_first { -1 } else { 1 });
        }
        sort.insert(name, if key.descending { -1 } else { 1 });
    }
    (added, sort)
}

/// The fields that are read; none where whole documents are, because a name would be a path, or all is wanted.
fn projection(scan: &Scan, facts: &Facts) -> Result<Option<Document>> {
    let wants_all = scan.projection.iter().any(|at| facts.whole.as_ref() == Some(&scan.columns[*at].name));
    let fields = if wants_all { None } else { Shape::of(scan)?.projection() };
    Ok(match fields {
        // What was added for the order is taken away again.
        None if !scan.order.is_empty() => {
            Some((0..scan.order.len()).map(|at| (format!("{NULLS}{at}"), Bson::Int32(0))).collect())
        }
        fields => fields,
    })
}

/// The path of a column that was found to have one.
fn path(column: &Column) -> String {
    Address::of(column).ok().and_then(|address| address.path().ok()).unwrap_or_default()
}
