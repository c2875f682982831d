use super::books::PATIENCE;
use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Barrier, Condvar, Mutex as StdMutex};

const LONG: Duration = Duration::from_secs(60);

/// Holds who passes until it is opened.
#[derive(Default)]
struct Gate(StdMutex<bool>, Condvar);

impl Gate {
    fn pass(&self) {
        let open = self.0.lock().unwrap();
        drop(self.1.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

fn with_limit(limit: usize) -> Pool {
    Pool::new(limit, IDLE)
}

/// A task that says when it runs, and waits to be woken again.
fn telling(pool: &Pool) -> (TaskId, Receiver<()>) {
    let (sender, receiver) = channel();
    let task = pool.add("t", move || {
        sender.send(()).ok();
        Next::Wait(None)
    });
    (task.unwrap(), receiver)
}

/// A task that says when it runs, and then does not return before the gate is open.
fn blocked(pool: &Pool) -> (TaskId, Receiver<()>, Arc<Gate>) {
    let (sender, receiver) = channel();
    let gate = Arc::<Gate>::default();
    let task = pool.add("t", {
        let gate = Arc::clone(&gate);
        move || {
            sender.send(()).ok();
            gate.pass();
            Next::Wait(None)
        }
    });
    (task.unwrap(), receiver, gate)
}

fn threads(pool: &Pool) -> usize {
    pool.0.core.lock().workers.len()
}

#[test]
fn a_task_runs_when_it_is_woken_and_not_before() {
    let pool = Pool::default();
    let (task, runs) = telling(&pool);
    let (other, of_other) = telling(&pool);
    pool.wake([other]);
    of_other.recv_timeout(LONG).unwrap();
    assert!(runs.try_recv().is_err());
    for _ in 0..3 {
        pool.wake([task, task]);
        runs.recv_timeout(LONG).unwrap();
    }
    assert!(pool.stop(task, LONG) && pool.stop(other, LONG));
}

#[test]
fn a_wake_while_a_task_runs_is_not_lost() {
    let pool = Pool::default();
    let (task, runs, gate) = blocked(&pool);
    pool.wake([task]);
    runs.recv_timeout(LONG).unwrap();
    pool.wake([task]);
    gate.open();
    runs.recv_timeout(LONG).unwrap();
    assert!(pool.stop(task, LONG));
}

#[test]
fn a_task_runs_at_the_time_it_asked_for() {
    let pool = Pool::default();
    let due = clock::now().saturating_add(Duration::from_millis(20));
    let (sender, runs) = channel();
    let task = pool.add("t", move || {
        let now = clock::now();
        sender.send(now).ok();
        Next::Wait((now < due).then_some(due))
    });
    let task = task.unwrap();
    pool.wake([task]);
    assert!(runs.recv_timeout(LONG).unwrap() < due);
    assert!(runs.recv_timeout(LONG).unwrap() >= due);
    assert!(pool.stop(task, LONG));
}

#[test]
fn tasks_that_block_hold_up_nobody() {
    let pool = with_limit(1);
    let stuck: Vec<_> = (0..5).map(|_| blocked(&pool)).collect();
    let (free, runs) = telling(&pool);
    pool.wake(stuck.iter().map(|(task, ..)| *task));
    for _ in 0..50 {
        pool.wake([free]);
        runs.recv_timeout(LONG).unwrap();
    }
    for (task, begun, gate) in stuck {
        begun.recv_timeout(LONG).unwrap();
        gate.open();
        assert!(pool.stop(task, LONG));
    }
    assert!(pool.stop(free, LONG));
}

#[test]
fn tasks_that_wait_for_each_other_all_get_a_thread() {
    let pool = with_limit(1);
    let barrier = Arc::new(Barrier::new(9));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            let run = move || {
                barrier.wait();
                Next::Wait(None)
            };
            pool.add("t", run).unwrap()
        })
        .collect();
    for _ in 0..3 {
        pool.wake(tasks.iter().copied());
        barrier.wait();
    }
    assert!(tasks.into_iter().all(|task| pool.stop(task, LONG)));
}

#[test]
fn a_task_that_always_has_more_to_do_does_not_starve_the_others() {
    let pool = with_limit(1);
    let busy = pool.add("t", || Next::Again).unwrap();
    let (task, runs) = telling(&pool);
    pool.wake([busy]);
    for _ in 0..10 {
        pool.wake([task]);
        runs.recv_timeout(LONG).unwrap();
    }
    assert!(pool.stop(busy, LONG) && pool.stop(task, LONG));
}

#[test]
fn a_task_that_does_not_block_shares_its_thread() {
    let pool = with_limit(1);
    let (tasks, runs): (Vec<_>, Vec<_>) = (0..20).map(|_| telling(&pool)).unzip();
    pool.wake(tasks.iter().copied());
    runs.iter().for_each(|runs| runs.recv_timeout(LONG).unwrap());
    assert!(tasks.into_iter().all(|task| pool.stop(task, LONG)));
    assert_eq!(threads(&pool), 0);
}

#[test]
fn threads_end_with_the_last_task_and_come_with_the_next() {
    let pool = Pool::default();
    for _ in 0..20 {
        let (task, runs) = telling(&pool);
        pool.wake([task]);
        runs.recv_timeout(LONG).unwrap();
        assert!(threads(&pool) > 0);
        assert!(pool.stop(task, LONG));
        assert_eq!(threads(&pool), 0);
    }
}

#[test]
fn a_task_that_is_stopped_before_its_thread_wakes_leaves_no_thread_behind() {
    let pool = Pool::default();
    for _ in 0..50 {
        let (task, _runs) = telling(&pool);
        pool.wake([task]);
        assert!(pool.stop(task, LONG));
        let core = pool.0.core.lock();
        assert_eq!((core.workers.len(), core.sharing, core.tasks.len()), (0, 0, 0));
    }
}

#[test]
fn a_task_that_is_stopped_has_dropped_what_it_held_and_runs_no_more() {
    let pool = Pool::default();
    let (sender, runs): (Sender<()>, _) = channel();
    let task = pool.add("t", move || {
        sender.send(()).ok();
        Next::Again
    });
    let task = task.unwrap();
    pool.wake([task]);
    runs.recv_timeout(LONG).unwrap();
    assert!(pool.stop(task, LONG));
    // All that was sent, and then the end of the channel.
    while runs.try_recv().is_ok() {}
    assert_eq!(runs.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    pool.wake([task]);
    assert!(pool.stop(task, LONG));
}

#[test]
fn a_task_that_does_not_return_is_let_go_of() {
    let pool = Pool::default();
    let (task, runs, gate) = blocked(&pool);
    pool.wake([task]);
    runs.recv_timeout(LONG).unwrap();
    assert!(!pool.stop(task, Duration::from_millis(1)));
    let (other, of_other) = telling(&pool);
    pool.wake([other]);
    of_other.recv_timeout(LONG).unwrap();
    gate.open();
    assert!(pool.0.ended.wait_until(LONG, || pool.0.core.lock().tasks.len() == 1));
    assert!(pool.stop(other, LONG));
    // The thread of the first may be there still: it ends by itself.
    drop(pool);
}

/// The threads are about to end whenever there is something to do.
#[test]
fn no_work_is_lost_while_threads_end_for_want_of_it() {
    const SOON: Duration = Duration::from_micros(300);
    let pool = Pool::new(2, SOON);
    let (tasks, runs): (Vec<_>, Vec<_>) = (0..5).map(|_| telling(&pool)).unzip();
    for round in 0..400_u32 {
        pool.wake(tasks.iter().copied());
        runs.iter().for_each(|runs| runs.recv_timeout(LONG).unwrap());
        std::thread::park_timeout(SOON * (round % 16) / 8);
    }
    assert!(tasks.into_iter().all(|task| pool.stop(task, LONG)));
    assert_eq!(threads(&pool), 0);
}

#[test]
fn a_task_may_stop_itself() {
    let pool = Arc::new(with_limit(1));
    let (id, known) = channel::<TaskId>();
    let (sender, stopped) = channel();
    let task = pool.add("t", {
        let pool = Arc::clone(&pool);
        move || {
            let me = known.recv_timeout(LONG).unwrap();
            sender.send(pool.stop(me, LONG)).ok();
            Next::Again
        }
    });
    let task = task.unwrap();
    pool.wake([task]);
    id.send(task).unwrap();
    assert!(stopped.recv_timeout(LONG).unwrap());
    assert!(pool.0.ended.wait_until(LONG, || pool.0.core.lock().workers.is_empty()));
    assert!(pool.stop(task, LONG));
}

#[test]
fn a_panic_ends_its_task_and_no_other() {
    let pool = with_limit(1);
    let bad = pool.add("t", || panic!("as the test wants it")).unwrap();
    let (good, runs) = telling(&pool);
    for _ in 0..3 {
        pool.wake([bad, good]);
        runs.recv_timeout(LONG).unwrap();
    }
    assert!(pool.stop(bad, LONG) && pool.stop(good, LONG));
}

#[test]
fn the_end_of_a_pool_ends_its_tasks() {
    let pool = Pool::default();
    let (_, runs, gate) = blocked(&pool);
    let (idle, of_idle) = telling(&pool);
    let task = *pool.0.core.lock().tasks.keys().next().unwrap();
    pool.wake([task, idle]);
    runs.recv_timeout(LONG).unwrap();
    of_idle.recv_timeout(LONG).unwrap();
    drop(pool);
    assert!(of_idle.recv_timeout(LONG).is_err());
    gate.open();
    assert!(runs.recv_timeout(LONG).is_err());
}

/// Work comes from several threads for tasks of which some block, while others are stopped and begin anew: all of it is
/// done, each task's in one thread at a time, and no thread is left.
#[test]
fn all_work_is_done_whatever_blocks_begins_and_ends() {
    const TASKS: usize = 12;
    const ITEMS: usize = 300;
    let pool = Arc::new(with_limit(2));
    let done: Vec<_> = (0..TASKS).map(|_| Arc::<AtomicUsize>::default()).collect();
    let tasks: Vec<_> = done
        .iter()
        .enumerate()
        .map(|(number, done)| {
            let queued = Arc::<AtomicUsize>::default();
            let (of_task, done, inside) = (Arc::clone(&queued), Arc::clone(done), AtomicBool::new(false));
            let run = move || {
                assert!(!inside.swap(true, Ordering::SeqCst));
                let has_one =
                    of_task.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if has_one.is_ok() && number % 4 == 3 && done.load(Ordering::SeqCst) % 60 == 0 {
                    std::thread::park_timeout(2 * PATIENCE);
                }
                done.fetch_add(usize::from(has_one.is_ok()), Ordering::SeqCst);
                inside.store(false, Ordering::SeqCst);
                if has_one.is_ok() { Next::Again } else { Next::Wait(None) }
            };
            (pool.add("t", run).unwrap(), queued)
        })
        .collect();
    std::thread::scope(|scope| {
        for first in 0..3 {
            let (pool, tasks) = (&pool, &tasks);
            scope.spawn(move || {
                for item in 0..ITEMS {
                    let mine = tasks.iter().skip((item + first) % 3).step_by(3);
                    for (_, queued) in mine.clone() {
                        queued.fetch_add(1, Ordering::SeqCst);
                    }
                    pool.wake(mine.map(|(task, _)| *task));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..50 {
                let (task, runs) = telling(&pool);
                pool.wake([task]);
                runs.recv_timeout(LONG).unwrap();
                assert!(pool.stop(task, LONG));
            }
        });
    });
    let end = clock::now().saturating_add(LONG);
    for done in &done {
        while done.load(Ordering::SeqCst) < ITEMS {
            assert!(!clock::until(end).is_zero(), "{done:?}");
            std::thread::yield_now();
        }
        assert_eq!(done.load(Ordering::SeqCst), ITEMS);
    }
    assert!(tasks.iter().all(|(task, _)| pool.stop(*task, LONG)));
    assert_eq!(threads(&pool), 0);
}

/// As feeds do whose sinks wait for each other: some steps, and then one that blocks.
#[test]
fn many_that_begin_in_groups_and_block_all_get_a_thread() {
    for _ in 0..10 {
        let pool = with_limit(2);
        let barrier = Arc::new(Barrier::new(65));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (barrier, left) = (Arc::clone(&barrier), Arc::new(AtomicUsize::new(0)));
                let of_task = Arc::clone(&left);
                let run = move || match of_task.load(Ordering::SeqCst) {
                    0 => Next::Wait(None),
                    left => {
                        if left == 1 {
                            barrier.wait();
                        }
                        of_task.store(left - 1, Ordering::SeqCst);
                        Next::Again
                    }
                };
                (pool.add("t", run).unwrap(), left)
            })
            .collect();
        for group in tasks.chunks(16) {
            group.iter().for_each(|(_, left)| left.store(4, Ordering::SeqCst));
            pool.wake(group.iter().map(|(task, _)| *task));
        }
        barrier.wait();
        assert!(tasks.into_iter().all(|(task, _)| pool.stop(task, LONG)));
    }
}
