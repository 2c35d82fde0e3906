//! Planning on a thread with a large stack: a long chain of operators is a deep tree, and running
//! out of stack would end the process (apache/datafusion#22229).

use connector_spi::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Bytes of address space; memory is used only as deep as the tree is.
const STACK_BYTES: usize = 512 << 20;

/// Runs a future on a thread of its own. Dropping the result gives the work up at its next wait.
///
/// Errors: `INTERNAL` where the work panicked or the thread could not be made.
pub(crate) async fn deep<F>(work: F) -> Result<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (mut done, result) = oneshot::channel();
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("planner".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    output = work => {
                        // The caller may have gone meanwhile.
                        let _ = done.send(output);
                    }
                    () = done.closed() => {}
                }
            });
        })
        .map_err(|cause| Error::internal(format!("could not start a planning thread: {cause}")))?;
    result.await.map_err(|_| Error::internal("planning failed unexpectedly"))
}
