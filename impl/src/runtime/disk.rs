//! The disk thread: hands a [`Worker`] what there is to do, with the time, and waits for more in between.
//!
//! What was handed over meanwhile is done together. While there is no room on the disk, the thread tries again now and then.

use crate::storage::Dirs;
use crate::storage::disk::Disk;
use crate::storage::txn_log::writer::TxnLog;
use crate::storage::worker::{Event, Op, Outcome, Worker};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two tries for room.
const ROOM_PAUSE: Duration = Duration::from_millis(250);

/// Why an operation was not taken. It is handed back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejected {
    /// More bytes are waiting than allowed: wait for [`Event::Durable`].
    #[error("the disk queue is full")]
    Full(Op),
    /// The disk failed before, or the thread was told to stop.
    #[error("the disk thread has stopped")]
    Stopped(Op),
}

#[derive(Debug, Default)]
struct Queue {
    ops: VecDeque<(u64, Op)>,
    /// Of waiting operations and of those being carried out.
    bytes: usize,
    last_token: u64,
    idle: bool,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    bytes_max: usize,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending side. Dropped, it lets the thread finish what is queued, and waits for it.
#[derive(Debug)]
pub struct DiskThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl DiskThread {
    /// Starts the thread. `on_event` is called on it and must not block.
    ///
    /// `queue_bytes_max` bounds what waits; a single larger operation is taken when nothing else waits.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start<D: Disk>(
        disk: D,
        dirs: Dirs,
        log: TxnLog<D>,
        queue_bytes_max: usize,
        on_event: impl Fn(Event) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            bytes_max: queue_bytes_max,
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || {
                let began = Instant::now();
                let worker = Worker::new(disk, dirs, log, Duration::ZERO);
                let shared = own;
                Busy {
                    worker,
                    shared,
                    began,
                }
                .run(&on_event);
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues an operation; never blocks on the disk. Tokens rise from call to call.
    ///
    /// # Errors
    /// [`Rejected`], with the operation.
    ///
    /// # Panics
    /// If `token` is not above the one before: acknowledgements would mean nothing.
    pub fn submit(&self, token: u64, op: Op) -> Result<(), Rejected> {
        self.submit_all([(token, op)])
            .map_err(|(_, rejected)| rejected)
    }

    /// Queues operations with one hand-over; stops at the first that is rejected, and says which one it was.
    ///
    /// # Errors
    /// Number of operations taken, and [`Rejected`] with the next one.
    ///
    /// # Panics
    /// As [`Self::submit`].
    pub fn submit_all(
        &self,
        ops: impl IntoIterator<Item = (u64, Op)>,
    ) -> Result<(), (usize, Rejected)> {
        let mut queue = self.shared.queue();
        let mut result = Ok(());
        for (taken, (token, op)) in ops.into_iter().enumerate() {
            let bytes = op.bytes();
            if queue.closed {
                result = Err((taken, Rejected::Stopped(op)));
                break;
            }
            if queue.bytes > 0 && queue.bytes + bytes > self.shared.bytes_max {
                result = Err((taken, Rejected::Full(op)));
                break;
            }
            assert!(token > queue.last_token, "disk tokens rise");
            queue.last_token = token;
            queue.bytes += bytes;
            queue.ops.push_back((token, op));
        }
        // A thread that is at work looks again by itself; waking costs more than queueing.
        let wake = queue.idle && !queue.ops.is_empty();
        if wake {
            queue.idle = false;
        }
        drop(queue);
        if wake {
            self.shared.wake.notify_one();
        }
        result
    }

    /// Bytes waiting or being written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.queue().bytes
    }
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // Its panic was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// The thread's own side.
struct Busy<D: Disk> {
    worker: Worker<D>,
    shared: Arc<Shared>,
    began: Instant,
}

/// However the thread ends, nothing more is taken: a queue that nobody empties must not look alive.
struct CloseOnExit(Arc<Shared>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.queue().closed = true;
    }
}

impl<D: Disk> Busy<D> {
    fn run(mut self, on_event: &impl Fn(Event)) {
        let _close = CloseOnExit(Arc::clone(&self.shared));
        let mut batch = VecDeque::new();
        let ended = loop {
            match self.take(&mut batch) {
                Ok(true) => {}
                Ok(false) => break self.worker.finish(self.began.elapsed()),
                Err(error) => break Err(error),
            }
            if !self.carry_out(&mut batch, on_event) {
                return;
            }
        };
        if let Err(error) = ended {
            let (what, error) = ("durable mark", error.to_string());
            on_event(Event::Failed { what, error });
        }
    }

