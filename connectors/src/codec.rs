//! Our only codec: our nodes as bytes; of a [`ScanExec`] catalog name inside, credentials never.

use std::sync::Arc;

use connector_spi::{Error, Scan, Split};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::error::to_datafusion;
use crate::key_lists::KeysExec;
use crate::keys::Keys;
use crate::scan::Work;
use crate::{Catalogs, ScanExec};

/// Encodes [`ScanExec`] and [`KeysExec`]; the same on every node.
#[derive(Debug, Default)]
pub(crate) struct ScanCodec {
    /// Where resident rows come from; absent where plans are only decoded.
    pub(crate) catalogs: Option<Arc<Catalogs>>,
}

#[derive(Serialize, Deserialize)]
enum Message {
    Scan(Box<ScanMessage>),
    /// Whether the joins of its input make long lists of their keys.
    Keys(bool),
}

#[derive(Serialize, Deserialize)]
struct ScanMessage {
    scan: Scan,
    partitions: Vec<Vec<Item>>,
    remote: Option<String>,
    /// Filters that joins will know, as protobuf, each with the places in the table of the columns that it sees.
    keys: Vec<(Vec<u8>, Vec<usize>)>,
}

#[derive(Serialize, Deserialize)]
enum Item {
    Split(Split),
    /// An Arrow IPC stream.
    Rows(Vec<u8>),
}

impl ScanCodec {
    fn item(&self, scan: &Scan, work: &Work) -> Result<Item> {
        let rows = match work {
            Work::Rows(rows) => Some(rows.clone()),
            Work::Split(split) => match &self.catalogs {
                Some(catalogs) => catalogs
                    .get(&scan.catalog)
                    .and_then(|catalog| catalog.source())
                    .and_then(|source| source.resident(scan, split))
                    .map_err(to_datafusion)?,
                None => None,
            },
        };
        Ok(match (rows, work) {
            (Some(rows), _) => Item::Rows(write_rows(scan, &rows)?),
            (None, Work::Split(split)) => Item::Split(split.clone()),
            (None, Work::Rows(_)) => Item::Rows(write_rows(scan, &[])?),
        })
    }
}

impl PhysicalExtensionCodec for ScanCodec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let mut write = |message| -> Result<()> {
            *buffer = postcard::to_extend(&message, std::mem::take(buffer)).map_err(broken)?;
            Ok(())
        };
        if let Some(exec) = node.downcast_ref::<KeysExec>() {
            return write(Message::Keys(exec.long));
        }
        let Some(exec) = node.downcast_ref::<ScanExec>() else {
            return Err(to_datafusion(Error::unsupported(format!("{} cannot be sent to a worker", node.name()))));
        };
        let items =
            |works: &Vec<Work>| works.iter().map(|work| self.item(&exec.scan, work)).collect::<Result<Vec<_>>>();
        // By the plan's own converter, so that a join and its scan stay connected.
        let filter = |(filter, places): (_, &[usize])| {
            Ok((converter.physical_expr_to_proto(&filter, self)?.encode_to_vec(), places.to_vec()))
        };
        let keys = exec.keys().into_iter().flat_map(Keys::exprs).map(filter);
        let message = ScanMessage {
            scan: Scan::clone(&exec.scan),
            partitions: exec.partitions.iter().map(items).collect::<Result<_>>()?,
            remote: exec.remote.clone(),
            keys: keys.collect::<Result<_>>()?,
        };
        write(Message::Scan(Box::new(message)))
    }

    fn try_decode(
        &self,
        buffer: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let message = match (postcard::from_bytes(buffer).map_err(broken)?, inputs) {
            (Message::Scan(message), []) => *message,
            (Message::Keys(long), [input]) => return Ok(Arc::new(KeysExec { input: Arc::clone(input), long })),
            _ => return Err(unreadable(&"it has another number of inputs")),
        };
        let work = |item| match item {
            Item::Split(split) => Ok(Work::Split(split)),
            Item::Rows(bytes) => Ok(Work::Rows(read_rows(&bytes)?)),
        };
        let partitions = message
            .partitions
            .into_iter()
            .map(|items| items.into_iter().map(work).collect::<Result<Vec<_>>>())
            .collect::<Result<Vec<_>>>()?;
        let context = PhysicalPlanDecodeContext::new(context, self);
        let filter = |(bytes, places): (Vec<u8>, Vec<usize>)| {
            let node = PhysicalExprNode::decode(bytes.as_slice()).map_err(|cause| unreadable(&cause))?;
            let schema = Keys::schema(&message.scan, &places);
            Ok((converter.proto_to_physical_expr(&node, &schema, &context)?, places))
        };
        let keys = Keys::of(message.keys.into_iter().map(filter).collect::<Result<Vec<_>>>()?);
        let exec = ScanExec::new(Arc::new(message.scan), partitions).with_remote(message.remote).with_keys(keys);
        Ok(Arc::new(exec))
    }
}

