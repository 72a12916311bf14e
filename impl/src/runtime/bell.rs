//! A bell that rings for one task.

use crate::client::lock::lock;
use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// Rings for the one task that listens. A ring that nobody listens to is kept, and many are one.
///
/// A `Notify` of tokio's has a list of who listens, which is entered and left again under its lock. A client's task listens whenever it
/// has nothing to do, and hears its socket first nearly always: here it leaves its waker once, for as long as it lives.
#[derive(Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    listens: Mutex<Option<Waker>>,
}

impl Bell {
    /// Rings.
    pub(super) fn ring(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        // Whoever is about to listen takes this lock, too, and looks behind it.
        if let Some(task) = &*lock(&self.listens) {
            task.wake_by_ref();
        }
    }

    /// Listens until it has rung. Of several tasks that listen, the last one hears it.
    pub(super) async fn rung(&self) {
        poll_fn(|cx| self.poll_rung(cx)).await;
    }

    fn poll_rung(&self, cx: &Context<'_>) -> Poll<()> {
        if self.take() {
            return Poll::Ready(());
        }
        {
            let mut listens = lock(&self.listens);
            if !matches!(&*listens, Some(task) if task.will_wake(cx.waker())) {
                *listens = Some(cx.waker().clone());
            }
        }
        if self.take() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn take(&self) -> bool {
        self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::timeout;

    const LONG: Duration = Duration::from_secs(60);
    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_ring_is_kept_and_many_are_one() {
        let bell = Bell::default();
        assert!(timeout(MOMENT, bell.rung()).await.is_err());
        bell.ring();
        bell.ring();
        assert!(timeout(LONG, bell.rung()).await.is_ok());
        assert!(timeout(MOMENT, bell.rung()).await.is_err());
    }

    /// No ring is lost between a look and the sleep behind it, whichever task listens.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_ring_is_heard() {
        let bells = Arc::new([Bell::default(), Bell::default()]);
        let ours = Arc::clone(&bells);
        let other = tokio::spawn(async move {
            for _ in 0..20_000 {
                ours[0].rung().await;
                ours[1].ring();
            }
        });
        for round in 0..20_000 {
            bells[0].ring();
            if round % 1000 == 0 {
                // From another task than before.
                let bells = Arc::clone(&bells);
                let heard = tokio::spawn(async move { bells[1].rung().await });
                assert!(timeout(LONG, heard).await.is_ok());
            } else {
                assert!(timeout(LONG, bells[1].rung()).await.is_ok());
            }
        }
        assert!(timeout(LONG, other).await.is_ok());
    }
}