    /// Waits for work and takes all of it; false when there is none and none will come.
    fn take(&mut self, batch: &mut VecDeque<(u64, Op)>) -> crate::storage::Result<bool> {
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.queue();
        while queue.ops.is_empty() {
            if queue.closed {
                return Ok(false);
            }
            queue.idle = true;
            let Some(rest) = self.worker.rest(self.began.elapsed()) else {
                let woken = shared.wake.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let woken = shared.wake.wait_timeout(queue, rest);
            let (awake, waited) = woken.unwrap_or_else(PoisonError::into_inner);
            queue = awake;
            if waited.timed_out() && queue.ops.is_empty() {
                drop(queue);
                self.worker.settle(self.began.elapsed())?;
                queue = shared.queue();
            }
        }
        queue.idle = false;
        std::mem::swap(&mut queue.ops, batch);
        Ok(true)
    }

    /// Carries the batch out, again and again while there is no room; false when the thread is to end.
    fn carry_out(&mut self, batch: &mut VecDeque<(u64, Op)>, on_event: &impl Fn(Event)) -> bool {
        let shared = &self.shared;
        loop {
            let outcome = self
                .worker
                .carry_out(batch, self.began.elapsed(), |event, bytes| {
                    // The room of what is done is free before anybody hears of it: who was turned away for lack of it tries
                    // again then, and perhaps at no other time.
                    if bytes > 0 {
                        shared.queue().bytes -= bytes;
                    }
                    on_event(event);
                });
            match outcome {
                Outcome::Done => return true,
                Outcome::Failed => return false,
                Outcome::NoRoom => {}
            }
            let queue = shared.queue();
            if queue.closed {
                return false; // nobody was told that any of this is durable
            }
            let waited = shared.wake.wait_timeout(queue, ROOM_PAUSE);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::recording::RecordingDisk;
    use crate::storage::txn_log::writer::LogOptions;
    use std::path::Path;
    use std::sync::mpsc;
    use zabra_model::ids::{Epoch, Zxid};

    fn dirs() -> Dirs {
        Dirs::new(Path::new("d"), Path::new("d"))
    }

    fn start(disk: &RecordingDisk, bytes: usize) -> (DiskThread, mpsc::Receiver<(Event, usize)>) {
        let log = TxnLog::new(disk.clone(), dirs().log, LogOptions::default(), Zxid::ZERO);
        let (send, receive) = mpsc::channel();
        let seen = disk.clone();
        let on_event = move |event| {
            // The receiver may be gone already when a test ends.
            let _ = send.send((event, seen.operations()));
        };
        let thread = DiskThread::start(disk.clone(), dirs(), log, bytes, on_event);
        (thread.unwrap(), receive)
    }

    fn append(zxid: u64) -> Op {
        let mut payload = vec![7; 40];
        payload[12..20].copy_from_slice(&zxid.to_be_bytes());
        Op::Append {
            zxid: Zxid(zxid),
            payload: payload.into(),
        }
    }

    #[test]
    fn there_is_room_again_when_an_operation_is_said_to_be_done() {
        let disk = RecordingDisk::default();
        let log = TxnLog::new(disk.clone(), dirs().log, LogOptions::default(), Zxid::ZERO);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            bytes_max: 1,
        });
        let mut busy = Busy {
            worker: Worker::new(disk, dirs(), log, Duration::ZERO),
            shared: Arc::clone(&shared),
            began: Instant::now(),
        };
        let ops = [append(1), append(2), Op::AcceptedEpoch(Epoch(1)), append(3)];
        let (append, epoch) = (ops[0].bytes(), ops[2].bytes());
        shared.queue().bytes = ops.iter().map(Op::bytes).sum();
        let left = std::cell::RefCell::new(Vec::new());
        assert!(busy.carry_out(&mut (1..).zip(ops).collect(), &|_| {
            left.borrow_mut().push(shared.queue().bytes);
        }));
        assert_eq!(left.into_inner(), [epoch + append, append, 0]);
    }

    /// C-10: an orderly stop does not wait for room.
    #[test]
    fn c_10_a_server_without_room_can_be_stopped() {
        let disk = RecordingDisk::default();
        disk.fill_after(0);
        let (thread, events) = start(&disk, 1 << 20);
        thread.submit(1, append(1)).unwrap();
        assert!(matches!(events.recv().unwrap().0, Event::Full { .. }));
        drop(thread);
        assert!(events.recv().is_err(), "nothing was said to be durable");
    }

    #[test]
    fn a_failed_sync_is_told_once_and_ends_the_thread() {
        let disk = RecordingDisk::default();
        let (thread, events) = start(&disk, 1 << 20);
        thread.submit(1, append(1)).unwrap();
        assert_eq!(events.recv().unwrap().0, Event::Durable { upto: 1 });
        disk.fail_after(1);
        thread.submit(2, append(2)).unwrap();
        let Event::Failed { what, error } = events.recv().unwrap().0 else {
            panic!("the failure was swallowed")
        };
        assert_eq!(what, "append");
        assert!(
            error.contains("log.1") && error.contains("fdatasync"),
            "{error}"
        );
        assert!(events.recv().is_err(), "the thread has ended");
        assert_eq!(
            thread.submit(3, append(3)),
            Err(Rejected::Stopped(append(3)))
        );
    }

    #[test]
    fn a_full_queue_hands_the_operation_back() {
        let disk = RecordingDisk::default();
        let (thread, events) = start(&disk, 250);
        let taken = thread.submit_all((1..=9).map(|n| (n, append(n))));
        assert_eq!(taken, Err((2, Rejected::Full(append(3)))));
        while events.recv().unwrap().0 != (Event::Durable { upto: 2 }) {}
        drop(thread);
    }
}