fn broken(cause: postcard::Error) -> DataFusionError {
    unreadable(&cause)
}

fn unreadable(cause: &dyn std::fmt::Display) -> DataFusionError {
    to_datafusion(Error::internal(format!("a node of a plan could not be turned to or from bytes: {cause}")))
}

fn write_rows(scan: &Scan, rows: &[RecordBatch]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &scan.schema())?;
    for batch in rows {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

fn read_rows(bytes: &[u8]) -> Result<Vec<RecordBatch>> {
    StreamReader::try_new(bytes, None)?.map(|batch| Ok(batch?)).collect()
}

#[cfg(test)]
mod tests {
    use connector_spi::{Column, Comparison, Literal, Predicate, Table, TableName};
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Schema};
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::physical_plan::DefaultPhysicalProtoConverter;

    use super::*;

    #[test]
    fn a_scan_and_its_rows_survive_the_wire() {
        let table = Table::new(vec![Column::new("n", DataType::Int64, false).with_native("int8")]);
        let filter = Predicate::Compare {
            column: 0,
            op: Comparison::Gt,
            value: Literal::Decimal { value: i128::MIN, scale: -3 },
        };
        let scan = Arc::new(Scan::new("c", TableName::new("s", "t"), &table).with_filter(filter));
        let rows = RecordBatch::try_new(scan.schema(), vec![Arc::new(Int64Array::from(vec![1, 2]))]).expect("batch");
        let split = Split { token: vec![0, 255], rows: Some(7), bytes: None };
        let partitions = vec![vec![Work::Split(split.clone()), Work::Rows(vec![rows.clone()])], vec![]];
        let exec: Arc<dyn ExecutionPlan> =
            Arc::new(ScanExec::new(Arc::clone(&scan), partitions).with_remote(Some("SELECT".into())));
        let (codec, converter, mut bytes) = (ScanCodec::default(), DefaultPhysicalProtoConverter {}, Vec::new());
        codec.try_encode(exec, &mut bytes, &converter).expect("encodes");
        let context = SessionContext::new().task_ctx();
        let back = codec.try_decode(&bytes, &[], &context, &converter).expect("decodes");
        let back = back.downcast_ref::<ScanExec>().expect("our node");
        assert_eq!(back.scan, scan);
        assert_eq!(back.remote.as_deref(), Some("SELECT"));
        assert!(matches!(&back.partitions[0][0], Work::Split(s) if *s == split));
        assert!(matches!(&back.partitions[0][1], Work::Rows(r) if *r == vec![rows]));
        assert_eq!(back.partitions.len(), 2);
    }

    #[test]
    fn a_limit_for_lists_of_keys_survives_the_wire_with_its_input() {
        let input: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
        let (codec, converter, context) =
            (ScanCodec::default(), DefaultPhysicalProtoConverter {}, SessionContext::new().task_ctx());
        for long in [false, true] {
            let mut bytes = Vec::new();
            let exec = KeysExec { input: Arc::clone(&input), long };
            codec.try_encode(Arc::new(exec), &mut bytes, &converter).expect("encodes");
            let back = codec.try_decode(&bytes, &[Arc::clone(&input)], &context, &converter).expect("decodes");
            assert_eq!(back.downcast_ref::<KeysExec>().map(|back| back.long), Some(long));
            assert!(codec.try_decode(&bytes, &[], &context, &converter).is_err());
        }
    }
}
